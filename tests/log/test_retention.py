"""Retention over rows in memory, and the effect of steps that are rolled back."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import hypothesis.strategies as st
from hypothesis import given
from tests.log.test_newest import Writer, newest

from tidings.log.base import Record, Retention
from tidings.log.memory import Blocks, MemoryRows
from tidings.log.newest import Newest
from tidings.log.retention import RetentionSweeper
from tidings.log.trim_marks import TrimMarks
from tidings.protocol.message_types import SlotEffect
from tidings.protocol.paths import Path, PathSet

RETENTION = Retention(events=20, superseded_events=5, keep_newest={"log": 3})
ALL = PathSet((Path("operations"),))


class Rows(MemoryRows):
    """Rows whose deletions can be undone, as those of a transaction that is rolled back."""

    _keeps_deleted = False

    @contextmanager
    def transaction_that_fails(self) -> Iterator[None]:
        self._keeps_deleted = True
        yield
        self._keeps_deleted = False

    def delete(self, offsets: Iterable[int]) -> None:
        if not self._keeps_deleted:
            super().delete(offsets)


class Log:
    """Rows, their newest events, and retention."""

    def __init__(self, retention: Retention = RETENTION) -> None:
        self.newest: Newest = newest()
        self.rows = Rows(retention.keep_newest)
        self.trim_marks = TrimMarks()
        self.sweeper = RetentionSweeper(self.rows, self.newest, self.trim_marks, retention)
        self.write = Writer(self.newest)

    def append(
        self, type: str, key: str | None, *, latest: bool = False, effect: SlotEffect = SlotEffect.REPLACE
    ) -> None:
        event = self.write(type, key, latest=latest, effect=effect)
        self.rows.append(Record(self.write.offset, event, 0))
        self.sweeper.count(event, 0)

    def state(self) -> object:
        counts = self.sweeper.counts
        return (
            (counts.durable_events, counts.durable_bytes, counts.latest_events, counts.trimmed),
            (self.newest.durable_floor, self.newest.latest_floor, list(self.newest.released)),
            {key: count for key, count in self.sweeper.key_counts("operations", "log").items() if count},
            (self.trim_marks.above(0, ALL), self.trim_marks.above(0, PathSet((Path("operations", "a"),)))),
            self.sweeper.is_due(0),
        )


events = st.tuples(
    st.sampled_from(["log", "start", "progress", "alert"]),
    st.sampled_from(["a", "b", None]),
    st.sampled_from([SlotEffect.REPLACE, SlotEffect.REPLACE, SlotEffect.CLEAR]),
)


@given(st.lists(st.one_of(events, st.just("step"), st.just("fail")), max_size=150))
def test_roll_back_undoes_a_step(
    steps: list[str | tuple[str, str | None, SlotEffect]],
) -> None:
    log = Log()
    for step in steps:
        if isinstance(step, tuple):
            type, key, effect = step
            log.append(type, key, latest=type == "progress", effect=effect if type == "alert" else SlotEffect.REPLACE)
        elif step == "step":
            log.sweeper.step(0)
            log.sweeper.commit()
        else:
            before = log.state()
            with log.rows.transaction_that_fails():
                log.sweeper.step(0)
                log.sweeper.roll_back()
            assert log.state() == before
    while log.sweeper.is_due(0):
        log.sweeper.step(0)
        log.sweeper.commit()
    counts = log.sweeper.counts
    assert counts.durable_events <= RETENTION.events
    assert counts.latest_events <= RETENTION.superseded_events
    in_range = [record for record in log.rows.all.after(log.newest.durable_floor) if record.event.type != "progress"]
    assert counts.durable_events == len(in_range)


def test_roll_back_undoes_thinning() -> None:
    log = Log()
    for _ in range(8):
        log.append("log", "a")
    before = log.state()
    log.sweeper.step(0)
    assert log.sweeper.key_counts("operations", "log") == {"a": 3}
    log.sweeper.roll_back()
    assert log.state() == before
    assert log.sweeper.key_counts("operations", "log") == {"a": 8}


def test_roll_back_without_a_step_changes_nothing() -> None:
    log = Log()
    log.append("start", "a")
    before = log.state()
    log.sweeper.roll_back()
    assert log.state() == before


def test_crowded_key_is_thinned_in_steps() -> None:
    log = Log(Retention(keep_newest={"log": 10}))
    for _ in range(1_000):
        log.append("log", "a")
    steps = 0
    while log.sweeper.is_due(0):
        log.sweeper.step(0)
        log.sweeper.commit()
        steps += 1
    assert steps > 3
    assert [record.offset for record in log.rows.all.after(0)] == list(range(991, 1_001))
    assert log.sweeper.key_counts("operations", "log") == {"a": 10}
    assert log.sweeper.counts.trimmed == 990
    assert log.trim_marks.above(0, ALL) == 990


def test_steps_are_larger_when_retention_is_far_behind() -> None:
    log = Log(Retention(events=5_000))
    for _ in range(5_800):
        log.append("start", "a")
    trimmed = []
    while log.sweeper.is_due(0):
        before = log.sweeper.counts.trimmed
        log.sweeper.step(0)
        log.sweeper.commit()
        trimmed.append(log.sweeper.counts.trimmed - before)
    assert trimmed == [512, 288]


def test_full_step_leaves_the_rest_to_the_next() -> None:
    log = Log(Retention(superseded_events=0, keep_newest={"log": 1}))
    for _ in range(300):
        log.append("log", "a")
        log.append("progress", "a", latest=True)
    assert log.sweeper.step(0)
    log.sweeper.commit()
    assert log.sweeper.counts.latest_events == 300, "thinning used up the whole step"


def test_released_rows_are_deleted_first() -> None:
    log = Log(Retention(superseded_events=0))
    for number in range(300):
        log.append("progress", f"op-{number}", latest=True)
    while log.sweeper.step(0):
        log.sweeper.commit()
    assert log.sweeper.counts.latest_events == 0, "all stay in the log as the newest of their keys"
    for number in range(300):
        log.append("progress", f"op-{number}", latest=True)
    assert log.sweeper.step(0)
    assert (len(log.newest.released), log.sweeper.counts.latest_events) == (172, 300)


def test_deleting_missing_rows_does_nothing() -> None:
    log = Log()
    log.append("start", "a")
    log.rows.delete([1, 7])
    log.rows.delete([1])
    assert list(log.rows.all.after(0)) == []


class TestBlocks:
    @given(st.lists(st.integers(1, 3_000), unique=True), st.sets(st.integers(1, 3_000)), st.integers(0, 3_100))
    def test_blocks_are_read_in_order_across_holes(self, offsets: list[int], gone: set[int], after: int) -> None:
        event = Writer(newest())("start", "a")
        blocks = Blocks()
        for offset in sorted(offsets):
            blocks.append(Record(offset, event, 0))
        for offset in gone:
            blocks.delete(offset)
        left = sorted(set(offsets) - gone)
        assert [record.offset for record in blocks.after(after)] == [offset for offset in left if offset > after]
        assert all((blocks.get(offset) is not None) == (offset in left) for offset in range(1, 3_000, 7))
