"""Tests of `Log.operations`: independent of trimming, and kept when a log is opened again."""

from msgspec import structs

from tidings.log.base import Log, Retention
from tidings.log.journal.controls import HeldClaim, ProducerAttached
from tidings.operations.lifecycle import OperationState
from tidings.testing.log_conformance.durability import CLOSED_OR_KILLED, reopen_log
from tidings.testing.log_conformance.harness import EventFactory, LogHarness

TIGHT = Retention(events=3, superseded_events=0, finished_s=10.0, newest_age_s=20.0)
"""Trims nearly all events of an operation, immediately or soon."""


def _data(key: str, more: bytes = b"") -> bytes:
    return b'{"operation_id":"%b"%b}' % (key.encode(), more)


class OperationTests:
    """Tests of `Log.operations` for any adapter."""

    def test_operation_status_follows_from_its_events(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(
            log,
            make("operation:start", "op", data=_data("op", b',"name":"import","steps":["a","b"]')),
            make("operation:progress", "op", data=_data("op", b',"progress":40,"current_step":"a"')),
            make("operation:progress", "op", data=_data("op", b',"progress":30,"current_step":"b"')),
        )
        status = log.operations.get("op")
        assert status is not None
        assert (status.state, status.life.attempt, status.name) == (OperationState.RUNNING, 1, "import")
        assert (status.progress, status.current_step, status.total_steps) == (40, "b", 2)
        assert [step.name for step in status.steps] == ["a", "b"]
        assert [each.operation_id for each in log.operations.live] == ["op"]
        harness.append(log, make("operation:complete", "op", data=_data("op", b',"duration_ms":1500,"result":7')))
        assert (status.state, status.progress, status.duration_s, status.result) == ("complete", 100, 1.5, 7)
        assert [moment.state for moment in status.timeline] == ["running", "complete"]
        assert len(log.operations) == 0

    def test_operation_survives_trimming_of_its_start(self, harness: LogHarness) -> None:
        log, make = harness.open(TIGHT), EventFactory()
        harness.append(log, make("operation:start", "op", data=_data("op", b',"name":"import"')))
        _trim(harness, log, make)
        assert not any(record.event.type == "operation:start" for record in harness.history(log))
        status = log.operations.get("op")
        assert status is not None
        assert (status.state, status.name) == (OperationState.RUNNING, "import")

    def test_ended_operation_stays_ended_after_its_end_is_trimmed(self, harness: LogHarness) -> None:
        log, make = harness.open(TIGHT), EventFactory()
        harness.append(
            log, make("operation:start", "op", data=_data("op")), make("operation:failed", "op", data=_data("op"))
        )
        _trim(harness, log, make)
        assert not any(record.event.key == "op" for record in harness.history(log))
        status = log.operations.get("op")
        assert status is not None
        assert status.state is OperationState.FAILED

    def test_ended_operations_expire_except_the_newest_of_each_name(self, harness: LogHarness) -> None:
        retention = Retention(operations=20, operations_age_s=100.0)
        log, make = harness.open(retention), EventFactory()
        for number in range(30):
            key, name = f"op-{number:02}", b"odd" if number % 2 else b"even"
            harness.append(
                log,
                make("operation:start", key, data=_data(key, b',"name":"%b"' % name)),
                make("operation:complete", key, data=_data(key)),
            )
        harness.maintain(log, make.now_ns)
        assert [status.operation_id for status in log.operations.ended] == [f"op-{number}" for number in range(10, 30)]
        make.advance(101)
        harness.maintain(log, make.now_ns)
        assert [status.operation_id for status in log.operations.ended] == ["op-28", "op-29"]
        assert {name: history.complete for name, history in log.operations.names.items()} == {"odd": 15, "even": 15}


class ReopenedOperationTests:
    """Tests of `Log.operations` of a log that is opened again."""

    @CLOSED_OR_KILLED
    def test_operations_survive_trimming_and_reopening(self, harness: LogHarness, killed: bool) -> None:
        log, make = harness.open(TIGHT), EventFactory()
        harness.append(
            log,
            make("operation:start", "live", data=_data("live", b',"name":"import"')),
            make("operation:start", "ended", data=_data("ended")),
            make("operation:failed", "ended", data=_data("ended")),
        )
        _trim(harness, log, make)
        again = reopen_log(harness, log, TIGHT, killed=killed)
        states = [(status.state, status.name) for key in ("live", "ended") if (status := again.operations.get(key))]
        assert states == [("running", "import"), ("failed", "")]

    @CLOSED_OR_KILLED
    def test_unsaved_operations_are_rebuilt_after_reopening(self, harness: LogHarness, killed: bool) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(log, make("operation:start", "op", data=_data("op", b',"name":"n"')))
        harness.append(log, make("operation:complete", "op", data=_data("op", b',"duration_ms":5')))
        before = _contents(log)
        assert _contents(reopen_log(harness, log, Retention(), killed=killed)) == before

    @CLOSED_OR_KILLED
    def test_operation_table_is_equal_after_reopening(self, harness: LogHarness, killed: bool) -> None:
        retention = Retention()
        log, make = harness.open(retention), EventFactory()
        for number in range(30):
            key = f"op-{number % 10}"
            harness.append(
                log,
                make("operation:start", key, data=_data(key, b',"name":"n","parent_id":"op-0"')),
                make("operation:progress", key, data=_data(key, b',"progress":%d' % number)),
            )
            if number % 3:
                harness.append(log, make("operation:complete", key, data=_data(key, b',"duration_ms":%d' % number)))
            make.advance(1)
            if number % 7 == 0:
                harness.maintain(log, make.now_ns)
        before = _contents(log)
        assert _contents(reopen_log(harness, log, retention, killed=killed)) == before

    @CLOSED_OR_KILLED
    def test_holders_and_leases_survive_reopening(self, harness: LogHarness, killed: bool) -> None:
        log, make = harness.open(Retention()), EventFactory()
        start = make("operation:start", "a", data=_data("a"))
        harness.append(log, structs.replace(start, producer_id="p", lease_s=5.0))
        harness.append(log, make("operation:start", "b", data=_data("b")))
        log.record(ProducerAttached("q", 1, 30.0, [HeldClaim("b", 1, 7.0)]))
        harness.settle()
        harness.maintain(log, make.now_ns)
        again = reopen_log(harness, log, Retention(), killed=killed)
        lives = [again.operations.life(key) for key in "ab"]
        assert [(life.producer_id, life.lease_s) for life in lives if life] == [("p", 5.0), ("q", 7.0)]
        assert again.operations.producers() == ["p", "q"]


def _trim(harness: LogHarness, log: Log, make: EventFactory) -> None:
    """Append events and let time pass until no event of an operation is left in the range and the snapshot."""
    for _ in range(5):
        harness.append(log, *(make("data:update", "d") for _ in range(5)))
        make.advance(30)
        harness.maintain(log, make.now_ns)


def _contents(log: Log) -> list[object]:
    operations = log.operations
    numbered = sorted((*operations.live, *operations.ended), key=lambda status: status.number)
    return [
        numbered,
        [status.operation_id for status in operations.ended],
        dict(operations.names),
        [child.operation_id for child in operations.children("op-0")],
        len(operations),
    ]
