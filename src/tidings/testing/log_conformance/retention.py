"""Tests of the guarantees of retention: which events may be removed, and that readers can detect it."""

from tidings.log.base import EVENT_OVERHEAD_BYTES, Query, Record, Retention
from tidings.protocol.message_types import SlotEffect
from tidings.protocol.paths import Path, PathSet
from tidings.testing.log_conformance.harness import ALL, EventFactory, LogHarness
from tidings.testing.log_conformance.judging import show

DATA = PathSet.of([Path("data")], with_global=False)
OPERATIONS = PathSet.of([Path("operations")], with_global=False)


def _offsets(records: list[Record]) -> list[int]:
    return [record.offset for record in records]


class RetentionTests:
    """Tests of `maintain`, `trimmed` and the limits of `newest`."""

    def test_oldest_durable_events_are_trimmed_beyond_a_number(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(events=10)), EventFactory()
        harness.append(log, *(make("data:update", "one") for _ in range(25)))
        harness.maintain(log, make.now_ns)
        assert _offsets(harness.history(log)) == list(range(16, 26))
        statistics = log.statistics()
        assert (statistics.durable_events, statistics.trimmed_events, statistics.first) == (10, 15, 16)

    def test_oldest_durable_events_are_trimmed_beyond_a_size(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(bytes=1_000)), EventFactory()
        harness.append(log, *(make("data:update", "one", data=b"1" * 100) for _ in range(25)))
        harness.maintain(log, make.now_ns)
        assert _offsets(harness.history(log)) == list(range(16, 26))
        assert log.statistics().durable_bytes == 1_000

    def test_oldest_durable_events_are_trimmed_beyond_an_age(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(age_s=100.0)), EventFactory()
        for _ in range(5):
            harness.append(log, make("data:update", "one"), make("operation:start", "op"))
            make.advance(30)
        harness.maintain(log, make.now_ns)  # written 150, 120, 90, 60 and 30 s ago
        assert _offsets(harness.history(log)) == [5, 6, 7, 8, 9, 10]

    def test_nothing_is_trimmed_within_the_limits(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(log, *(make("data:update", "one") for _ in range(50)), make("operation:progress", "op"))
        harness.maintain(log, make.now_ns)
        assert len(harness.history(log)) == 51
        assert log.trimmed(0, ALL) is None

    def test_trimmed_reports_the_reader_s_paths_only(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(events=4)), EventFactory()
        harness.append(log, *(make("data:update", "a") for _ in range(4)))
        harness.append(log, *(make("operation:start", "op") for _ in range(4)))
        harness.maintain(log, make.now_ns)
        # The newest event of `data/a`, offset 4, stays; 1–3 are removed.
        assert _offsets(harness.history(log)) == [4, 5, 6, 7, 8]
        assert log.trimmed(0, DATA) == 3
        assert log.trimmed(2, DATA) == 3
        assert log.trimmed(3, DATA) is None
        assert log.trimmed(0, OPERATIONS) is None
        assert log.trimmed(0, ALL) == 3

    def test_newest_of_a_key_outlives_the_range_until_superseded(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(events=2, superseded_events=0)), EventFactory()
        harness.append(log, make("data:update", "old"), make("operation:progress", "old"))
        harness.append(log, *(make("report:ready", "busy") for _ in range(5)))
        harness.maintain(log, make.now_ns)
        assert _offsets(harness.history(log)) == [1, 2, 6, 7]
        assert _offsets(harness.snapshot(log)) == [1, 2, 7]
        assert log.trimmed(0, DATA) == 5
        harness.append(log, make("data:update", "old"), make("operation:progress", "old"))
        harness.maintain(log, make.now_ns)
        assert _offsets(harness.snapshot(log)) == [7, 8, 9]
        assert _offsets(harness.history(log)) == [7, 8, 9]
        assert log.trimmed(0, DATA) == 6

    def test_keys_beyond_a_size_leave_the_snapshot_oldest_first(self, harness: LogHarness) -> None:
        size = 10_000
        retention = Retention(events=5, newest_bytes=20 * (size + EVENT_OVERHEAD_BYTES))
        log, make = harness.open(retention), EventFactory()
        data = b'"' + b"x" * (size - 2) + b'"'
        for number in range(100):
            harness.append(log, make("data:update", f"key-{number}", data=data))
            harness.maintain(log, make.now_ns)
        assert _offsets(harness.snapshot(log)) == list(range(76, 101))
        assert _offsets(harness.history(log)) == list(range(76, 101))
        assert log.statistics().newest_bytes == retention.newest_bytes
        assert log.statistics().newest_evicted == 75
        assert log.trimmed(0, DATA) == 75
        assert log.trimmed(75, DATA) is None

    def test_operation_beyond_a_size_leaves_the_snapshot_whole(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(events=3, superseded_events=0, newest_bytes=4_000)), EventFactory()
        for number in range(30):
            key = f"op-{number}"
            harness.append(log, make("operation:start", key), make("operation:progress", key))
            harness.append(log, make("operation:complete", key, effect=SlotEffect.END))
            harness.maintain(log, make.now_ns)
        types: dict[str, set[str]] = {}
        for record in harness.snapshot(log):
            types.setdefault(str(record.event.key), set()).add(record.event.type)
        assert 0 < len(types) < 30
        assert all("operation:complete" in of_key for of_key in types.values()), "none of them looks live"
        assert log.statistics().newest_bytes <= 4_000

    def test_superseded_latest_events_are_trimmed_beyond_a_size(self, harness: LogHarness) -> None:
        size = 1_000
        log, make = harness.open(Retention(superseded_bytes=10 * (size + EVENT_OVERHEAD_BYTES))), EventFactory()
        for _ in range(100):
            harness.append(log, make("operation:progress", "op", data=b"1" * size))
        harness.maintain(log, make.now_ns)
        assert _offsets(harness.history(log)) == list(range(91, 101))
        assert log.statistics().superseded_bytes == 10 * size

    def test_everything_that_is_stored_counts_towards_the_total(self, harness: LogHarness) -> None:
        total = 400_000
        log, make = harness.open(Retention.within(total)), EventFactory()
        text = "x" * 1_500
        for number in range(1_000):
            key = f"op-{number}"
            progress = f'{{"operation_id":"{key}","progress":5,"message":"{text}"}}'.encode()
            start = f'{{"operation_id":"{key}","name":"{key}","command":"{text}"}}'.encode()
            end = f'{{"operation_id":"{key}","code":"c","message":"{text}","recoverable":false}}'.encode()
            harness.append(log, make("operation:start", key, data=start))
            harness.append(log, make("operation:progress", key, data=progress))
            harness.append(log, make("operation:failed", key, data=end, effect=SlotEffect.END))
            harness.append(log, make("data:update", key, data=f'"{text}"'.encode()))
            log.maintain(make.now_ns)
        harness.maintain(log, make.now_ns)
        statistics = log.statistics()
        stored = sum(len(record.event.data) for record in harness.history(log)) + log.operations.ended_bytes
        assert total // 2 <= stored <= total
        assert statistics.newest_bytes <= total // 4
        assert log.operations.ended_bytes <= total // 8
        assert log.operations.get("op-999") is not None
        assert log.operations.get("op-0") is None

    def test_superseded_latest_events_are_trimmed_after_their_age(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(superseded_age_s=60.0)), EventFactory()
        for _ in range(4):
            harness.append(log, make("operation:progress", "op"), make("data:update", "a"))
            make.advance(25)
        harness.maintain(log, make.now_ns)  # written 100, 75, 50 and 25 s ago
        assert _offsets(harness.history(log)) == [2, 4, 5, 6, 7, 8]
        assert log.trimmed(0, ALL) is None

    def test_flood_of_latest_events_displaces_no_durable_event(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(events=20, bytes=4_000, superseded_events=50)), EventFactory()
        for number in range(10):
            harness.append(log, make("data:update", "a"), make("data:update", "b"))
            harness.append(log, *(make("operation:progress", f"op-{number % 3}") for _ in range(500)))
            log.maintain(make.now_ns)
        harness.maintain(log, make.now_ns)
        history = harness.history(log)
        assert sum(record.event.type == "data:update" for record in history) == 20
        assert sum(record.event.type == "operation:progress" for record in history) <= 50 + 3
        assert log.statistics().superseded_events <= 50
        assert log.trimmed(0, ALL) is None

    def test_thinned_type_keeps_the_newest_of_each_key(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(keep_newest={"operation:log": 10})), EventFactory()
        for _ in range(30):
            harness.append(log, make("operation:log", "busy"), make("operation:start", "busy"))
        harness.append(log, *(make("operation:log", "quiet") for _ in range(10)))
        harness.maintain(log, make.now_ns)
        history = harness.history(log)
        kept = [r.offset for r in history if r.event.type == "operation:log" and r.event.key == "busy"]
        # An adapter may thin several events at a time, and keep up to twice as many.
        assert 10 <= len(kept) <= 20
        assert kept == list(range(59 - 2 * (len(kept) - 1), 60, 2))
        assert sum(record.event.type == "operation:start" for record in history) == 30
        assert sum(record.event.key == "quiet" for record in history) == 10
        busy, quiet = (PathSet.of([Path("operations", key)]) for key in ("busy", "quiet"))
        assert log.trimmed(0, busy) == kept[0] - 2
        assert log.trimmed(0, OPERATIONS) == kept[0] - 2
        assert log.trimmed(kept[0] - 1, OPERATIONS) is None
        assert log.trimmed(0, quiet) is None

    def test_event_id_is_known_until_it_is_forgotten(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(events=3)), EventFactory()
        events = [make("data:update", "a", event_id=f"0123456789abcde{number}") for number in range(6)]
        harness.append(log, *events)
        harness.maintain(log, make.now_ns)
        assert len(harness.history(log)) == 3
        assert show(harness.outcomes(log, *events)) == ["=1", "=2", "=3", "=4", "=5", "=6"]
        assert log.forgettable == 3
        log.forget(make.now_ns, 3)
        assert show(harness.outcomes(log, *events[3:], *events[:3])) == ["=4", "=5", "=6", "7", "8", "9"]
        log.forget(make.now_ns, 2)  # a lower offset brings nothing back
        harness.maintain(log, make.now_ns)
        assert show(harness.outcomes(log, *events)) == ["=7", "=8", "=9", "=4", "=5", "=6"]

    def test_more_event_ids_than_the_limit_are_forgettable(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(ids=10)), EventFactory()
        events = [make("data:update", "a", event_id=f"0123456789abcd{number:02}") for number in range(30)]
        harness.append(log, *events[:10])
        assert log.forgettable == 0
        harness.append(log, *(make("data:update", "a") for _ in range(10)), *events[10:])
        assert log.forgettable == 30
        log.forget(make.now_ns, log.forgettable)
        harness.maintain(log, make.now_ns)
        assert log.forgettable <= 30
        assert len(harness.history(log)) == 40
        assert show(harness.outcomes(log, events[20], events[19])) == ["=31", "41"]

    def test_cleared_slot_leaves_the_snapshot_until_its_next_event(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(log, make("system:alert", "disk"), make("system:alert", "heat"))
        harness.append(log, make("system:alert", "disk", effect=SlotEffect.CLEAR))
        assert _offsets(harness.snapshot(log)) == [2]
        assert _offsets(harness.history(log)) == [1, 2, 3]
        harness.append(log, make("system:alert", "disk"))
        assert _offsets(harness.snapshot(log)) == [2, 4]

    def test_finished_operation_leaves_the_snapshot_after_finished_s(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(finished_s=900.0)), EventFactory()
        harness.append(log, make("operation:start", "a"), make("operation:progress", "a"), make("operation:log", "a"))
        harness.append(log, make("operation:start", "b"), make("operation:complete", "b"), make("data:update", "a"))
        harness.append(log, make("operation:complete", "a"))
        make.advance(10)
        harness.append(log, make("operation:start", "b"))  # the next attempt, which is not finished
        harness.maintain(log, make.advance(880))
        assert _offsets(harness.snapshot(log)) == [1, 2, 3, 5, 6, 7, 8]
        harness.maintain(log, make.advance(20))
        assert _offsets(harness.snapshot(log)) == [6, 8]

    def test_silent_keys_leave_the_snapshot_but_not_the_history(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(newest_age_s=1_000.0)), EventFactory()
        harness.append(log, make("data:update", "silent"), make("data:update", "busy"))
        make.advance(500)
        harness.append(log, make("data:processed", "busy"))
        harness.maintain(log, make.advance(501))
        # `busy` has a new event: all its events stay, including the older one.
        assert _offsets(harness.snapshot(log)) == [2, 3]
        assert _offsets(harness.history(log)) == [1, 2, 3]

    def test_too_many_keys_of_a_type_evict_and_count_the_oldest(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(newest_per_type=100)), EventFactory()
        for number in range(130):
            harness.append(log, make("data:update", f"key-{number}"))
        harness.append(log, make("data:processed", "key-0"))
        evicted = log.statistics().newest_evicted
        assert evicted >= 30
        assert len(log.newest) == log.statistics().newest == 131 - evicted <= 101
        assert _offsets(harness.snapshot(log)) == list(range(evicted + 1, 132))

    def test_events_outside_snapshot_and_range_are_deleted(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(events=1, newest_per_type=5)), EventFactory()
        harness.append(log, *(make("data:update", f"key-{number}") for number in range(5)))
        harness.maintain(log, make.now_ns)
        assert len(harness.history(log)) == 5
        harness.append(log, *(make("data:update", f"key-{number}") for number in range(5, 20)))
        harness.maintain(log, make.now_ns)
        snapshot = harness.snapshot(log)
        assert len(snapshot) == 5
        assert harness.history(log) == snapshot
        assert log.trimmed(0, DATA) == 15

    def test_retention_works_in_small_steps(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(events=1)), EventFactory()
        for _ in range(6):
            harness.append(log, *(make("data:update", "a") for _ in range(1_000)))
        assert log.maintain(make.now_ns) is True
        assert len(harness.history(log)) > 4_000, "one step trims a few hundred events"
        harness.maintain(log, make.now_ns)
        assert len(harness.history(log)) == 1

    def test_offsets_continue_in_an_emptied_log(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(age_s=10.0, newest_age_s=10.0, superseded_age_s=1.0)), EventFactory()
        harness.append(log, make("data:update", "a"), make("operation:progress", "op"), make("data:update", "b"))
        harness.maintain(log, make.advance(60))
        assert harness.history(log) == []
        assert log.trimmed(0, ALL) == 3
        assert harness.append(log, make("data:update", "a")) == 4

    def test_snapshot_pages_skip_events_trimmed_between_them(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention(events=1, newest_age_s=10.0)), EventFactory()
        harness.append(log, *(make("data:update", f"key-{number}") for number in range(10)))
        query = Query(after=0, until=10, paths=ALL, newest_only=True, limit=3)
        assert _offsets(list(harness.read(log, query).records)) == [1, 2, 3]
        harness.append(log, make("report:ready", "later"))
        harness.maintain(log, make.advance(60))
        assert harness.read_all(log, Query(after=3, until=10, paths=ALL, newest_only=True, limit=3)) == []
