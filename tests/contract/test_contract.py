import hashlib
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from tests.contract.envelopes import CONTRACT, MINTED, STAMPED, FixedDefaults, message, read

from tidings.contract.contract import Contract, compute_identity, with_operation
from tidings.contract.event_types import BUILTIN, EventType, event
from tidings.exceptions import InvalidContract, InvalidPayload, InvalidTraceID, PayloadTooLarge, UnknownType
from tidings.protocol.envelope import Envelope, decode_envelope
from tidings.protocol.message_shapes import LEARNING_MESSAGES
from tidings.protocol.message_types import EventClass, MessageType, SlotEffect
from tidings.protocol.messages import COMMANDS, HUB_MESSAGES
from tidings.protocol.payloads import DataUpdateData, OperationFailedData, OperationProgressData, Payload
from tidings.protocol.revisions import REVISION

PROGRESS = '{"operation_id":"op-1","progress":42,"current_step":"x","total_steps":2}'
ALERT = '"severity":"critical","code":"disk_full","message":"m","recoverable":true'
FAILED = '"code":"c","message":"m","recoverable":false'


class Shipment(Payload, frozen=True, kw_only=True):
    order_id: str


SHIPPED = EventType(type="shop:shipped", channel="orders", payload=Shipment, key="order_id")


# The event that is read.


def test_event_has_all_that_the_log_needs() -> None:
    event = read(message("operation:progress", PROGRESS, event_id='"0123456789abcdef"', channel='"operations"'))
    assert msgspec.structs.asdict(event) == {
        "type": "operation:progress",
        "timestamp": STAMPED,
        "trace_id": MINTED,
        "data": PROGRESS.encode(),
        "channel": "operations",
        "key": "op-1",
        "event_class": EventClass.LATEST,
        "event_id": "0123456789abcdef",
        "effect": SlotEffect.REPLACE,
    }
    assert type(event.type) is str
    assert type(event.data) is bytes


def test_defaults_are_called_only_for_absent_members() -> None:
    receipt = FixedDefaults()
    full = message(
        "operation:progress", PROGRESS, timestamp='"2025-07-30T12:00:00Z"', trace_id='"t"', channel='"global"'
    )
    event = CONTRACT.read(decode_envelope(full), receipt)
    assert (event.timestamp, event.trace_id, event.channel) == ("2025-07-30T12:00:00Z", "t", "global")
    assert receipt.asked == []


def test_default_trace_id_gets_the_event_type_s_channel_and_key() -> None:
    receipt = FixedDefaults()
    CONTRACT.read(decode_envelope(message("operation:progress", PROGRESS, trace_id='""', channel='"global"')), receipt)
    assert receipt.asked == [("timestamp", None), ("operations", "op-1")]


@pytest.mark.parametrize("timestamp", ["null", '""', '"0001-01-01T00:00:00Z"', '"0001-01-01T00:00:00.000Z"'])
def test_empty_or_zero_timestamp_is_replaced(timestamp: str) -> None:
    assert read(message("operation:progress", PROGRESS, timestamp=timestamp)).timestamp == STAMPED


EFFECTS = {"license:expired": SlotEffect.CLEAR}


@pytest.mark.parametrize("type", [row.type for row in BUILTIN if row.channel is not None])
def test_each_type_goes_to_its_channel_or_to_global(type: str) -> None:
    row = CONTRACT.events[type]
    data = EXAMPLES[type]
    for channel in ("null", '""', f'"{row.channel}"'):
        event = read(message(type, data, channel=channel), by_hub=True)
        assert (event.channel, event.event_class) == (row.channel, row.event_class)
        assert event.effect is EFFECTS.get(type, SlotEffect.END if row.ends_key else SlotEffect.REPLACE)
    assert read(message(type, data, channel='"global"'), by_hub=True).channel == "global"


EXAMPLES = {
    "operation:start": '{"operation_id":"a","name":"n"}',
    "operation:progress": PROGRESS,
    "operation:log": '{"operation_id":"a","level":"error","message":"m"}',
    "operation:complete": '{"operation_id":"a"}',
    "operation:failed": f'{{"operation_id":"a",{FAILED}}}',
    "operation:cancelled": '{"operation_id":"a"}',
    "operation:estimate": '{"operation_id":"a","stalled":false}',
    "data:update": '{"dataset":"a"}',
    "data:processed": '{"dataset":"a"}',
    "data:error": f'{{"dataset":"a",{FAILED}}}',
    "report:ready": '{"report_id":"a"}',
    "system:status": '{"status":"fine","uptime":1,"active_operations":0,"metrics":{"a":1},"source":"a"}',
    "system:alert": f'{{"alert_id":"a",{ALERT}}}',
    "system:metrics": '{"metrics":null,"source":"a"}',
    "license:expired": '{"expired_at":"2025-07-30T12:00:00Z"}',
}


@pytest.mark.parametrize(("type", "data"), EXAMPLES.items())
def test_key_is_the_field_in_the_catalogue(type: str, data: str) -> None:
    field = CONTRACT.events[type].key
    expected = json.loads(data)[field] if field else None
    assert read(message(type, data), by_hub=True).key == expected


@pytest.mark.parametrize("type", ["data:update", "data:processed", "report:ready"])
@pytest.mark.parametrize("data", ["null", "{}"])
def test_null_is_an_empty_payload_if_all_fields_are_optional(type: str, data: str) -> None:
    event = read(message(type, data))
    assert (event.data, event.key) == (data.encode(), None)
    assert CONTRACT.decode(type, data.encode()) == CONTRACT.events[type].payload()


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("data:update", '{"dataset":""}'),
        ("report:ready", '{"report_id":""}'),
        ("operation:failed", f'{{"operation_id":"",{FAILED}}}'),
        ("system:metrics", '{"source":"","metrics":null}'),
    ],
)
def test_empty_optional_key_is_none(type: str, data: str) -> None:
    assert read(message(type, data)).key is None


def test_white_space_between_tokens_becomes_spaces_and_the_rest_stays() -> None:
    event = read(b'{"type":"data:update","data":{\r\n\t"dataset" :\t"a\\u003c", "n":1.0e0,\n"m":"\\n"}}')
    assert event.data == b'{   "dataset" : "a\\u003c", "n":1.0e0, "m":"\\n"}'


def test_old_name_is_read_as_the_new_one() -> None:
    event = read(message("operation:error", f'{{"operation_id":"a",{FAILED}}}'))
    assert (event.type, event.key, event.effect) == ("operation:failed", "a", SlotEffect.END)
    assert isinstance(CONTRACT.decode("operation:error", event.data), OperationFailedData)


@pytest.mark.parametrize(
    ("members", "filled"),
    [
        ("", ',"current_step":"","total_steps":0'),
        (',"current_step":"parse"', ',"total_steps":0'),
        (',"total_steps":5', ',"current_step":""'),
        (',"current_step":"","total_steps":0', ""),
        (',"message":"current_step","note":"total_steps"', ',"current_step":"","total_steps":0'),
    ],
)
def test_progress_without_step_members_gets_them(members: str, filled: str) -> None:
    written = f'{{"operation_id":"a","progress":1{members}'
    assert read(message("operation:progress", written + "}")).data == (written + filled + "}").encode()


@pytest.mark.parametrize(
    ("members", "key"),
    [
        ('"alert_id":"full",', "full"),
        ("", "disk_full"),
        ('"alert_id":"",', "disk_full"),
        ('"operation_id":"op-1",', "disk_full:op-1"),
        ('"operation_id":"",', "disk_full"),
        ('"alert_id":"full","operation_id":"op-1",', "full"),
    ],
)
def test_alert_key_is_its_id_or_its_code_with_the_operation(members: str, key: str) -> None:
    event = read(message("system:alert", f"{{{members}{ALERT}}}"))
    assert event.key == key


@pytest.mark.parametrize(
    ("state", "effect"),
    [("", SlotEffect.REPLACE), ('"state":"raised",', SlotEffect.REPLACE), ('"state":"cleared",', SlotEffect.CLEAR)],
)
def test_cleared_alert_clears_its_slot(state: str, effect: SlotEffect) -> None:
    assert read(message("system:alert", f"{{{state}{ALERT}}}")).effect is effect


@pytest.mark.parametrize("data", ['{"order_id":"7"}', '{ "order_id": "é",\n"unknown": [1] }'])
def test_event_costs_one_decode_of_its_payload(data: str) -> None:
    decoded: list[Payload] = []

    class Counted(Payload, frozen=True, kw_only=True):
        order_id: str

        def __post_init__(self) -> None:
            decoded.append(self)

    contract = Contract([msgspec.structs.replace(SHIPPED, payload=Counted)])
    read(message("shop:shipped", data), contract=contract)
    assert len(decoded) == 1


# The types that each side may write.


@pytest.mark.parametrize("type", ["operation:estimate", "license:expired"])
def test_hub_may_write_its_own_events(type: str) -> None:
    assert read(message(type, EXAMPLES[type]), by_hub=True).type == type


def test_operation_id_is_inserted_if_absent() -> None:
    event = read(message("operation:failed", f"{{ {FAILED}}}"))
    named = with_operation(event, "op-1")
    assert named.data == f'{{"operation_id":"op-1", {FAILED}}}'.encode()
    assert msgspec.structs.replace(named, data=event.data, key=None) == event
    assert named.key == "op-1"
    assert read(message("operation:failed", named.data.decode())).key == "op-1"


@pytest.mark.parametrize("empty", ['""', "null"])
def test_empty_operation_id_is_replaced(empty: str) -> None:
    event = read(message("operation:failed", f'{{{FAILED},"operation_id":{empty}}}'))
    named = with_operation(event, 'op"1')
    assert named.data == f'{{"operation_id":"op\\"1",{FAILED}}}'.encode()


def test_operation_id_beyond_the_size_limit_is_rejected() -> None:
    message_text = "m" * (65_535 - len('{"code":"c","message":"","recoverable":false}'))
    event = read(message("operation:failed", f'{{"code":"c","message":"{message_text}","recoverable":false}}'))
    with pytest.raises(PayloadTooLarge):
        with_operation(event, "op-1")


def test_decode_accepts_events_that_only_the_hub_writes() -> None:
    closed = CONTRACT.decode("connection:closed", b'{"code":1001,"reason":"r","reconnect":true}')
    assert type(closed) is CONTRACT.events["connection:closed"].payload


def test_decode_rejects_unknown_types_and_invalid_payloads() -> None:
    with pytest.raises(UnknownType):
        CONTRACT.decode("shop:shipped", b"{}")
    with pytest.raises(InvalidPayload, match="recursion"):
        CONTRACT.decode("operation:complete", b'{"operation_id":"a","result":' + b"[" * 100_000)
    with pytest.raises(InvalidPayload, match=r"^\$\.data: ") as caught:
        CONTRACT.decode("operation:complete", b'{"operation_id"')
    assert caught.value.path == "$.data"


# An application's contract.


def test_application_adds_events_and_channels() -> None:
    contract = Contract([*BUILTIN, SHIPPED])
    assert contract.channels == ("global", "operations", "data", "system", "orders")
    event = read(message("shop:shipped", '{"order_id":"7"}'), contract=contract)
    assert (event.channel, event.key, event.event_class) == ("orders", "7", EventClass.DURABLE)
    assert contract.decode("shop:shipped", b'{"order_id":"7"}') == Shipment(order_id="7")


def test_contract_without_failures_rejects_their_old_name() -> None:
    with pytest.raises(UnknownType):
        read(message("operation:error", f"{{{FAILED}}}"), contract=Contract([SHIPPED]))


@pytest.mark.parametrize(
    "events",
    [[SHIPPED, SHIPPED], [msgspec.structs.replace(SHIPPED, type="operation:shipped")]],
    ids=["twice", "reserved"],
)
def test_contract_rejects_invalid_event_types(events: list[EventType]) -> None:
    with pytest.raises(InvalidContract):
        Contract(events)


def test_every_message_type_is_an_event_a_command_or_a_hub_message() -> None:
    known = CONTRACT.events.keys() | {MessageType.OPERATION_ERROR}
    assert {str(member) for member in MessageType} == {str(type) for type in known}
    assert not (COMMANDS.keys() | HUB_MESSAGES.keys()) & {row.type for row in BUILTIN if row.channel}


def test_constructed_envelope_is_checked_like_a_decoded_one() -> None:
    envelope = Envelope(type="data:update", data=Raw(b'{"dataset":"\\u007f"}'))
    with pytest.raises(Exception, match=r"^\$\.data\.dataset: the key holds control characters$"):
        CONTRACT.read(envelope, FixedDefaults())
    assert isinstance(CONTRACT.decode("data:update", b"{}"), DataUpdateData)
    assert isinstance(CONTRACT.decode("operation:progress", PROGRESS.encode()), OperationProgressData)


FIELDS: list[Any] = [("order_id", str), ("description", str | None, None)]


def build_payload(fields: list[Any], description: str = "A parcel left.") -> type[Payload]:
    made = msgspec.defstruct("Shipment", fields, bases=(Payload,), kw_only=True, namespace={"__doc__": description})
    assert issubclass(made, Payload)
    return made


PARCEL = EventType(type="shop:shipped", channel="orders", payload=build_payload(FIELDS), key="order_id")


def test_identity_does_not_depend_on_the_order_of_events() -> None:
    identity = compute_identity(BUILTIN)
    assert compute_identity(reversed(BUILTIN)) == Contract().identity == identity
    assert identity.version == REVISION == "2025-07-30"
    assert len(identity.hash) == len("sha256:") + hashlib.sha256().digest_size


@pytest.mark.parametrize(
    "change",
    [
        lambda row: msgspec.structs.replace(row, type="shop:sent"),
        lambda row: msgspec.structs.replace(row, channel="data"),
        lambda row: msgspec.structs.replace(row, key=None),
        lambda row: msgspec.structs.replace(row, event_class=EventClass.LATEST),
        lambda row: msgspec.structs.replace(row, publishable=False),
        lambda row: msgspec.structs.replace(row, ends_key=True),
        lambda row: msgspec.structs.replace(row, payload=build_payload(FIELDS[:1])),
        lambda row: msgspec.structs.replace(row, payload=build_payload([("order_id", str | None, None), *FIELDS[1:]])),
    ],
    ids=["type", "channel", "key", "class", "publishable", "ends_key", "a field less", "a field optional"],
)
def test_identity_changes_with_each_visible_fact(change: Callable[[EventType], EventType]) -> None:
    assert compute_identity([change(PARCEL)]) != compute_identity([PARCEL])


def test_identity_does_not_depend_on_descriptions() -> None:
    reworded = msgspec.structs.replace(PARCEL, payload=build_payload(FIELDS, "A parcel is on its way."))
    assert compute_identity([reworded]) == compute_identity([PARCEL])


@pytest.mark.parametrize(
    "body",
    [
        b'{"type":"operation:progress","timestamp":"2026-01-01T00:00:00.5Z","trace_id":"t","data":{"operation_id":"a",'
        b'"progress":40,"current_step":"parse","total_steps":5,"message":"m"},"channel":"operations","id":"7"}',
        b'{"type":"operation:progress","data":{"operation_id":"a","progress":40}}',
        b'{"type":"operation:progress","data":{"operation_id":"a","progress":40,"current_step":"","total_steps":0}}',
        b'{"type":"operation:failed","data":{"operation_id":"a","code":"c","message":"m","recoverable":true},"id":"1"}',
        b'{"type":"data:update","data":{"dataset":"prices","version":12,"records":3}}',
    ],
)
def test_usual_event_needs_no_search_for_its_names(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[bytes] = []
    monkeypatch.setattr("tidings.protocol.message_shapes.check_message", lambda body, kind: searched.append(body))
    contract = Contract()
    for _ in range(LEARNING_MESSAGES):
        read(body, contract=contract)
    assert len(searched) == LEARNING_MESSAGES
    searched.clear()
    read(body, contract=contract)
    assert searched == []
    read(body.replace(b'"data":{', b'"data":{"x":1,'), contract=contract)
    assert len(searched) == 1


@pytest.mark.parametrize(("length", "accepted"), [(1, True), (128, True), (129, False)])
@pytest.mark.parametrize("text", ["m", 'a \\"b\\"', "é"])
def test_trace_id_of_an_event_of_a_known_shape_is_checked(length: int, accepted: bool, text: str) -> None:
    contract = Contract()

    def publish(trace_id: str) -> str:
        members = {"timestamp": '"2026-01-01T00:00:00.5Z"', "trace_id": f'"{trace_id}"'}
        body = message("operation:log", f'{{"operation_id":"a","message":"{text}"}}', **members)
        return read(body, contract=contract).trace_id

    for _ in range(LEARNING_MESSAGES):
        publish("t")
    if accepted:
        assert publish("t" * length) == "t" * length
    else:
        with pytest.raises(InvalidTraceID):
            publish("t" * length)
    assert publish("") == MINTED


class Item(msgspec.Struct):
    """An item of an order."""

    sku: str
    parts: list["Item"] = []


class Order(msgspec.Struct):
    """A payload with structs in lists, in maps and in themselves."""

    items: list[Item]
    by_name: dict[str, Item] = {}


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ('{"items":[{"sku":"a","SKU":"b"}]}', "$.data.items[0]"),
        ('{"items":[{"sku":"a","parts":[{"sku":"a","Sku":"b"}]}]}', "$.data.items[0].parts[0]"),
        ('{"items":[],"by_name":{"SKU":{"sku":"a","SkU":"b"}}}', "$.data.by_name.SKU"),
        ('{"items":[],"Items":[]}', "$.data"),
    ],
)
def test_name_that_differs_in_case_is_rejected_on_every_level(data: str, path: str) -> None:
    contract = Contract.of(event("shop:ordered", Order, channel="data"))
    body = message("shop:ordered", data)
    with pytest.raises(InvalidPayload) as caught:
        read(body, contract=contract)
    assert caught.value.path == path
    other = '{"items":[{"sku":"a"}],"by_name":{"SKU":{"sku":"a"}},"note":{"SKU":1}}'
    read(message("shop:ordered", other), contract=contract)
