"""Tests of durability: no acknowledged event is lost, and no position is assigned twice."""

import pytest

from tidings.log.base import Log, PublishResult, Retention
from tidings.protocol.message_types import SlotEffect
from tidings.protocol.paths import Path, PathSet
from tidings.protocol.positions import Position
from tidings.testing.log_conformance.harness import ALL, EventFactory, LogHarness

CLOSED_OR_KILLED = pytest.mark.parametrize("killed", [False, True], ids=["closed", "killed"])


def reopen_log(harness: LogHarness, log: Log, retention: Retention, *, killed: bool) -> Log:
    """Close the log, or kill its process, and open it again."""
    again = harness.crash(log, retention) if killed else harness.reopen(log, retention)
    assert again is not None, "the harness does not reopen logs"
    return again


class DurabilityTests:
    """Tests of a log that is opened again."""

    @CLOSED_OR_KILLED
    def test_events_snapshot_and_counters_survive_reopening(self, harness: LogHarness, killed: bool) -> None:
        retention, make = Retention(events=50, superseded_events=20, keep_newest={"operation:log": 5}), EventFactory()
        log = harness.open(retention)
        for number in range(40):
            harness.append(
                log,
                make("data:update", f"key-{number % 3}", event_id=f"0123456789abcd{number:02}", scope="me", data=b"{}"),
                make("operation:progress", f"op-{number % 7}"),
                make("operation:log", "op-1"),
                make("system:alert", "disk", effect=SlotEffect.CLEAR if number % 4 == 3 else SlotEffect.REPLACE),
            )
        harness.maintain(log, make.now_ns)
        history, snapshot, statistics = harness.history(log), harness.snapshot(log), log.statistics()
        operations = PathSet.of([Path("operations", "op-1")])
        floors = [log.trimmed(after, paths) for after in (0, 30, 150) for paths in (ALL, operations)]
        positions = [log.position(offset) for offset in range(161)]
        again = reopen_log(harness, log, retention, killed=killed)
        assert again.head == 160
        assert harness.history(again) == history
        assert harness.snapshot(again) == snapshot
        assert [again.trimmed(after, paths) for after in (0, 30, 150) for paths in (ALL, operations)] == floors
        assert [again.position(offset) for offset in range(161)] == positions
        (repeated,) = harness.outcomes(again, make("data:update", event_id="0123456789abcd39", scope="me", data=b"{}"))
        assert isinstance(repeated, PublishResult)
        assert (repeated.offset, repeated.duplicate) == (157, True)
        assert again.epoch != log.epoch, "every opening begins an epoch"
        assert [again.resolve(position) for position in positions] == list(range(161))
        counters = ("head", "first", "durable_events", "durable_bytes", "superseded_events", "newest")
        assert [getattr(again.statistics(), name) for name in counters] == [getattr(statistics, n) for n in counters]
        assert again.resolve(Position(log.epoch, 161)) is None
        assert harness.append(again, make("data:update")) == 161
        assert again.position(161) == Position(again.epoch, 161)
        assert again.resolve(Position(log.epoch, 161)) is None, "another copy of the log may have assigned it"

    @CLOSED_OR_KILLED
    def test_event_ids_survive_trimming_and_reopening(self, harness: LogHarness, killed: bool) -> None:
        retention, make = Retention(events=2), EventFactory()
        log = harness.open(retention)
        events = [make("data:update", "a", event_id=f"0123456789abcde{number}") for number in range(6)]
        starts = [make("operation:start", "op", event_id=f"0123456789abcdf{number}") for number in range(2)]
        harness.append(log, *events, starts[0], make("operation:complete", "op"), starts[1])
        log.forget(make.now_ns, 2)
        harness.maintain(log, make.now_ns)
        again = reopen_log(harness, log, retention, killed=killed)
        harness.append(again, make("operation:complete", "op"), make("operation:start", "op"))
        outcomes = harness.outcomes(again, *events[2:], *starts, events[1])
        assert [outcome.offset for outcome in outcomes if isinstance(outcome, PublishResult)] == [3, 4, 5, 6, 7, 9, 12]
        assert [outcome.attempt for outcome in outcomes if isinstance(outcome, PublishResult)][4:6] == [1, 2]

    @CLOSED_OR_KILLED
    def test_offsets_continue_in_an_emptied_log_after_reopening(self, harness: LogHarness, killed: bool) -> None:
        retention, make = Retention(age_s=10.0, newest_age_s=10.0, superseded_age_s=1.0), EventFactory()
        log = harness.open(retention)
        harness.append(log, make("data:update", "a"), make("operation:progress", "op"), make("data:update", "b"))
        harness.maintain(log, make.advance(60))
        position = log.position(3)
        again = reopen_log(harness, log, retention, killed=killed)
        assert again.head == 3
        assert harness.history(again) == []
        assert again.trimmed(0, ALL) == 3
        assert again.resolve(position) == 3
        assert harness.append(again, make("data:update", "a")) == 4

    @CLOSED_OR_KILLED
    def test_retention_continues_after_reopening(self, harness: LogHarness, killed: bool) -> None:
        retention, make = Retention(events=10), EventFactory()
        log = harness.open(retention)
        for _ in range(3):
            harness.append(log, *(make("data:update", "a") for _ in range(1_000)))
        log.maintain(make.now_ns)  # one step of several
        again = reopen_log(harness, log, retention, killed=killed)
        harness.maintain(again, make.now_ns)
        assert [record.offset for record in harness.history(again)] == list(range(2_991, 3_001))

    @CLOSED_OR_KILLED
    def test_keys_outside_the_snapshot_stay_outside_after_reopening(self, harness: LogHarness, killed: bool) -> None:
        retention, make = Retention(events=3, finished_s=60.0), EventFactory()
        log = harness.open(retention)
        harness.append(log, make("operation:start", "op"), make("operation:progress", "op"))
        harness.append(log, make("system:alert", "disk"), make("operation:complete", "op"))
        harness.append(log, make("system:alert", "disk", effect=SlotEffect.CLEAR), make("data:update", "a"))
        harness.append(log, make("data:update", "a"), make("data:update", "a"))
        harness.maintain(log, make.advance(120))
        again = reopen_log(harness, log, retention, killed=killed)
        harness.maintain(again, make.now_ns)
        assert [record.offset for record in harness.snapshot(again)] == [8]
