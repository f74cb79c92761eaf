from collections.abc import Callable
from typing import Any

import pytest

from tidings.exceptions import LogFull
from tidings.hub.config import HubConfig
from tidings.hub.licensing import LicenseState, LicenseTerm, LicenseWatch
from tidings.log.memory import MemoryLog
from tidings.testing.clock import ManualClock
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryClient, InMemoryHub, Message

QUIET = HubConfig(status_s=0, metrics_s=0, maintain_s=3600.0, estimate_s=0)
DAY_S = 86_400
DAY_NS = DAY_S * 10**9


class Licensed:
    """A hub with a license of some days, and a client that reads everything."""

    def __init__(self, days: float, *, before: "Licensed | None" = None, term: LicenseTerm | None = None) -> None:
        self.log: FaultyLog = before.log if before is not None else FaultyLog(MemoryLog(EPOCH))
        clock = before.hub.clock if before is not None else ManualClock()
        self.hub: InMemoryHub = InMemoryHub(QUIET, log=self.log, clock=clock)
        self.term = term or LicenseTerm(
            license_id="lic-1", subject="ACME", expires_ns=self.hub.hub.now_ns() + int(days * DAY_NS)
        )
        self.over = 0
        self.next_term: LicenseTerm | None = None
        self.watch = LicenseWatch(
            self.hub.hub, self.term, grace_s=7 * DAY_S, refresh=self._refresh, on_over=self._close_all
        )
        self.client = self.hub.connect("channel=*&since=now")
        self.watch.start()
        self.hub.settle()

    def _refresh(self) -> None:
        if self.next_term is not None:
            self.watch.renew(self.next_term)

    def _close_all(self, reason: str) -> None:
        self.over += 1
        self.hub.connections.close_all(4051, reason, retry_after_ms=30_000)

    def pass_days(self, days: float) -> None:
        """Let time pass at which only the timer of the license runs."""
        self.hub.clock.advance(days * DAY_S - 1)
        self.hub.loop.advance(2)
        self.hub.settle()

    def alerts(self) -> list[tuple[str, str, str]]:
        """Return the alerts since the last call: id, state, severity."""
        return [
            (data["alert_id"].removeprefix("tidings:license:"), data["state"], data["severity"])
            for data in of_type(self.client.read(), "system:alert")
        ]


def of_type(messages: list[Message], type: str) -> list[Any]:
    return [message["data"] for message in messages if message["type"] == type]


def publish(hub: InMemoryHub, client: InMemoryClient) -> list[Message]:
    client.read()
    client.send("data:update", {"dataset": "d"})
    hub.settle()
    return client.read()


def test_alerts_are_raised_once_each_and_the_nearest_one_stays() -> None:
    licensed = Licensed(40)
    assert licensed.alerts() == []
    licensed.pass_days(9)
    assert licensed.alerts() == []
    licensed.pass_days(2)
    assert licensed.alerts() == [("30d", "raised", "warning")]
    licensed.hub.loop.advance(60)
    assert licensed.alerts() == []
    licensed.pass_days(22.5)
    assert licensed.alerts() == [("30d", "cleared", "info"), ("7d", "raised", "warning")]
    licensed.pass_days(6)
    assert licensed.alerts() == [("7d", "cleared", "info"), ("1d", "raised", "critical")]


def test_alerts_are_not_repeated_by_a_restart() -> None:
    licensed = Licensed(20)
    assert [id for id, _, _ in licensed.alerts()] == ["30d"]
    again = Licensed(0, before=licensed, term=licensed.term)
    again.hub.loop.advance(5)
    assert again.alerts() == []
    again.pass_days(14)
    assert again.alerts() == [("30d", "cleared", "info"), ("7d", "raised", "warning")]


def test_expiry_is_announced_once_and_refuses_publishing_until_the_renewal() -> None:
    licensed = Licensed(1.5)
    licensed.pass_days(0.6)
    assert of_type(publish(licensed.hub, licensed.client), "event:accepted")
    licensed.client.read()
    licensed.pass_days(1)
    (expired,) = of_type(licensed.client.read(), "license:expired")
    assert (expired["license_id"], expired["expired_at"][-1]) == ("lic-1", "Z")
    assert licensed.watch.state is LicenseState.EXPIRED
    (error,) = of_type(publish(licensed.hub, licensed.client), "connection:error")
    assert (error["code"], error["recoverable"]) == ("license_expired", True)
    assert "Its clock shows " in error["hint"]

    again = Licensed(0, before=licensed, term=licensed.term)
    again.hub.loop.advance(5)
    assert of_type(again.client.read(), "license:expired") == [], "a restart does not repeat the event"
    again.next_term = LicenseTerm(license_id="lic-2", subject="ACME", expires_ns=again.hub.hub.now_ns() + 400 * DAY_NS)
    again.hub.loop.advance(1)
    assert again.alerts() == [("expired", "cleared", "info")]
    assert of_type(publish(again.hub, again.client), "event:accepted")


def test_client_that_joins_an_expired_hub_is_informed_and_reads_on() -> None:
    licensed = Licensed(1)
    publish(licensed.hub, licensed.client)
    licensed.pass_days(2)
    for versioned in (True, False):
        late = licensed.hub.connect("channel=data&since=first", versioned=versioned)
        licensed.hub.settle()
        messages = late.read()
        types = [message["type"] for message in messages]
        assert types[:2] == ["connection:established", "license:expired"]
        assert "data:update" in types
    fresh = licensed.hub.connect("channel=*&since=snapshot")
    licensed.hub.settle()
    assert len(of_type(fresh.read(), "license:expired")) == 1, "a snapshot does not repeat it"


def test_snapshot_after_a_renewal_has_no_expired_license() -> None:
    licensed = Licensed(1)
    licensed.pass_days(2)
    licensed.watch.renew(
        LicenseTerm(license_id="lic-2", subject="ACME", expires_ns=licensed.hub.hub.now_ns() + DAY_NS * 99)
    )
    licensed.hub.settle()
    fresh = licensed.hub.connect("channel=*&since=snapshot")
    licensed.hub.settle()
    types = [message["type"] for message in fresh.read()]
    assert "license:expired" not in types
    assert "system:alert" not in types


def test_connections_are_closed_once_when_the_grace_has_passed() -> None:
    licensed = Licensed(1)
    licensed.pass_days(7.9)
    assert (licensed.over, licensed.client.outlet.closed) == (0, None)
    licensed.pass_days(0.2)
    licensed.hub.loop.advance(5)
    assert licensed.over == 1
    closed = of_type(licensed.client.read(), "connection:closed")[-1]
    assert closed["reason"].startswith("the license lic-1 of this hub expired at ")
    assert (closed["code"], closed["reconnect"], closed["retry_after_ms"]) == (4051, True, 30_000)
    late = licensed.hub.connect("channel=data&since=first")
    licensed.hub.settle()
    messages = late.read()
    types = [message["type"] for message in messages]
    assert types == ["connection:established", "connection:closed"]
    assert (messages[1]["data"]["code"], messages[1]["data"]["retry_after_ms"]) == (4051, 30_000)
    licensed.next_term = LicenseTerm(license_id="l", subject="s", expires_ns=licensed.hub.hub.now_ns() + DAY_NS)
    licensed.hub.loop.advance(1)
    assert of_type(publish(licensed.hub, licensed.hub.connect()), "event:accepted")


def test_events_of_the_hub_go_on_after_expiry() -> None:
    licensed = Licensed(1)
    licensed.client.send("operation:start", {"operation_id": "job", "name": "n"})
    licensed.hub.settle()
    licensed.pass_days(3)
    licensed.hub.loop.advance(5)
    assert of_type(licensed.client.read(), "operation:failed"), "the hub ends what nobody attends"


def test_alert_that_the_log_refuses_is_published_again() -> None:
    licensed = Licensed(8)
    licensed.client.read()
    for _ in range(5):
        licensed.log.fail_append(LogFull("full"))
    licensed.pass_days(2)
    assert licensed.alerts() == []
    licensed.hub.loop.advance(10)
    assert ("7d", "raised", "warning") in licensed.alerts()


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0 * 24 * 30])
def test_clock_that_jumps_for_a_moment_changes_nothing(seconds: float) -> None:
    licensed = Licensed(20)
    licensed.alerts()
    licensed.hub.clock.jump(seconds)
    licensed.hub.loop.advance(5)
    licensed.hub.clock.jump(-seconds)
    licensed.hub.loop.advance(60)
    assert licensed.alerts() == []
    assert licensed.watch.state is LicenseState.VALID


def counting(function: Callable[[], Any]) -> int:
    """Return the calls of functions of ours while `function` runs."""
    import sys

    calls = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def test_hub_without_a_license_pays_nothing_per_event() -> None:
    bare, licensed = InMemoryHub(QUIET), Licensed(100)
    client = bare.connect("channel=none")
    calls = []
    for each in (client, licensed.hub.connect("channel=none")):
        each.send("data:update", {"dataset": "d"})
        calls.append(counting(lambda each=each: each.send("data:update", {"dataset": "d"})))  # type: ignore[misc]
    assert calls[1] - calls[0] <= 1
