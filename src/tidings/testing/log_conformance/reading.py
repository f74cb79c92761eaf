"""Tests of the guarantees of reading: order, completeness, conflation and pages."""

import pytest

from tidings.log.base import Log, Query, Record, Retention
from tidings.protocol.paths import Path, PathSet
from tidings.testing.log_conformance.harness import ALL, EventFactory, LogHarness

OPERATIONS = PathSet.of([Path("operations")])
ONE_KEY = PathSet.of([Path("operations", "a1")])
TWO_KEYS = PathSet.of([Path("operations", "a1"), Path("data", "a1")])
PREFIX = PathSet.of([Path("operations", "a", prefix=True)])
MIXED = PathSet.of([Path("operations", "a", prefix=True), Path("data")])
_KEYS = (None, "a1", "a2", "b1")
_TYPES = ("operation:start", "operation:progress", "operation:log", "data:update", "system:status", "report:ready")


def _filled(harness: LogHarness) -> tuple[Log, list[Record]]:
    """Return a log with 240 events of all kinds, and its records."""
    log, make = harness.open(Retention()), EventFactory()
    entries = [
        make(
            type,
            key,
            channel="global" if number % 5 == 0 else None,
            trace_id=f"trace-{number % 3}",
        )
        for number in range(10)
        for type in _TYPES
        for key in _KEYS
    ]
    for start in range(0, len(entries), 50):
        harness.append(log, *entries[start : start + 50])
    return log, [Record(offset, entry.event, entry.received_ns) for offset, entry in enumerate(entries, 1)]


def _select(records: list[Record], paths: PathSet) -> list[Record]:
    return [record for record in records if paths.matches(record.event.channel, record.event.key)]


class ReadTests:
    """Tests of `read`."""

    @pytest.mark.parametrize("paths", [ALL, OPERATIONS, ONE_KEY, TWO_KEYS, PREFIX, MIXED], ids=lambda p: p.names()[-1])
    def test_history_contains_every_event_on_the_paths(self, harness: LogHarness, paths: PathSet) -> None:
        log, records = _filled(harness)
        assert harness.history(log, paths) == _select(records, paths)

    @pytest.mark.parametrize("paths", [ALL, OPERATIONS, ONE_KEY, TWO_KEYS, PREFIX, MIXED], ids=lambda p: p.names()[-1])
    def test_read_skips_a_latest_event_only_for_a_newer_one(self, harness: LogHarness, paths: PathSet) -> None:
        log, records = _filled(harness)
        newest = {(r.event.channel, r.event.type, r.event.key): r.offset for r in records}
        expected = [
            record
            for record in _select(records, paths)
            if record.event.event_class != "latest"
            or newest[record.event.channel, record.event.type, record.event.key] == record.offset
        ]
        for after in (0, 1, 117, 239, 240):
            query = Query(after=after, until=log.head, paths=paths)
            assert harness.read_all(log, query) == [record for record in expected if record.offset > after]

    @pytest.mark.parametrize("paths", [ALL, ONE_KEY, PREFIX], ids=lambda p: p.names()[-1])
    @pytest.mark.parametrize("limit", [1, 7, 512])
    def test_pages_of_any_size_fit_together(self, harness: LogHarness, paths: PathSet, limit: int) -> None:
        log, records = _filled(harness)
        query = Query(after=0, until=200, paths=paths, conflate=False, limit=limit)
        page = harness.read(log, query)
        assert len(page.records) <= limit
        assert harness.read_all(log, query) == [record for record in _select(records, paths) if record.offset <= 200]

    def test_page_ends_with_the_event_that_reaches_max_bytes(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(log, *(make("data:update", data=b"1" * 100) for _ in range(10)))
        for max_bytes, events in ((1, 1), (100, 1), (101, 2), (450, 5)):
            page = harness.read(log, Query(after=0, until=10, paths=ALL, max_bytes=max_bytes))
            assert len(page.records) == events
            assert page.scanned == events

    def test_excluded_paths_are_left_out(self, harness: LogHarness) -> None:
        log, records = _filled(harness)
        query = Query(after=0, until=log.head, paths=OPERATIONS, excluded=PREFIX, conflate=False)
        expected = [
            record
            for record in _select(records, OPERATIONS)
            if not PREFIX.matches(record.event.channel, record.event.key)
        ]
        assert harness.read_all(log, query) == expected
        assert expected

    @pytest.mark.parametrize("paths", [ALL, ONE_KEY, PREFIX], ids=lambda p: p.names()[-1])
    def test_history_filters_by_trace_and_types(self, harness: LogHarness, paths: PathSet) -> None:
        log, records = _filled(harness)
        types = frozenset({"operation:progress", "data:update"})
        for trace_id, wanted in (("trace-1", frozenset()), (None, types), ("trace-2", types), ("none", frozenset())):
            query = Query(
                after=3, until=log.head - 3, paths=paths, conflate=False, types=wanted, trace_id=trace_id, limit=9
            )
            assert harness.read_all(log, query) == [
                record
                for record in _select(records, paths)
                if 3 < record.offset <= log.head - 3
                and (not wanted or record.event.type in wanted)
                and (trace_id is None or record.event.trace_id == trace_id)
            ]

    def test_pages_without_matches_advance_to_the_end(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        for _ in range(15):
            harness.append(log, *(make("operation:progress", str(number % 7)) for number in range(2_000)))
        harness.append(log, make("data:update", "wanted"))
        for paths in (PathSet.of([Path("data")]), PathSet.of([Path("data", "wanted")])):
            query = Query(after=0, until=log.head, paths=paths, conflate=False)
            assert [record.offset for record in harness.read_all(log, query)] == [30_001]
            assert harness.read_all(log, Query(after=0, until=30_000, paths=paths)) == []

    @pytest.mark.parametrize("paths", [ALL, OPERATIONS, ONE_KEY, TWO_KEYS, PREFIX, MIXED], ids=lambda p: p.names()[-1])
    @pytest.mark.parametrize("limit", [1, 5, 512])
    def test_snapshot_is_the_newest_of_each_key_in_log_order(
        self, harness: LogHarness, paths: PathSet, limit: int
    ) -> None:
        log, records = _filled(harness)
        newest = {(r.event.channel, r.event.type, r.event.key): r for r in records}
        expected = sorted(_select(list(newest.values()), paths), key=lambda record: record.offset)
        query = Query(after=0, until=log.head, paths=paths, newest_only=True, limit=limit)
        assert harness.read_all(log, query) == expected
        types = frozenset({"operation:progress"})
        query = Query(after=0, until=log.head, paths=paths, newest_only=True, limit=limit, types=types)
        assert harness.read_all(log, query) == [record for record in expected if record.event.type in types]

    def test_snapshot_until_a_past_offset_contains_nothing_newer(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(log, make("data:update", "a"), make("data:update", "b"), make("data:update", "a"))
        query = Query(after=0, until=2, paths=ALL, newest_only=True)
        assert [record.offset for record in harness.read_all(log, query)] == [2]

    def test_snapshot_pages_skip_events_superseded_between_them(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(log, *(make("operation:progress", f"op-{number}") for number in range(6)))
        query = Query(after=0, until=6, paths=ALL, newest_only=True, limit=2)
        first = harness.read(log, query)
        harness.append(log, make("operation:progress", "op-4"))
        rest = harness.read_all(log, Query(after=first.scanned, until=6, paths=ALL, newest_only=True, limit=2))
        assert [record.offset for record in first.records] == [1, 2]
        assert [record.offset for record in rest] == [3, 4, 6]

    def test_last_before_a_time_is_found_between_any_two_events(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        assert log.last_before(make.now_ns) == 0
        times: list[int] = []
        for number in range(3_000):
            if number % 3 == 0:
                make.advance(1)
            harness.append(log, make("data:update", str(number)))
            times.append(make.now_ns)
        for number in range(0, 3_000, 301):
            first = number - number % 3  # of three events with the same time
            assert log.last_before(times[number]) == first
            assert log.last_before(times[number] + 1) == first + 3
        assert log.last_before(0) == 0
        assert log.last_before(10**21) == 3_000

    def test_last_before_a_time_is_an_event_that_is_left(self, harness: LogHarness) -> None:
        retention = Retention(events=10, superseded_age_s=1, superseded_events=1)
        log, make = harness.open(retention), EventFactory()
        for number in range(200):
            make.advance(1)
            harness.append(log, make("operation:progress", "a"), make("data:update", "old" if number < 5 else "new"))
        harness.maintain(log, make.advance(60))
        left = harness.history(log)
        assert len(left) < 20
        assert log.trimmed(0, ALL) is not None
        for time_ns in {record.received_ns + later for record in left for later in (0, 1)}:
            before = [record.offset for record in left if record.received_ns < time_ns]
            assert log.last_before(time_ns) == max(before, default=0)

    def test_last_before_a_time_is_some_event_where_the_clock_jumped(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        for jump_s in (0, 86_400, -172_800, 3_600):
            make.advance(jump_s)
            harness.append(log, *(make("data:update", str(number)) for number in range(100)))
            for moment_ns in (0, make.now_ns, make.now_ns + 1, make.now_ns - 90_000_000_000_000):
                assert 0 <= log.last_before(moment_ns) <= log.head
        assert log.last_before(make.now_ns + 10**18) == log.head
