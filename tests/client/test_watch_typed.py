"""Watching by payload type: typed for mypy, and refused if the hub does not have the event."""

import asyncio
from typing import assert_type

import msgspec
import pytest
from tests.client.hub_server import HubServer

from tidings.client.client import connect
from tidings.client.events import ReceivedEvent, TypedEvent
from tidings.client.sync import SyncWatch
from tidings.client.sync import connect as connect_sync
from tidings.client.watch import Watch
from tidings.contract.contract import Contract
from tidings.contract.event_types import event
from tidings.exceptions import ConfigError, InvalidContract, InvalidPayload, UnknownType
from tidings.protocol.payloads import DataUpdateData, OperationFailedData, OperationProgressData


class TradeExecuted(msgspec.Struct, frozen=True, kw_only=True):
    trade_id: str
    price: float


class TradeOfYesterday(msgspec.Struct, frozen=True, kw_only=True):
    """The payload as an outdated program defines it."""

    trade_id: str
    price: float
    venue: str


CONTRACT = Contract.of(event("trade:executed", TradeExecuted, channel="trades", key="trade_id"))
STALE = Contract.of(event("trade:executed", TradeOfYesterday, channel="trades", key="trade_id"))
AHEAD = Contract.of(event("trade:settled", TradeExecuted, channel="data", key="trade_id"))


async def test_typed_watch_yields_the_payload_type() -> None:
    with HubServer(contract=CONTRACT) as hub:
        async with connect(hub.url, contract=CONTRACT) as client:
            watch = client.watch(TradeExecuted)
            assert_type(watch, Watch[TypedEvent[TradeExecuted]])
            await watch.wait_until_live()
            await client.publish("operation:progress", {"operation_id": "a", "progress": 1})
            await client.publish("trade:executed", TradeExecuted(trade_id="t", price=1.5))
            trade = await anext(watch)
            assert_type(trade.payload, TradeExecuted)
            assert trade.payload == TradeExecuted(trade_id="t", price=1.5)
            assert (trade.type, trade.channel, trade.key) == ("trade:executed", "trades", "t")


async def test_typed_watch_yields_only_the_given_types() -> None:
    with HubServer() as hub:
        async with connect(hub.url) as client:
            watch = client.watch(OperationProgressData, OperationFailedData)
            assert_type(watch, Watch[TypedEvent[OperationProgressData] | TypedEvent[OperationFailedData]])
            await watch.wait_until_live()
            await client.publish("operation:start", {"operation_id": "a"})
            await client.publish("operation:log", {"operation_id": "a", "message": "m"})
            await client.publish("operation:progress", {"operation_id": "a", "progress": 1})
            await client.publish(
                "operation:failed", {"operation_id": "a", "code": "c", "message": "m", "recoverable": False}
            )
            first, second = await anext(watch), await anext(watch)
            assert [first.type, second.type] == ["operation:progress", "operation:failed"]


async def test_typed_watch_filters_by_key() -> None:
    with HubServer() as hub:
        async with connect(hub.url) as client:
            watch = client.watch(DataUpdateData, key="prices")
            await watch.wait_until_live()
            for dataset in ("rates", "prices"):
                await client.publish("data:update", {"dataset": dataset})
            found = await anext(watch)
            assert found.payload.dataset == "prices"


def test_typed_watch_works_in_the_blocking_client() -> None:
    with HubServer(contract=CONTRACT) as hub, connect_sync(hub.url, contract=CONTRACT) as client:
        client.publish("trade:executed", {"trade_id": "t", "price": 2})
        watch = client.watch(TradeExecuted)
        assert_type(watch, SyncWatch[TypedEvent[TradeExecuted]])
        assert next(watch).payload.price == 2.0
        assert_type(client.watch("trades"), SyncWatch[ReceivedEvent])


async def test_typed_watch_of_a_type_unknown_to_the_hub_raises_immediately() -> None:
    with HubServer(contract=CONTRACT) as hub:
        async with connect(hub.url, contract=AHEAD) as client:
            watch = client.watch(TradeExecuted)
            with pytest.raises(UnknownType, match="trade:settled"):
                async with asyncio.timeout(60):
                    await anext(watch)


async def test_typed_watch_raises_in_place_of_an_invalid_event() -> None:
    with HubServer(contract=CONTRACT) as hub:
        async with connect(hub.url, contract=STALE) as client:
            watch = client.watch(TradeOfYesterday)
            await watch.wait_until_live()
            await client.publish("trade:executed", {"trade_id": "a", "price": 1})
            await client.publish("trade:executed", {"trade_id": "b", "price": 1, "venue": "x"})
            with pytest.raises(InvalidPayload, match="does not fit this program's contract"):
                await anext(watch)
            assert (await anext(watch)).payload.venue == "x"


def test_typed_batch_ends_before_an_invalid_event() -> None:
    with HubServer(contract=CONTRACT) as hub, connect_sync(hub.url, contract=STALE) as client:
        for id, more in (("a", {"venue": "x"}), ("b", {}), ("c", {"venue": "y"})):
            client.publish("trade:executed", {"trade_id": id, "price": 1, **more})
        watch = client.watch(TradeOfYesterday, since="first")
        watch.wait_until_live()
        assert next(watch).key == "a"
        with pytest.raises(InvalidPayload):
            next(watch)
        assert next(watch).key == "c"


async def test_invalid_watch_arguments_are_refused() -> None:
    with HubServer() as hub:
        async with connect(hub.url) as client:
            with pytest.raises(InvalidContract, match="no event of this contract"):
                client.watch(TradeExecuted)
            with pytest.raises(ConfigError, match="either paths or payload types"):
                client.watch("data", DataUpdateData)  # type: ignore[call-overload]
            with pytest.raises(ConfigError, match="a key needs payload types"):
                client.watch("data", key="a")  # type: ignore[call-overload]
