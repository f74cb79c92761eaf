"""Types that the contract does not declare."""

from tidings.contract.contract import Contract
from tidings.hub.config import HubConfig
from tidings.testing.in_memory_hub import InMemoryHub, Message

QUIET = HubConfig(status_s=0, metrics_s=0)


def notices(messages: list[Message]) -> list[Message]:
    return [message["data"] for message in messages if message["type"] == "connection:notice"]


def test_unknown_handled_type_gets_a_notice_with_the_nearest_name() -> None:
    hub = InMemoryHub(QUIET)
    client = hub.connect()
    types = ["operation:progres", "operation:complete", "operation:error", "weather:storm", "connection:pong"]
    client.send("channel:subscribe", {"channels": ["operations"], "handles": types})
    hub.settle()
    notice_by_message = {notice["message"]: (notice["code"], notice["hint"]) for notice in notices(client.read())}
    assert notice_by_message.pop("$.type: unknown type 'operation:progres'") == (
        "unknown_type",
        "Did you mean 'operation:progress'?",
    )
    assert notice_by_message.pop("operation:error is the old name of operation:failed")[0] == "deprecated"
    assert notice_by_message.pop("$.type: unknown type 'weather:storm'")[0] == "unknown_type"
    assert notice_by_message.pop("$.type: only the hub writes connection:pong")[0] == "not_publishable"
    assert notice_by_message == {}


def test_known_handled_type_gets_no_notice() -> None:
    hub = InMemoryHub(QUIET)
    client = hub.connect()
    client.send("channel:subscribe", {"channels": ["*"], "handles": list(Contract().events)})
    hub.settle()
    notice_by_message = {notice["message"] for notice in notices(client.read())}
    assert notice_by_message == set()


def test_strict_hub_refuses_undeclared_types() -> None:
    hub = InMemoryHub(QUIET)
    client = hub.connect("channels=none")
    client.send("weather:storm", {"force": 9})
    hub.settle()
    assert [message["data"].get("code") for message in client.read()][1:] == ["unknown_type"]


def test_lenient_hub_accepts_undeclared_types_with_one_alert() -> None:
    hub = InMemoryHub(QUIET, contract=Contract(lenient=True))
    watcher = hub.connect("channels=data,system,operations")
    client = hub.connect("channels=none")
    hub.settle()
    client.read()
    for force in (9, 10):
        client.send("weather:storm", {"force": force})
        client.send("weather:calm", None, channel="operations")
        hub.settle()
    answers = [message["type"] for message in client.read()]
    assert answers == ["event:accepted"] * 4
    seen = watcher.read_events()
    assert [(event["type"], event["channel"], event["data"]) for event in seen if "weather" in event["type"]] == [
        ("weather:storm", "data", {"force": 9}),
        ("weather:calm", "operations", None),
        ("weather:storm", "data", {"force": 10}),
        ("weather:calm", "operations", None),
    ]
    alerts = [event["data"] for event in seen if event["type"] == "system:alert"]
    assert [alert["alert_id"] for alert in alerts] == ["unknown_type:weather:storm", "unknown_type:weather:calm"]


def test_lenient_hub_refuses_reserved_and_invalid_names() -> None:
    hub = InMemoryHub(QUIET, contract=Contract(lenient=True))
    client = hub.connect("channels=none")
    hub.settle()
    client.read()
    for type in ("operation:paused", "auth:token2", "Weather:storm", "storm", "channel:mine", "x:" + "y" * 70):
        client.send(type, {})
    client.send("weather:storm", {}, channel="nowhere")
    client.send("operation:estimate", {"operation_id": "a", "stalled": False})
    hub.settle()
    codes = [message["data"]["code"] for message in client.read()]
    assert codes == ["unknown_type"] * 6 + ["unknown_channel", "not_publishable"]
