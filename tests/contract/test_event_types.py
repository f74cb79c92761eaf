from typing import Annotated, Any

import msgspec
import pytest

from tidings.contract.contract import Contract
from tidings.contract.event_types import BUILTIN, EventType, check_event_type, event, list_channels
from tidings.exceptions import InvalidContract
from tidings.protocol.message_types import EventClass, MessageType
from tidings.protocol.payloads import Payload

OPERATION, DURABLE, LATEST, DIRECT = "operation_id", "durable", "latest", "direct"

# CONTRACT §3, the table.
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


class Shipment(Payload, frozen=True, kw_only=True):
    order_id: str
    parcel: str | None = None
    weight_g: int


def shipped(**changes: object) -> EventType:
    row = EventType(type="shop:shipped", channel="orders", payload=Shipment, key="order_id")
    return msgspec.structs.replace(row, **changes)


def test_rows_are_the_contract_s_table() -> None:
    assert {row.type: (row.channel, row.key, row.event_class) for row in BUILTIN} == TABLE
    assert len(BUILTIN) == len(TABLE)


def test_every_type_but_the_old_name_has_a_row() -> None:
    assert {str(row.type) for row in BUILTIN} == {str(member) for member in MessageType} - {"operation:error"}


def test_only_the_hub_writes_its_own() -> None:
    own = {row.type for row in BUILTIN if not row.publishable}
    assert own == {"operation:estimate", "license:expired"} | {row.type for row in BUILTIN if row.channel is None}


def test_the_three_ends_of_an_operation_end_its_key() -> None:
    assert {row.type for row in BUILTIN if row.ends_key} == {
        "operation:complete",
        "operation:failed",
        "operation:cancelled",
    }


def test_only_logs_are_kept_by_count() -> None:
    assert {row.type: row.keep_newest for row in BUILTIN if row.keep_newest is not None} == {"operation:log": 1000}


def test_channels_are_the_source_s_and_then_the_application_s() -> None:
    assert list_channels(BUILTIN) == ("global", "operations", "data", "system")
    more = [shipped(), shipped(type="shop:returned", channel="back_office")]
    assert list_channels([*BUILTIN, *more]) == ("global", "operations", "data", "system", "back_office", "orders")


@pytest.mark.parametrize(
    "event", [*BUILTIN, shipped(), shipped(key=None), shipped(key="parcel"), shipped(channel="data")]
)
def test_what_a_contract_can_hold(event: EventType) -> None:
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
def test_what_no_contract_can_hold(changes: dict[str, object], fault: str) -> None:
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
    symbol: Annotated[str, msgspec.Meta(description="Of what.", examples=["ABC"])]
    venue: Annotated[str | None, msgspec.Meta(description="Where.")] = None
    price: Annotated[float, msgspec.Meta(description="For how much.")] = 0


def test_an_event_of_ones_own_is_one_line() -> None:
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
def test_what_cannot_be_declared_is_told_with_its_place(changes: dict[str, Any], fault: str) -> None:
    declaration: dict[str, Any] = {"type": "trade:executed", "payload": Trade, "channel": "trades", **changes}
    with pytest.raises(InvalidContract, match=fault):
        event(**declaration)


def test_a_key_may_be_described() -> None:
    assert event("trade:described", Described, channel="trades", key="symbol").key == "symbol"
    assert event("trade:described", Described, channel="trades", key="venue").key == "venue"
    with pytest.raises(InvalidContract, match="invalid key 'price': expected a text field"):
        event("trade:described", Described, channel="trades", key="price")


def test_contracts_are_values_that_can_be_put_together() -> None:
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


def test_a_clash_says_where_both_are() -> None:
    one = Contract.of(event("trade:executed", Trade, channel="trades"))
    other = Contract.of(event("trade:executed", Trade, channel="orders"))
    place = r".*test_event_types.py:\d+"
    with pytest.raises(InvalidContract, match=f"declared twice: {place} and {place}"):
        _ = one | other
