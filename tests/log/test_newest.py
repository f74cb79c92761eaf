"""The table of newest events, compared with a plain dictionary."""

from collections.abc import Iterable

import hypothesis.strategies as st
from hypothesis import given

from tidings.log.newest import Newest, SnapshotPages
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass, SlotEffect
from tidings.protocol.paths import NO_PATHS, Path, PathSet

NS = 1_000_000_000
DAY = 86_400 * NS
ALL = PathSet.of([Path("operations"), Path("data"), Path("system")])


def newest(*, per_type: int = 1_000, age_ns: int = 7 * DAY, ended_ns: int = 900 * NS) -> Newest:
    return Newest(per_type=per_type, age_ns=age_ns, ended_ns=ended_ns)


class Writer:
    def __init__(self, table: Newest) -> None:
        self.table = table
        self.offset = 0

    def __call__(
        self,
        type: str,
        key: str | None,
        *,
        at: int = 0,
        effect: SlotEffect = SlotEffect.REPLACE,
        channel: str = "operations",
        latest: bool = False,
    ) -> Event:
        self.offset += 1
        event = Event(
            type=type,
            timestamp="2026-01-01T00:00:00Z",
            trace_id="t",
            data=b"{}",
            channel=channel,
            key=key,
            event_class=EventClass.LATEST if latest else EventClass.DURABLE,
            effect=effect,
        )
        self.table.apply(self.offset, event, at)
        return event


def snapshot(table: Newest, paths: PathSet = ALL, but: PathSet = NO_PATHS, until: int = 1 << 40) -> list[int]:
    return table.page(paths, but, after=0, until=until, limit=1 << 40)


def live(table: Newest, offsets: Iterable[int]) -> list[int]:
    """Return the offsets of a page that are still the newest of their key; readers skip the others."""
    current = {offset for name in table.groups() for offset in table.offsets(*name)}
    return [offset for offset in offsets if offset in current]


def test_newer_event_replaces_the_newest_of_its_key() -> None:
    table = newest()
    write = Writer(table)
    first, other, second = write("start", "a"), write("start", "b"), write("start", "a")
    assert table.offset("operations", "start", "a") == 3
    assert table.is_superseded(1, first)
    assert not table.is_superseded(3, second)
    assert table.is_newest(2, other)
    assert not table.is_newest(1, first)
    assert len(table) == 2
    assert list(table.groups()) == [("operations", "start")]
    assert list(table.offsets("operations", "start")) == [2, 3]
    assert list(table.keys("operations", "start")) == [("b", 2), ("a", 3)]


def test_unwritten_types_have_no_newest_events() -> None:
    table = newest()
    event = Writer(newest())("start", "a")
    assert table.offset("operations", "start", "a") is None
    assert not table.is_newest(1, event)
    assert not table.is_superseded(1, event)
    assert list(table.offsets("operations", "start")) == []
    assert list(table.keys("operations", "start")) == []


def test_clearing_event_empties_its_slot() -> None:
    table = newest()
    write = Writer(table)
    raised = write("alert", "disk")
    cleared = write("alert", "disk", effect=SlotEffect.CLEAR)
    write("alert", "never-raised", effect=SlotEffect.CLEAR)
    assert len(table) == 0
    assert not table.is_superseded(1, raised)
    assert not table.is_newest(2, cleared)


def test_only_events_below_their_floor_are_released() -> None:
    table = newest()
    write = Writer(table)
    for _ in range(2):
        write("start", "a")
        write("progress", "a", latest=True)
        write("alert", "disk")
    assert list(table.released) == []
    table.durable_floor = 4
    write("start", "a")
    write("alert", "disk", effect=SlotEffect.CLEAR)
    write("progress", "a", latest=True)
    assert list(table.released) == [4], "offsets 5 and 6 are above their floors"
    table.latest_floor = table.durable_floor = 9
    write("progress", "a", latest=True)
    assert list(table.released) == [4, 9]


def test_finished_operation_leaves_in_log_order() -> None:
    table = newest(ended_ns=10 * NS)
    write = Writer(table)
    write("complete", "before", at=0, effect=SlotEffect.END)  # so that this type comes first
    write("start", "a", at=0)
    write("progress", "a", at=0, latest=True)
    write("start", "b", at=0)
    write("complete", "a", at=0, effect=SlotEffect.END)
    table.durable_floor = table.latest_floor = 5
    assert not table.expire(10 * NS - 1)
    assert len(table) == 5
    assert not table.expire(10 * NS)
    assert snapshot(table) == [4]
    assert list(table.released) == [1, 2, 3, 5]


def test_ended_attempt_leaves_although_the_next_one_began() -> None:
    table = newest(ended_ns=10 * NS)
    write = Writer(table)
    write("start", "a", at=0)
    write("failed", "a", at=0, effect=SlotEffect.END)
    write("start", "a", at=5 * NS)
    assert snapshot(table) == [2, 3]
    table.expire(10 * NS)
    assert live(table, snapshot(table)) == [3]
    write("complete", "a", at=20 * NS, effect=SlotEffect.END)
    write("failed", "a", at=25 * NS, effect=SlotEffect.END)
    table.expire(30 * NS)
    assert len(table) == 3, "the last end counts"
    table.expire(35 * NS)
    assert len(table) == 0


def test_due_events_leave_with_the_next_event_of_their_key() -> None:
    """The table thus depends on the log alone, and not on when it is built."""
    table = newest(ended_ns=10 * NS)
    write = Writer(table)
    write("start", "a", at=0)
    write("complete", "a", at=0, effect=SlotEffect.END)
    write("log", "a", at=10 * NS)
    assert live(table, snapshot(table)) == [3]


def test_silent_key_leaves_when_all_its_events_are_too_old() -> None:
    table = newest(age_ns=1024 * NS)
    write = Writer(table)
    write("start", "silent", at=0)
    write("start", "busy", at=0)
    write("progress", "silent", at=5 * NS, latest=True)
    write("progress", "busy", at=500 * NS, latest=True)
    table.expire(1024 * NS)
    assert len(table) == 4, "keys never leave early"
    table.expire(1030 * NS + 1)
    assert live(table, snapshot(table)) == [2, 4], "a busy key keeps its older events"
    table.expire(3000 * NS)
    assert len(table) == 0, "the last key leaves even if no event follows"
    assert not table.expire(9000 * NS)


def test_many_keys_expire_a_few_at_a_time() -> None:
    table = newest(age_ns=1024 * NS, ended_ns=10 * NS, per_type=10_000)
    write = Writer(table)
    for number in range(1_000):
        write("start", f"silent-{number}", at=0)
        write("complete", f"ended-{number}", at=0, effect=SlotEffect.END)
    calls = 1
    while table.expire(5_000 * NS):
        calls += 1
    assert len(table) == 0
    assert calls > 3


def test_too_many_keys_evict_and_count_the_oldest() -> None:
    table = newest(per_type=200)
    write = Writer(table)
    for number in range(300):
        write("update", f"key-{number}", channel="data")
    assert table.evicted == 100
    assert len(table) == 200
    assert live(table, snapshot(table)) == list(range(101, 301))
    table.durable_floor = 300
    for number in range(300, 303):
        write("update", f"key-{number}", channel="data")
    assert list(table.released) == [101, 102, 103, 104]


def test_eviction_never_takes_only_the_end_of_an_operation() -> None:
    table = newest(per_type=100)
    write = Writer(table)
    write("start", "old")
    write("complete", "old", effect=SlotEffect.END)
    write("start", "again")
    write("complete", "again", effect=SlotEffect.END)
    write("start", "again")
    for number in range(100):
        write("complete", f"op-{number}", effect=SlotEffect.END)
    assert table.offset("operations", "start", "old") is None
    assert table.offset("operations", "complete", "old") is None
    assert table.offset("operations", "complete", "again") is None
    assert table.offset("operations", "start", "again") == 5, "the next attempt goes on"
    assert not table.expire(10 * DAY)


class TestPages:
    PATHS = (
        Path("operations"),
        Path("operations", "a"),
        Path("operations", "a", prefix=True),
        Path("data"),
        Path("data", "b"),
        Path("system", "ab"),
    )
    sets = st.sets(st.sampled_from(PATHS), max_size=3).map(lambda paths: PathSet.of(paths, with_global=False))
    events = st.tuples(
        st.sampled_from(["operations", "data", "system"]),
        st.sampled_from(["one", "two"]),
        st.sampled_from([None, "a", "ab", "b"]),
        st.sampled_from([SlotEffect.REPLACE, SlotEffect.REPLACE, SlotEffect.CLEAR]),
    )
    reads = st.tuples(sets, sets, st.integers(0, 20), st.integers(0, 40), st.integers(1, 5))

    @given(st.lists(st.one_of(events, reads), max_size=40))
    def test_page_equals_a_walk_over_every_key(self, steps: list[tuple[object, ...]]) -> None:
        table = newest()
        write = Writer(table)
        slots: dict[tuple[str, str, str | None], int] = {}
        for step in steps:
            if isinstance(step[0], PathSet):
                self.check(table, slots, *step)  # type: ignore[arg-type]
                continue
            channel, type, key, effect = step
            write(type, key, channel=channel, effect=effect)  # type: ignore[arg-type]
            slots.pop((channel, type, key), None)  # type: ignore[arg-type]
            if effect is SlotEffect.REPLACE:
                slots[channel, type, key] = write.offset  # type: ignore[index]

    def check(
        self,
        table: Newest,
        slots: dict[tuple[str, str, str | None], int],
        paths: PathSet,
        but: PathSet,
        after: int,
        until: int,
        limit: int,
    ) -> None:
        expected = sorted(
            offset
            for (channel, _, key), offset in slots.items()
            if after < offset <= until and paths.matches(channel, key) and not but.matches(channel, key)
        )
        found: list[int] = []
        while page := table.page(paths, but, after=after, until=until, limit=limit):
            assert page == sorted(page)
            assert len(page) <= limit
            found += page
            after = page[-1]
        assert live(table, found) == expected

    def test_mostly_stale_selection_is_rebuilt(self) -> None:
        table = newest()
        write = Writer(table)
        for _ in range(5_000):
            write("progress", "a", latest=True)
            snapshot(table)
        assert len(snapshot(table)) < 2_000

    def test_cached_selections_are_limited(self) -> None:
        pages = SnapshotPages(lambda channel: iter([{"key-7": 1}]))
        for number in range(1_000):
            paths = PathSet((Path("operations", f"key-{number}", prefix=True),))
            found = pages.page(paths, NO_PATHS, after=0, until=9, limit=9)
            assert found == ([1] if number == 7 else [])
        assert len(pages) <= 64

    def test_reader_of_single_keys_caches_no_selection(self) -> None:
        pages = SnapshotPages(lambda channel: iter([{"a": 1}]))
        assert pages.page(PathSet((Path("operations", "a"),)), NO_PATHS, after=0, until=9, limit=9) == [1]
        assert len(pages) == 0
