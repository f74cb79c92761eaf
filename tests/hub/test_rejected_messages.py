"""Which messages a connection rejects, and what its errors carry."""

import pytest
from tests.hub.events import update
from tests.hub.exchange import answer, connect

from tidings.protocol.messages import COMMANDS, HUB_MESSAGES

BAD: list[tuple[bytes, str]] = [
    (b"{", "invalid_json"),
    (b'{"type":"operation:progress","data":{"operation_id":"a","progress":NaN}}', "invalid_json"),
    (b"[]", "invalid_envelope"),
    (b"{}", "invalid_envelope"),
    (b'{"type":7}', "invalid_envelope"),
    (b'{"type":"data:updated"}', "unknown_type"),
    (b'{"type":"operation:progress","data":{"operation_id":"a","progress":-1}}', "invalid_payload"),
    (b'{"type":"operation:progress","data":{"operation_id":"a","progress":101}}', "invalid_payload"),
    (b'{"type":"operation:progress","data":{"operation_id":"a","progress":"1"}}', "invalid_payload"),
    (b'{"type":"operation:progress","data":null}', "invalid_payload"),
    (b'{"type":"operation:progress","data":{"operation_id":"","progress":1}}', "invalid_key"),
    (b'{"type":"data:update","data":{"url":"%b"}}' % (b"x" * 65_526), "payload_too_large"),
    (b'{"type":"data:update","data":{"metadata":%b}}' % (b'{"a":' * 63 + b"1" + b"}" * 63), "too_deep"),
    (b'{"type":"data:update","channel":"nonsense"}', "unknown_channel"),
    (b'{"type":"data:update","channel":"system"}', "wrong_channel"),
    (b'{"type":"data:update","timestamp":"yesterday"}', "invalid_timestamp"),
    (b'{"type":"data:update","trace_id":"\\u00e4"}', "invalid_trace_id"),
    (b'{"type":"data:update","event_id":"short"}', "invalid_event_id"),
    (b'{"type":"data:update","data":{"url":"a","url":"b"}}', "invalid_json"),
    (b'{"type":"data:update","data":{"x":{"y":1e999}}}', "invalid_json"),
    (b'{"type":"data:update","data":{"Dataset":"a"}}', "invalid_payload"),
    (b'{"type":"data:update","Data":{}}', "invalid_envelope"),
    (b'{"type":"license:expired"}', "not_publishable"),
    (b'{"type":"operation:estimate"}', "not_publishable"),
    (b'{"type":"connection:established"}', "not_publishable"),
]


@pytest.mark.parametrize("versioned", [True, False])
@pytest.mark.parametrize(("body", "code"), BAD, ids=[f"{number}-{code}" for number, (_, code) in enumerate(BAD)])
def test_invalid_message_is_answered_and_connection_stays_open(body: bytes, code: str, versioned: bool) -> None:
    hub, client = connect("channels=none", versioned=versioned)
    client.send_raw(body)
    error = answer(hub, client)
    assert (error["type"], error["data"]["code"]) == ("connection:error", code)
    assert error["data"]["hint"]
    assert error["data"]["message"]
    assert client.outlet.closed is None
    assert hub.log.head == 0


def test_largest_payload_is_accepted() -> None:
    hub, client = connect("channels=none")
    data = b'{"url":"%b"}' % (b"x" * (65_535 - 10))
    client.send_raw(b'{"type":"data:update","id":"1","data":%b}' % data)
    assert answer(hub, client)["type"] == "event:accepted"


@pytest.mark.parametrize("type", sorted(HUB_MESSAGES.keys() - COMMANDS))
def test_message_that_only_the_hub_sends_is_rejected(type: str) -> None:
    hub, client = connect("channels=none")
    client.send(type)
    assert answer(hub, client)["data"]["code"] == "not_publishable"


def test_credential_is_not_supported_by_a_hub_that_asks_for_none() -> None:
    hub, client = connect("channels=none")
    id = client.send("auth:token", {"token": "secret"})
    error = answer(hub, client)
    assert (error["data"]["code"], error["reply_to"]) == ("not_supported", id)


@pytest.mark.parametrize(("body", "close"), [(b'{"type":"\xff"}', 1007)])
def test_error_with_a_close_code_closes_the_connection(body: bytes, close: int) -> None:
    _, client = connect("channels=none")
    client.send_raw(body)
    error, closed = client.read()
    assert (error["data"]["code"], closed["data"]["code"]) == ("invalid_utf8", close)
    assert client.outlet.closed is not None
    assert client.outlet.closed[0] == close


@pytest.mark.parametrize("type", ["data:update", "channel:subscribe", "producer:attach", "operation:cancel"])
@pytest.mark.parametrize(
    ("rest", "code"),
    [
        (b'"data":{"result":%b}' % (b"[" * 70 + b"]" * 70), "too_deep"),
        (b'"data":{"id":"inner","x":"\\ud800"}', "invalid_json"),
        (b'"data":{"x":"\xff"}', "invalid_utf8"),
        (b'"data":{"x":NaN}', "invalid_json"),
        (b'"data":{"x":1},', "invalid_json"),
        (b'"channel":7', "invalid_envelope"),
    ],
    ids=["deep", "surrogate", "utf8", "nan", "syntax", "member"],
)
def test_rejection_of_an_undecodable_message_names_its_id(type: str, rest: bytes, code: str) -> None:
    _, client = connect("channels=none")
    client.send_raw(b'{"type":"%b","trace_id":"t-1",%b,"id":"c-7"}' % (type.encode(), rest))
    error = client.read()[0]
    assert (error["data"]["code"], error["reply_to"], error["trace_id"]) == (code, "c-7", "t-1")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"channels":["data"],"channels":["system"]}', "invalid_json"),
        (b'{"channels":["data"],"x":99999999999999999999}', "invalid_json"),
        (b'{"channels":["data"],"Since":"now"}', "invalid_command"),
    ],
)
def test_command_that_readers_understand_differently_is_rejected(data: bytes, code: str) -> None:
    _, client = connect("channels=none")
    client.send_raw(b'{"type":"channel:subscribe","id":"1","data":%b}' % data)
    (error,) = client.read()
    assert (error["data"]["code"], error["reply_to"]) == (code, "1")


@pytest.mark.parametrize(
    ("type", "data", "reply"),
    [
        ("channel:subscribe", b'{"channels":["data"],"since":null,"handles":null}', "channel:subscribed"),
        ("producer:attach", b'{"producer_id":"p","operations":null,"lease_s":null}', "producer:attached"),
    ],
)
def test_null_in_a_command_means_absent(type: str, data: bytes, reply: str) -> None:
    _, client = connect("channels=none")
    client.send_raw(b'{"type":"%b","id":"1","data":%b}' % (type.encode(), data))
    assert client.read()[0]["type"] == reply


def test_events_are_forwarded_in_the_form_that_every_reader_accepts() -> None:
    hub, client = connect("channel=operations")
    client.send_raw(b'{"type":"operation:start","data":{"operation_id":"a","name":null,"total_steps":3.0,"x":1.50}}')
    hub.settle()
    assert b'"data":{"operation_id":"a","total_steps":3,"x":1.50}' in client.outlet.received


def test_rejection_on_a_plain_connection_names_no_id() -> None:
    _, client = connect("channels=none", versioned=False)
    client.send_raw(b'{"id":"c-7","type":')
    assert "reply_to" not in client.read()[0]


def test_binary_message_is_answered_and_closed() -> None:
    _, client = connect("channels=none")
    client.connection.reject_binary(b'{"type":"data:update","id":"1"}')
    messages = client.read()
    assert [message["data"]["code"] for message in messages] == ["binary_message", 1003]
    assert messages[0]["reply_to"] == "1"
    assert client.outlet.closed is not None
    assert client.outlet.closed[0] == 1003


def test_rejected_event_of_an_old_type_has_no_notice() -> None:
    hub, client = connect("channels=none")
    client.send("operation:error", {})
    assert answer(hub, client)["type"] == "connection:error"


def test_error_carries_id_and_trace_id_of_the_message() -> None:
    hub, client = connect()
    client.send("data:update", 7, id="x", trace_id="trace")
    error = answer(hub, client)
    assert (error["reply_to"], error["trace_id"]) == ("x", "trace")
    client.send("data:update", 7, id="x", trace_id="\x07")
    error = answer(hub, client)
    assert (error["reply_to"], len(error["trace_id"])) == ("x", 32)


@pytest.mark.parametrize("id", ["", "x" * 65])
def test_id_of_the_wrong_length_is_rejected(id: str) -> None:
    hub, client = connect()
    client.send("data:update", update(), id=id)
    error = answer(hub, client)
    assert (error["data"]["code"], "reply_to" in error) == ("invalid_command", False)


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("channel:subscribe", None),
        ("channel:subscribe", {"channels": []}),
        ("channel:subscribe", {"channels": "data"}),
        ("channel:subscribe", {"channels": ["data"], "since": 7}),
        ("channel:subscribe", {"channels": ["data"] * 1001}),
        ("channel:unsubscribe", {}),
    ],
)
def test_command_with_invalid_data_is_rejected(type: str, data: object) -> None:
    hub, client = connect()
    id = client.send(type, data)
    error = answer(hub, client)
    assert (error["data"]["code"], error["reply_to"]) == ("invalid_command", id)
    assert type in error["data"]["hint"]


def test_command_without_an_id_is_rejected() -> None:
    hub, client = connect()
    client.send("connection:ping", None, id=None)
    assert answer(hub, client)["data"]["code"] == "invalid_command"


@pytest.mark.parametrize(
    ("channels", "since", "code"),
    [
        (["nonsense"], None, "unknown_channel"),
        (["data", "operations/\x01"], None, "invalid_path"),
        (["none"], None, "unknown_channel"),
        (["data"], "yesterday", "invalid_position"),
        (["data"], "UPPER:1", "invalid_position"),
    ],
)
def test_invalid_subscription_changes_nothing(channels: list[str], since: str | None, code: str) -> None:
    hub, client = connect()
    client.subscribe(*channels, since=since)
    assert answer(hub, client)["data"]["code"] == code
    assert not client.connection.subscriber.paths
