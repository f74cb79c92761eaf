from collections.abc import Iterator, Sequence

import pytest
from tests.log.replicated_harness import ManualReplicatedHarness, MemoryLocalHarness, is_settled
from tests.log.sqlite_harness import SqliteHarness

from tidings.exceptions import (
    EventIDReused,
    LogCorrupt,
    LogError,
    LogFull,
    LogUnavailable,
    OperationError,
)
from tidings.log.base import (
    AppendDone,
    EventToAppend,
    Log,
    Outcome,
    PublishResult,
    Retention,
    StateAfter,
    StoredRows,
)
from tidings.log.catch_ups import MAX_CATCH_UP_S
from tidings.log.memory import MemoryLog
from tidings.log.replicated import MAX_SILENCE_S, PATIENCE_S, ReplicatedLog
from tidings.log.revocations import Revocation
from tidings.protocol.positions import Position
from tidings.testing.clock import ManualClock
from tidings.testing.log_conformance.harness import EventFactory, LogHarness
from tidings.testing.loop import ManualLoop
from tidings.testing.manual_journal import ManualEngine

Results = list[Sequence[Outcome] | LogError]


@pytest.fixture(params=[MemoryLocalHarness, SqliteHarness], ids=["memory", "sqlite"])
def harness(request: pytest.FixtureRequest) -> Iterator[ManualReplicatedHarness]:
    local: LogHarness = request.param()
    with ManualReplicatedHarness(local) as harness:
        assert isinstance(harness, ManualReplicatedHarness)
        yield harness


def open_pair(harness: ManualReplicatedHarness) -> tuple[ReplicatedLog, ReplicatedLog]:
    first = harness.open(Retention())
    return first, harness.other(first)


def append_on_both(harness: ManualReplicatedHarness, *batches: tuple[Log, Sequence[EventToAppend]]) -> list[Outcome]:
    """Append batches at the same time; return all outcomes."""
    results: Results = []
    for log, batch in batches:
        log.append(batch, results.append)
    harness.settle()
    outcomes: list[Outcome] = []
    for result in results:
        assert not isinstance(result, LogError)
        outcomes += result
    return outcomes


def test_of_two_ends_on_two_nodes_exactly_one_is_accepted(harness: ManualReplicatedHarness) -> None:
    make = EventFactory()
    first, second = open_pair(harness)
    harness.append(first, *(make("operation:start", f"op-{number}") for number in range(20)))
    ends = [[make(type, f"op-{number}") for number in range(20)] for type in ("operation:complete", "operation:failed")]
    outcomes = append_on_both(harness, (first, ends[0]), (second, ends[1]))
    assert sum(isinstance(outcome, PublishResult) for outcome in outcomes) == 20
    assert sum(isinstance(outcome, OperationError) for outcome in outcomes) == 20
    assert harness.history(first) == harness.history(second)
    assert first.operations.life("op-7") == second.operations.life("op-7")


def test_one_event_id_on_two_nodes_is_one_event(harness: ManualReplicatedHarness) -> None:
    make = EventFactory()
    first, second = open_pair(harness)
    same = make("data:update", "a", event_id="0123456789abcdef", scope="me")
    other = make("data:update", "a", event_id="0123456789abcdef", scope="me")
    outcomes = append_on_both(harness, (first, [same]), (second, [same]))
    assert sorted((each.offset, each.duplicate) for each in outcomes if isinstance(each, PublishResult)) == [
        (1, False),
        (1, True),
    ]
    (reused,) = append_on_both(harness, (second, [other]))
    assert isinstance(reused, EventIDReused)
    assert reused.position == str(first.position(1))
    assert reused.position in str(reused)


def test_position_of_one_node_resumes_on_the_other(harness: ManualReplicatedHarness) -> None:
    make = EventFactory()
    first, second = open_pair(harness)
    assert first.epoch == second.epoch == first.statistics().epoch
    harness.append(first, make("data:update", "a"), make("data:update", "b"))
    assert [second.resolve(first.position(offset)) for offset in range(3)] == [0, 1, 2]
    assert second.resolve(Position("deadbeef", 1)) is None


def test_nodes_that_start_on_an_idle_log_begin_one_epoch_each() -> None:
    clock = ManualClock()
    loop = ManualLoop(clock)
    engine = ManualEngine(loop, clock)
    logs = [
        ReplicatedLog(
            engine.open(),
            MemoryLog("unused00", Retention()),
            loop,
            node=f"node-{number}",
            version="1",
            new_name=iter([f"session{number}", f"session{number}-again"]).__next__,
            epoch=f"epoch-{number}",
        )
        for number in range(3)
    ]
    for log in logs:
        log.start(engine.state().last)
    loop.advance(2.0)
    assert all(log.is_open for log in logs)
    before = len(engine.entries)
    loop.advance(20.0)
    assert len(engine.entries) - before <= 3 * 21, "heartbeats only"
    assert len({log.epoch for log in logs}) == 1


def test_revocation_and_retention_reach_the_other_node(harness: ManualReplicatedHarness) -> None:
    make = EventFactory()
    first = harness.open(Retention(events=2))
    second = harness.other(first)
    results: list[Revocation | LogError] = []
    first.revoke(Revocation(kind="subject", name="ada", issued_before_ns=5), results.append)
    harness.append(first, *(make("data:update", str(number)) for number in range(5)))
    assert results == list(first.revocations) == list(second.revocations)
    assert not second.maintain(make.now_ns), "the lead alone proposes it"
    harness.maintain(first, make.now_ns)
    assert first.statistics().durable_events == second.statistics().durable_events == 2
    jumped = 10**9
    first.record_jump(jumped)
    harness.settle()
    assert second.received_ns(1, 0) == first.received_ns(1, 0) == jumped


def test_killed_node_continues_with_what_it_stored() -> None:
    with SqliteHarness() as local, ManualReplicatedHarness(local) as harness:
        assert isinstance(harness, ManualReplicatedHarness)
        assert isinstance(local, SqliteHarness)
        clock, loop, make = harness.clock, harness.loop, EventFactory()
        engine = ManualEngine(loop, clock)

        def start(name: str, log: object) -> ReplicatedLog:
            node = ReplicatedLog(
                engine.open(),
                log,  # type: ignore[arg-type]
                loop,
                node=name,
                version="1",
                new_name=harness.new_name,
            )
            node.start(engine.state().last)
            harness.run_until(lambda: is_settled(node))
            return node

        stored = local.open(Retention())
        node, other = start("a", stored), start("b", local.open(Retention()))
        results: Results = []
        for number in range(10):
            node.append([make("data:update", str(number)), make("operation:start", "op")], results.append)
            harness.run_until(lambda: is_settled(node))
        crashed = local.crash(stored, Retention())
        other.append([make("data:update", "while it was down")], results.append)
        harness.run_until(lambda: is_settled(other))
        again = start("a", crashed)
        assert harness.history(again) == harness.history(other)
        assert again.head == other.head
        assert [again.resolve(other.position(offset)) for offset in (0, 5, other.head)] == [0, 5, other.head]
        assert again.failed is None
        again.append([make("data:update", "after")], results.append)
        harness.run_until(lambda: is_settled(again) and again.seq == other.seq)
        assert harness.history(again) == harness.history(other)
        assert not [result for result in results if isinstance(result, LogError)]


class FullMemoryLog(MemoryLog):
    """A log that stores nothing while it is full."""

    full = False
    is_noticed = False
    """Whether its upkeep has found that it is full."""
    saved = True
    """Whether the last `maintain` has saved what was forgotten."""

    @property
    def failed(self) -> LogError | None:
        return LogFull("the disk is full") if self.is_noticed else None

    def maintain(self, now_ns: int) -> bool:
        was_noticed, self.is_noticed = self.is_noticed, self.full
        self.saved = not self.full
        if self.full and not was_noticed:
            raise LogFull("the disk is full")
        return not self.full and super().maintain(now_ns)

    def append(
        self,
        batch: Sequence[EventToAppend],
        done: AppendDone,
        *,
        state: StateAfter | None = None,
        rows: StoredRows | None = None,
    ) -> None:
        if self.full:
            done(LogFull("the disk is full"))
        else:
            super().append(batch, done, state=state, rows=rows)


class Single:
    """One node in memory, whose journal and local log fail on request."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.loop = ManualLoop(self.clock)
        self.engine = ManualEngine(self.loop, self.clock)
        self.journal = self.engine.open()
        self.local = FullMemoryLog("0badc0de")
        names = iter(f"{number:08x}" for number in range(1_000))
        self.log = ReplicatedLog(
            self.journal, self.local, self.loop, node="a", version="1", new_name=lambda: next(names)
        )
        self.log.start(0)
        self.loop.advance(0.1)
        assert self.log.is_open
        self.results: Results = []
        self.make = EventFactory()

    def append(self, *types: str) -> None:
        self.log.append([self.make(type, "a", event_id=f"{type:_<20}") for type in types], self.results.append)


def test_publishers_learn_in_time_that_the_journal_brings_nothing() -> None:
    single = Single()
    single.journal.leave()
    single.append("data:update")
    single.loop.advance(PATIENCE_S - 0.1)
    assert single.results == []
    single.loop.advance(0.1)
    (error,) = single.results
    assert isinstance(error, LogUnavailable)
    assert "may be stored later" in str(error)
    single.append("report:ready")
    assert "has brought no entry" in str(single.results[1]), "not even what is under way comes: refused at once"
    single.journal.come_back()
    single.loop.advance(10.0)
    assert single.log.head == 1, "what was in doubt is stored, what only waited is not"
    single.append("data:update", "report:ready")
    single.loop.advance(1.0)
    outcomes = single.results[2]
    assert isinstance(outcomes, list)
    single.log.close()


def test_log_that_does_not_hear_its_own_heartbeats_has_failed() -> None:
    single = Single()
    single.loop.advance(60.0)
    assert single.log.failed is None
    single.journal.leave()
    single.loop.advance(MAX_SILENCE_S - 1.5)
    assert single.log.failed is None
    single.loop.advance(2.0)
    assert isinstance(single.log.failed, LogUnavailable)
    assert single.log.stopped is None
    single.journal.come_back()
    single.loop.advance(10.0)
    assert single.log.failed is None


def test_local_log_that_stores_nothing_fails_its_node() -> None:
    single = Single()
    single.local.full = True
    single.append("data:update")
    single.loop.advance(MAX_SILENCE_S + 2.0)
    assert isinstance(single.log.failed, LogUnavailable)
    single.local.full = False
    single.loop.advance(10.0)
    assert single.log.failed is None
    assert single.log.head == 1


def test_entries_after_a_forget_wait_until_a_full_disk_has_saved_it() -> None:
    single = Single()
    single.append("data:update")
    single.loop.advance(0.5)
    single.local.full = True
    single.log.maintain(single.make.now_ns)
    single.loop.advance(3.0)
    assert not single.local.saved
    before = single.log.seq
    single.append("report:ready")
    single.loop.advance(3.0)
    assert single.log.seq == before, "a crash now would leave a log that remembers what the others forgot"
    single.local.full = False
    single.loop.advance(1.0)
    assert single.local.saved
    single.loop.advance(1.0)
    assert (single.log.head, single.log.failed) == (2, None)


def test_caller_that_catches_up_has_what_the_other_node_had(harness: ManualReplicatedHarness) -> None:
    make = EventFactory()
    first, second = open_pair(harness)
    heads: list[int] = []
    results: Results = []
    first.append([make("data:update", "a")], results.append)
    harness.run_until(lambda: bool(results))
    second.catch_up(lambda: heads.append(second.head))
    harness.settle()
    assert heads == [first.head]


def test_caller_that_cannot_catch_up_is_called_in_time_and_once() -> None:
    single = Single()
    calls: list[float] = []
    single.log.catch_up(lambda: calls.append(single.clock.now))
    single.loop.advance(1.0)
    assert len(calls) == 1
    single.journal.leave()
    for _ in range(2):
        single.log.catch_up(lambda: calls.append(single.clock.now))
    asked = single.clock.now
    single.loop.advance(60.0)
    assert [at - asked for at in calls[1:]] == [MAX_CATCH_UP_S, MAX_CATCH_UP_S]
    single.journal.come_back()
    single.loop.advance(10.0)
    assert len(calls) == 3


def test_full_journal_refuses_at_once_while_an_entry_waits() -> None:
    single = Single()
    single.engine.append_failure = LogFull("the journal is full")
    single.append("data:update")
    single.loop.advance(PATIENCE_S)
    assert isinstance(single.results[0], LogFull)
    assert "may be stored later" in str(single.results[0])
    single.append("report:ready")
    assert isinstance(single.results[1], LogFull)


def test_full_journal_is_the_reason_why_the_log_failed() -> None:
    single = Single()
    single.engine.append_failure = LogFull("the journal is full")
    single.append("data:update")
    single.loop.advance(PATIENCE_S)
    assert isinstance(single.log.failed, LogFull)
    assert "the journal is full" in str(single.results[0])
    single.engine.append_failure = None
    single.loop.advance(10.0)
    assert single.log.failed is None
    assert single.log.head == 1


def test_lost_journal_fails_the_log_and_what_waits() -> None:
    single = Single()
    single.append("data:update")
    single.loop.advance(1.0)
    single.engine.rewind(0)
    single.append("report:ready")
    single.loop.advance(1.0)
    assert isinstance(single.log.failed, LogError)
    assert single.results[1] is single.log.failed
    single.append("data:update")
    assert single.results[2] is single.log.failed


def test_closed_log_answers_what_waits_and_refuses_more() -> None:
    single = Single()
    single.journal.leave()
    single.append("data:update")
    single.log.close()
    single.log.close()
    assert isinstance(single.results[0], LogUnavailable)
    single.append("data:update")
    assert isinstance(single.results[1], LogUnavailable)


def test_damaged_state_is_refused() -> None:
    single = Single()
    local = MemoryLog("0badc0de")
    local.stored_state = b"\xc1"
    log = ReplicatedLog(single.engine.open(), local, single.loop, node="b", version="1", new_name=lambda: "0badc0de")
    with pytest.raises(LogCorrupt):
        log.start(0)
