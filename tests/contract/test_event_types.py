from typing import Annotated, Any

import msgspec
import pytest

from tidings.contract.contract import Contract
from tidings.contract.event_types import (
    BUILTIN,
    EventType,
    check_event_type,
    compile_event_type,
    derive_alert_key,
    event,
    list_channels,
)
from tidings.exceptions import InvalidContract
from tidings.protocol.message_types import EventClass, MessageType, SlotEffect
from tidings.protocol.payloads import Payload, SystemAlertData

OPERATION, DURABLE, LATEST, DIRECT = "operation_id", "durable", "latest", "direct"

# docs/protocol/events.md, "Catalogue".
TABLE = {
    "operation:start": ("operations", OPERATION, DURABLE),
    "operation:progress": ("operations", OPERATION, LATEST),
    "operation:log": ("operations", OPERATION, DURABLE),
    "operation:complete": ("operations", OPERATION, DURABLE),
    "operation:failed": ("operations", OPERATION, DURABLE),
    "operation:cancelled": ("operations", OPERATION, DURABLE),
    "operation:estimate": ("operations", OPERATION, LATEST),
    "data:update": ("data", "dataset", DURABLE),
    "data:processed": ("data", "dataset", DURABLE),
    "data:error": ("data", "dataset", DURABLE),
    "report:ready": ("data", "report_id", DURABLE),
    "system:status": ("system", "source", LATEST),
    "system:alert": ("system", "alert_id", DURABLE),
    "system:metrics": ("system", "source", LATEST),
    "connection:established": (None, None, DIRECT),
    "connection:closed": (None, None, DIRECT),
    "auth:required": (None, None, DIRECT),
    "auth:success": (None, None, DIRECT),
    "auth:failed": (None, None, DIRECT),
    "license:expired": ("global", None, DURABLE),
}
ROWS = {event.type: event for event in BUILTIN}


@pytest.mark.parametrize("row", BUILTIN, ids=lambda row: row.type)
def test_every_event_type_of_the_catalogue_is_valid(row: EventType) -> None:
    check_event_type(row)  # a contract does not check them again


class Shipment(Payload, frozen=True, kw_only=True):
    order_id: str
    parcel: str | None = None
    weight_g: int


def shipped(**changes: object) -> EventType:
    row = EventType(type="shop:shipped", channel="orders", payload=Shipment, key="order_id")
    return msgspec.structs.replace(row, **changes)


def test_catalogue_matches_the_documented_table() -> None:
    assert {row.type: (row.channel, row.key, row.event_class) for row in BUILTIN} == TABLE
    assert len(BUILTIN) == len(TABLE)


def test_catalogue_has_every_type_except_old_names() -> None:
    assert {str(row.type) for row in BUILTIN} == {str(member) for member in MessageType} - {"operation:error"}


def test_hub_events_are_not_publishable() -> None:
    own = {row.type for row in BUILTIN if not row.publishable}
    assert own == {"operation:estimate", "license:expired"} | {row.type for row in BUILTIN if row.channel is None}


def test_terminal_operation_events_end_the_key() -> None:
    assert {row.type for row in BUILTIN if row.ends_key} == {
        "operation:complete",
        "operation:failed",
        "operation:cancelled",
    }


def test_only_operation_logs_have_a_maximum_count() -> None:
    assert {row.type: row.keep_newest for row in BUILTIN if row.keep_newest is not None} == {"operation:log": 1000}


def test_channels_of_the_catalogue_come_before_those_of_an_application() -> None:
    assert list_channels(BUILTIN) == ("global", "operations", "data", "system")
    more = [shipped(), shipped(type="shop:returned", channel="back_office")]
    assert list_channels([*BUILTIN, *more]) == ("global", "operations", "data", "system", "back_office", "orders")


@pytest.mark.parametrize(
    "event", [*BUILTIN, shipped(), shipped(key=None), shipped(key="parcel"), shipped(channel="data")]
)
def test_valid_event_type_is_accepted(event: EventType) -> None:
    check_event_type(event)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"type": "shipped"}, "<domain>:<action>"),
        ({"type": "shop:"}, "<domain>:<action>"),
        ({"type": "Shop:shipped"}, "<domain>:<action>"),
        ({"type": "shop:ship:ped"}, "<domain>:<action>"),
        ({"type": "9shop:shipped"}, "<domain>:<action>"),
        ({"type": 'shop:"'}, "<domain>:<action>"),
        ({"type": "shop:" + "a" * 60}, "at most 64"),
        ({"type": "operation:paused"}, "the name is reserved"),
        ({"type": "auth:paused"}, "the name is reserved"),
        ({"type": "data:update"}, "the name is reserved"),
        ({"channel": "Orders"}, "invalid channel"),
        ({"channel": 'or"ders'}, "invalid channel"),
        ({"channel": "none"}, "invalid channel"),
        ({"channel": ""}, "invalid channel"),
        ({"channel": None}, "a direct event has no channel"),
        ({"event_class": EventClass.DIRECT}, "a direct event has no channel"),
        ({"key": "order"}, "invalid key 'order'"),
        ({"key": "weight_g"}, "invalid key 'weight_g'"),
    ],
)
def test_invalid_event_type_is_rejected(changes: dict[str, object], fault: str) -> None:
    event = shipped(**changes)
    with pytest.raises(InvalidContract, match=fault) as caught:
        check_event_type(event)
    assert caught.value.type == event.type


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    trade_id: str
    price: float


class Listed(msgspec.Struct, array_like=True):
    name: str


class Opaque(msgspec.Struct):
    what: object
    how: complex


class Huge(msgspec.Struct):
    count: Annotated[int, msgspec.Meta(le=2**70)]


class Described(msgspec.Struct):
    symbol: Annotated[str, msgspec.Meta(description="Its symbol.", examples=["ABC"])]
    venue: Annotated[str | None, msgspec.Meta(description="Where.")] = None
    price: Annotated[float, msgspec.Meta(description="For how much.")] = 0


def test_event_declares_an_event_type_with_its_place() -> None:
    declared = event("trade:executed", Trade, channel="trades", key="trade_id", event_class="latest")
    assert (declared.type, declared.channel, declared.key) == ("trade:executed", "trades", "trade_id")
    assert declared.event_class is EventClass.LATEST
    assert declared.source.startswith(__file__)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"payload": dict}, "expected a msgspec Struct"),
        ({"payload": Listed}, "is an array"),
        ({"payload": Opaque}, "JSON has no form for it"),
        ({"payload": Huge}, "JSON has no form for it: Integer bounds"),
        ({"event_class": "sometimes"}, "invalid class 'sometimes': expected 'durable' or 'latest'"),
        ({"keep_newest": 0}, "keep_newest"),
        ({"keep_newest": 5, "event_class": "latest"}, "keep_newest"),
        ({"type": "executed"}, "<domain>:<action>"),
        ({"type": "operation:paused"}, "the name is reserved"),
    ],
)
def test_invalid_declaration_is_rejected(changes: dict[str, Any], fault: str) -> None:
    declaration: dict[str, Any] = {"type": "trade:executed", "payload": Trade, "channel": "trades", **changes}
    with pytest.raises(InvalidContract, match=fault):
        event(**declaration)


def test_key_field_may_have_metadata() -> None:
    assert event("trade:described", Described, channel="trades", key="symbol").key == "symbol"
    assert event("trade:described", Described, channel="trades", key="venue").key == "venue"
    with pytest.raises(InvalidContract, match="invalid key 'price': expected a text field"):
        event("trade:described", Described, channel="trades", key="price")


def test_contracts_can_be_joined() -> None:
    trades = Contract.of(event("trade:executed", Trade, channel="trades", key="trade_id"))
    refunds = Contract.of(event("trade:refunded", Trade, channel="trades", key="trade_id", deprecated="Publish it."))
    both = trades | refunds
    assert [own.type for own in both.own] == ["trade:executed", "trade:refunded"]
    assert both.channels == ("global", "operations", "data", "system", "trades")
    assert both.identity.hash == (refunds | trades | trades).identity.hash != trades.identity.hash
    assert both.deprecated["trade:refunded"] == "Publish it."
    assert Contract().own == ()
    assert trades.type_of(Trade).type == "trade:executed"
    with pytest.raises(InvalidContract, match="several events: trade:executed, trade:refunded"):
        both.type_of(Trade)
    with pytest.raises(InvalidContract, match="no event of this contract"):
        Contract().type_of(Trade)


def test_event_declared_differently_names_both_places() -> None:
    one = Contract.of(event("trade:executed", Trade, channel="trades"))
    other = Contract.of(event("trade:executed", Trade, channel="orders"))
    place = r".*test_event_types.py:\d+"
    with pytest.raises(InvalidContract, match=f"declared twice: {place} and {place}"):
        _ = one | other


ALERT = SystemAlertData(severity="info", code="disk_full", message="m", recoverable=True)
COMPILED = {event.type: compile_event_type(event) for event in BUILTIN}


@pytest.mark.parametrize("event", BUILTIN, ids=lambda event: event.type)
def test_compiled_event_type_has_the_facts_of_its_event_type(event: EventType) -> None:
    row = compile_event_type(event)
    assert (row.event, row.payload, row.type, row.event_class) == (event, event.payload, event.type, event.event_class)
    assert row.channel == (event.channel or "")
    assert (row.effect is SlotEffect.END) is event.ends_key
    assert {type(row.type), type(row.channel)} == {str}


def test_compiled_event_type_has_what_may_be_absent() -> None:
    assert {type for type, row in COMPILED.items() if row.all_optional} == {
        "data:update",
        "data:processed",
        "report:ready",
        "license:expired",
    }
    with_key = {type for type, row in COMPILED.items() if not row.keyless}
    assert with_key == {type for type in COMPILED if type.startswith("operation:")} - {"operation:failed"}


@pytest.mark.parametrize(
    ("facts", "key"),
    [
        ({"alert_id": "full"}, "full"),
        ({}, "disk_full"),
        ({"alert_id": ""}, "disk_full"),
        ({"operation_id": "op-1"}, "disk_full:op-1"),
        ({"operation_id": ""}, "disk_full"),
        ({"alert_id": "full", "operation_id": "op-1"}, "full"),
    ],
)
def test_alert_key_is_its_id_or_its_code_with_the_operation(facts: dict[str, str], key: str) -> None:
    alert = msgspec.structs.replace(ALERT, **facts)
    assert derive_alert_key(alert) == key
    assert COMPILED["system:alert"].key(alert) == key
