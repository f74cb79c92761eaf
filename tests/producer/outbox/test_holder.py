"""Operations held over real connections to a real hub: lost, finished, restarted, cancelled, replaced."""

import logging
from collections.abc import Callable, Iterator

import msgspec
import pytest
from tests.client.hub_server import QUIET, TIMEOUT_S, HubServer
from tests.client.waiting import PROMPT
from tests.producer.held import Cut, asked_to_cancel, end_in_its_name, told, until
from tests.producer.older_hub import serve_no_leases

from tidings.client import ClientConnection, sync
from tidings.client.publish_queue import QueueLimits
from tidings.client.websocket import open_websocket
from tidings.exceptions import CommandRefused, ConfigError, TidingsError
from tidings.log.memory import MemoryLog
from tidings.producer.outbox.holder import OutboxHolder
from tidings.producer.outbox.outbox import Outbox
from tidings.producer.outbox.pending import PendingEvents
from tidings.protocol.messages import CancelAnswer, CancelPush, Verdict
from tidings.protocol.payloads import OperationStartData

PATIENT = msgspec.structs.replace(PROMPT, wait_for_hub=True)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer(config=msgspec.structs.replace(QUIET, lease_s=1.0)) as server:
        yield server


def start(outbox: Outbox, operation_id: str = "op-1") -> None:
    outbox.put_nowait("operation:start", {"operation_id": operation_id, "name": "import"}, trace_id="trace")
    assert outbox.flush(TIMEOUT_S) == 0


def put_log(outbox: Outbox, message: str) -> None:
    assert outbox.put_nowait("operation:log", {"operation_id": "op-1", "message": message})


def complete(outbox: Outbox) -> None:
    assert outbox.put_nowait("operation:complete", {"operation_id": "op-1"})


class TestCancelling:
    def ask(self, hub: HubServer, timeout_s: float = 5.0) -> tuple[str, str | None]:
        with sync.connect(hub.url) as client:
            outcome = client.cancel("op-1", reason="too slow", timeout_s=timeout_s)
            return outcome.outcome, outcome.reason

    def test_cancel_asks_the_callback_of_a_held_operation(self, hub: HubServer) -> None:
        with Outbox(hub.url) as outbox:

            def stop(push: CancelPush) -> CancelAnswer:
                assert (push.operation_id, push.attempt, push.reason) == ("op-1", 1, "too slow")
                # From inside the callback, which must not be a deadlock.
                outbox.put_nowait("operation:cancelled", {"operation_id": "op-1", "reason": push.reason})
                return CancelAnswer(verdict="stopping")

            outbox.hold("op-1", on_cancel=stop)
            start(outbox)
            assert self.ask(hub) == ("cancelled", None)

    def test_cancel_may_be_refused_by_the_callback(self, hub: HubServer) -> None:
        with Outbox(hub.url) as outbox:
            outbox.hold("op-1", on_cancel=lambda push: CancelAnswer(verdict="refused", reason="almost done"))
            start(outbox)
            assert self.ask(hub) == ("refused", "almost done")

    def test_cancel_without_a_callback_is_refused(self, hub: HubServer) -> None:
        with Outbox(hub.url) as outbox:
            start(outbox)
            outcome, reason = self.ask(hub)
            assert outcome == "refused"
            assert reason is not None
            assert "cannot be asked" in reason

    def test_cancel_is_refused_if_the_callback_raises(self, hub: HubServer, caplog: pytest.LogCaptureFixture) -> None:
        def fail(push: CancelPush) -> CancelAnswer:
            raise ValueError("the job's own fault")

        with Outbox(hub.url) as outbox:
            outbox.hold("op-1", on_cancel=fail)
            start(outbox)
            outcome, reason = self.ask(hub)
            assert (outcome, "the job's own fault" in (reason or "")) == ("refused", True)
        assert "the job's own fault" in caplog.text

    def test_cancel_waits_for_an_end_that_is_on_its_way(self, hub: HubServer) -> None:
        with Cut(hub) as cut, Outbox(cut.url, options=PATIENT) as outbox:
            outbox.hold("op-1", on_cancel=lambda push: CancelAnswer(verdict="stopping"))
            start(outbox)
            cut.stall()
            complete(outbox)
            outbox.release("op-1")
            asking = asked_to_cancel(hub, "op-1")
            cut.resume()
            assert asking.result(TIMEOUT_S).outcome == "finished_first"


def make_holder(errors: list[TidingsError]) -> OutboxHolder:
    return OutboxHolder("p-1", None, pending=PendingEvents(QueueLimits()), report=errors.append)


def test_cancel_of_a_released_operation_is_refused() -> None:
    answer = make_holder([]).cancel(CancelPush(operation_id="op-1", attempt=1))
    assert answer is not None
    assert answer.verdict == "refused"


def test_attach_refusal_is_reported_unless_the_hub_has_no_leases() -> None:
    errors: list[TidingsError] = []
    for refusal in ("not_supported", "unknown_type", "forbidden"):
        make_holder(errors).attach_refused(CommandRefused("no", refusal=refusal, recoverable=False))
    assert [getattr(trouble, "refusal", "") for trouble in errors] == ["forbidden"]


class TestComingBack:
    def test_operation_stays_held_over_a_restart_of_the_hub(self) -> None:
        log = MemoryLog("epoch")
        with HubServer(event_log=log) as first:
            outbox = Outbox(first.url, options=PATIENT)
            verdicts: list[Verdict] = []
            outbox.hold("op-1", on_lost=verdicts.append)
            start(outbox)
        for number in range(100):
            put_log(outbox, str(number))
            outbox.put_nowait("operation:progress", {"operation_id": "op-1", "progress": number})
        complete(outbox)
        with HubServer(first.port, event_log=log) as second:
            assert outbox.close(TIMEOUT_S, patient=True) == 0
            kinds = [kind for kind, _ in told(second)]
        assert kinds == ["start", *["log"] * 100, "progress", "complete"]
        assert verdicts == []

    def test_absence_shorter_than_the_lease_changes_nothing(self, hub: HubServer) -> None:
        with Cut(hub) as cut, Outbox(cut.url, lease_s=30, options=PATIENT) as outbox:
            start(outbox)
            for number in range(5):
                cut.drop()
                put_log(outbox, str(number))
                until(lambda: outbox.statistics().unacknowledged == 0)
            complete(outbox)
            assert outbox.close(TIMEOUT_S, patient=True) == 0
        assert [kind for kind, _ in told(hub)] == ["start", *["log"] * 5, "complete"]
        assert [data["message"] for kind, data in told(hub) if kind == "log"] == list("01234")


class TestLost:
    """The hub gives an operation up because its producer stayed away; the producer has only lost its network."""

    def lose(self, hub: HubServer, cut: Cut, outbox: Outbox) -> None:
        start(outbox)
        cut.refuse()
        put_log(outbox, "while away")
        until(lambda: "failed" in [kind for kind, _ in told(hub)])

    def test_lost_operation_restarts_before_its_waiting_events(self, hub: HubServer) -> None:
        verdicts: list[Verdict] = []

        def resume(verdict: Verdict) -> OperationStartData:
            verdicts.append(verdict)
            return OperationStartData(operation_id="op-1", name="import, again", resumes="op-1")

        with Cut(hub) as cut, Outbox(cut.url, options=PATIENT) as outbox:
            outbox.hold("op-1", trace_id="trace", on_lost=resume)
            self.lose(hub, cut, outbox)
            complete(outbox)
            outbox.release("op-1")
            cut.accept()
            assert outbox.close(TIMEOUT_S, patient=True) == 0
        assert verdicts == [Verdict(operation_id="op-1", attempt=1, verdict="lost")]
        events = [(kind, data) for kind, data in told(hub) if kind != "alert"]
        assert [kind for kind, _ in events] == ["start", "failed", "start", "log", "complete"]
        assert events[1][1]["code"] == "producer_lost"
        assert (events[2][1]["name"], events[2][1]["resumes"], events[2][1]["attempt"]) == ("import, again", "op-1", 2)
        life = hub.call(lambda: hub.app.hub.operations.life("op-1"))
        assert life is not None
        assert (life.attempt, life.state, life.trace_id) == (2, "complete", "trace")

    def test_lost_operation_restarts_with_its_own_start_by_default(self, hub: HubServer) -> None:
        with Cut(hub) as cut, Outbox(cut.url, options=PATIENT) as outbox:
            self.lose(hub, cut, outbox)
            cut.accept()
            complete(outbox)
            assert outbox.close(TIMEOUT_S, patient=True) == 0
        again = [data for kind, data in told(hub) if kind == "start"][1]
        assert (again["name"], again["resumes"], again["attempt"]) == ("import", "op-1", 2)
        assert told(hub)[-1][0] == "complete"

    @pytest.mark.parametrize("fails", [False, True])
    def test_lost_operation_is_dropped_if_on_lost_returns_none_or_raises(self, hub: HubServer, fails: bool) -> None:
        def drop(verdict: Verdict) -> None:
            if fails:
                raise ValueError("the job's own fault")

        errors: list[TidingsError] = []
        with Cut(hub) as cut, Outbox(cut.url, options=PATIENT, on_error=errors.append) as outbox:
            outbox.hold("op-1", on_lost=drop)
            self.lose(hub, cut, outbox)
            outbox.put_nowait("data:update", {"dataset": "kept"})
            cut.accept()
            assert outbox.close(TIMEOUT_S, patient=True) == 0
        kinds = [kind for kind, _ in told(hub) if kind != "alert"]
        assert kinds == ["start", "failed", "data:update"]
        assert [trouble.code for trouble in errors] == ["hub_unreachable"]


class TestFinishedElsewhere:
    def test_finished_operation_drops_its_events_without_a_report(self, hub: HubServer) -> None:
        errors: list[TidingsError] = []
        with (
            Cut(hub) as cut,
            Outbox(cut.url, lease_s=30, options=PATIENT, on_error=errors.append) as outbox,
        ):
            start(outbox)
            cut.refuse()
            put_log(outbox, "too late")
            outbox.put_nowait("operation:progress", {"operation_id": "op-1", "progress": 50})
            complete(outbox)
            end_in_its_name(hub, outbox.producer_id, "op-1")
            cut.accept()
            assert outbox.close(TIMEOUT_S, patient=True) == 0
        assert [kind for kind, _ in told(hub)] == ["start", "cancelled"]
        assert {trouble.code for trouble in errors} <= {"hub_unreachable"}

    def test_finished_operation_keeps_its_next_attempt(self, hub: HubServer) -> None:
        with Cut(hub) as cut, Outbox(cut.url, lease_s=30, options=PATIENT) as outbox:
            start(outbox)
            cut.refuse()
            put_log(outbox, "too late")
            outbox.put_nowait("operation:start", {"operation_id": "op-1", "name": "second"})
            put_log(outbox, "in time")
            end_in_its_name(hub, outbox.producer_id, "op-1")
            cut.accept()
            complete(outbox)
            assert outbox.close(TIMEOUT_S, patient=True) == 0
        events = told(hub)
        assert [kind for kind, _ in events] == ["start", "cancelled", "start", "log", "complete"]
        assert events[3][1]["message"] == "in time"


class TestLeases:
    def lease(self, hub: HubServer) -> float:
        life = hub.call(lambda: hub.app.hub.operations.life("op-1"))
        assert life is not None
        return life.lease_s

    def test_lease_of_the_producer_applies_to_its_operations(self, hub: HubServer) -> None:
        with Outbox(hub.url, lease_s=7) as outbox:
            start(outbox)
            assert self.lease(hub) == 7
            complete(outbox)

    def test_lease_of_an_operation_overrides_the_producers(self, hub: HubServer) -> None:
        with Outbox(hub.url, lease_s=7) as outbox:
            outbox.put_nowait("data:update")  # the connection is there before the operation
            assert outbox.flush(TIMEOUT_S) == 0
            outbox.hold("op-1", lease_s=77)
            start(outbox)
            until(lambda: self.lease(hub) == 77)
            complete(outbox)

    @pytest.mark.parametrize("lease_s", [0.5, 100_000, float("nan")])
    def test_invalid_lease_raises(self, lease_s: float) -> None:
        with pytest.raises(ConfigError):
            Outbox(lease_s=lease_s)

    def test_reused_operation_id_ignores_an_earlier_lost_one(self, hub: HubServer) -> None:
        """A lost operation of an earlier program does not concern a program that starts the same id again."""
        with Cut(hub) as cut:
            earlier = Outbox(cut.url, options=PATIENT)
            start(earlier)
            cut.refuse()
            until(lambda: "failed" in [kind for kind, _ in told(hub)])
            earlier.close(0.0)
        verdicts: list[Verdict] = []
        with Outbox(hub.url) as outbox:
            outbox.hold("op-1", on_lost=verdicts.append)
            start(outbox)
            complete(outbox)
            assert outbox.close(TIMEOUT_S, patient=True) == 0
        assert [kind for kind, _ in told(hub) if kind != "alert"] == ["start", "failed", "start", "complete"]
        assert verdicts == []


class TestOthers:
    def test_hub_without_leases_gets_all_events(self, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
        serve_no_leases(monkeypatch)
        errors: list[TidingsError] = []
        with Outbox(hub.url, on_error=errors.append) as outbox:
            outbox.hold("op-1", lease_s=60)
            start(outbox)
            complete(outbox)
            assert outbox.close(TIMEOUT_S, patient=True) == 0
        assert [kind for kind, _ in told(hub)] == ["start", "complete"]
        assert errors == []

    def test_replaced_producer_stays_away(self, hub: HubServer, caplog: pytest.LogCaptureFixture) -> None:
        opened: list[str] = []

        async def counted(url: str) -> ClientConnection:
            opened.append(url)
            return await open_websocket(url)

        options = msgspec.structs.replace(PATIENT, open_connection=counted)
        with caplog.at_level(logging.WARNING), Outbox(hub.url, options=options) as outbox:
            start(outbox)
            with_the_same_name(hub, outbox, lambda: until(lambda: "has taken the name" in caplog.text))
            assert len(opened) == 1
            put_log(outbox, "kept")
            assert outbox.close(0.2) == 1
        assert caplog.text.count("has taken the name") == 1


def with_the_same_name(hub: HubServer, outbox: Outbox, check: Callable[[], None]) -> None:
    """Attach another outbox with the same producer id, and call `check`."""
    twin = Outbox(hub.url, spool=None)
    twin.producer_id = outbox.producer_id
    twin.put_nowait("data:update")
    assert twin.flush(TIMEOUT_S) == 0
    try:
        check()
    finally:
        twin.close(TIMEOUT_S)
