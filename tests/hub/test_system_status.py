import pytest

from tidings.exceptions import LogFull, LogUnavailable
from tidings.hub.config import HubConfig
from tidings.hub.system_status import SystemStatusPublisher
from tidings.log.memory import MemoryLog
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryClient, InMemoryHub, Message


def start(config: HubConfig | None = None) -> tuple[InMemoryHub, FaultyLog, InMemoryClient]:
    log = FaultyLog(MemoryLog(EPOCH))
    hub = InMemoryHub(config, log=log)
    client = hub.connect("channel=system")
    hub.settle()
    SystemStatusPublisher(hub.hub, hub.connections).start()
    return hub, log, client


def of_type(messages: list[Message], type: str) -> list[Message]:
    return [message["data"] for message in messages if message["type"] == type]


def test_hub_publishes_its_status() -> None:
    hub, _, client = start()
    hub.loop.advance(25)
    statuses = of_type(client.read(), "system:status")
    assert [status["uptime"] for status in statuses] == [0, 10, 20]
    last = statuses[-1]
    assert (last["status"], last["active_operations"], last["source"]) == ("healthy", 0, "tidings")
    assert last["metrics"] == {
        "connections": 1.0,
        "subscribers": 1.0,
        "catching_up": 0.0,
        "lanes": 1.0,
        "log_events": 0.0,
        "log_bytes": 0.0,
        "staged": 0.0,
    }


def test_status_counts_live_operations() -> None:
    hub, _, client = start()
    client.send("operation:start", {"operation_id": "a", "name": "run"})
    hub.loop.advance(10)
    assert of_type(client.read(), "system:status")[-1]["active_operations"] == 1


def test_metrics_cover_a_window() -> None:
    hub, _, client = start(HubConfig(status_s=0, metrics_s=10))
    for _ in range(20):
        client.send("system:alert", {"severity": "info", "code": "c", "message": "m", "recoverable": True})
        hub.loop.advance(1)
    first, second = of_type(client.read(), "system:metrics")
    for window in (first, second):
        assert window["window_s"] == pytest.approx(10)
        assert window["metrics"]["events_per_s"] == pytest.approx(1, abs=0.2)
        assert window["metrics"]["writes_per_s"] == pytest.approx(1, abs=0.2)
        assert (window["metrics"]["fell_behind"], window["metrics"]["gaps"], window["metrics"]["refused"]) == (0, 0, 0)


def test_intervals_of_zero_disable_status_and_metrics() -> None:
    hub, log, _ = start(HubConfig(status_s=0, metrics_s=0))
    hub.loop.advance(200)
    assert log.head == 0


def test_log_that_cannot_follow_raises_an_alert_without_a_publisher() -> None:
    hub, log, client = start()
    hub.loop.advance(1)
    log.fail(LogUnavailable("the log is behind the others"))
    hub.loop.advance(10)
    messages = client.read()
    [raised] = of_type(messages, "system:alert")
    assert (raised["alert_id"], raised["state"], raised["code"]) == ("tidings:log", "raised", "log_unavailable")
    assert of_type(messages, "system:status")[-1]["status"] == "degraded"
    log.clear_faults()
    hub.loop.advance(10)
    messages = client.read()
    [cleared] = of_type(messages, "system:alert")
    assert (cleared["state"], cleared["code"]) == ("cleared", "log_unavailable")
    assert of_type(messages, "system:status")[-1]["status"] == "healthy"


def test_failing_log_raises_an_alert_until_it_recovers() -> None:
    hub, log, client = start()
    hub.loop.advance(1)
    log.fail_append(LogFull("no room", hint="Make some."))
    client.send("data:update", {})
    hub.loop.advance(10)
    (raised,) = of_type(client.read(), "system:alert")
    assert (raised["state"], raised["severity"], raised["code"], raised["hint"]) == (
        "raised",
        "critical",
        "log_full",
        "Make some.",
    )
    hub.loop.advance(10)
    (cleared,) = of_type(client.read(), "system:alert")
    assert (cleared["state"], cleared["alert_id"]) == ("cleared", raised["alert_id"])
    hub.loop.advance(30)
    assert of_type(client.read(), "system:alert") == []


def test_refused_alert_is_raised_again() -> None:
    hub, log, client = start()
    hub.loop.advance(1)
    for _ in range(3):
        log.fail_append(LogFull("no room"))
    client.send("data:update", {})
    hub.loop.advance(35)
    messages = client.read()
    assert [alert["state"] for alert in of_type(messages, "system:alert")] == ["raised"]
    assert of_type(messages, "system:status")[-1]["status"] == "degraded"
    hub.loop.advance(10)
    messages = client.read()
    assert [alert["state"] for alert in of_type(messages, "system:alert")] == ["cleared"]
    assert of_type(messages, "system:status")[-1]["status"] == "healthy"


def test_refused_clearing_is_published_again() -> None:
    hub, log, client = start()
    hub.loop.advance(1)
    log.fail_append(LogFull("no room"))
    client.send("data:update", {})
    hub.loop.advance(10)
    hub.loop.advance(8.9)
    log.fail_append(LogFull("no room"))
    hub.loop.advance(1)
    hub.loop.advance(30)
    states = [alert["state"] for alert in of_type(client.read(), "system:alert")]
    assert states[0] == "raised"
    assert states[-1] == "cleared"


def test_hub_too_busy_for_its_status_continues() -> None:
    hub, log, client = start(HubConfig(staged_events=1))
    hub.loop.advance(5)
    log.hold_appends()
    client.send("data:update", {})
    hub.loop.advance(20)
    log.release_appends()
    hub.loop.advance(10)
    assert [status["uptime"] for status in of_type(client.read(), "system:status")] == [0, 30]


def test_status_stops_with_the_hub() -> None:
    hub, log, _ = start(HubConfig(status_s=1, metrics_s=1))
    hub.loop.advance(1.5)
    hub.hub.close()
    head = log.head
    hub.loop.advance(10)
    assert log.head == head
