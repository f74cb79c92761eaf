"""Tests of the guarantees of appending: order, atomicity and delivery."""

from collections.abc import Sequence

from tidings.exceptions import LogError
from tidings.log.base import Outcome, PublishResult, Record, Retention
from tidings.protocol.positions import Position
from tidings.testing.log_conformance.harness import EventFactory, LogHarness


class AppendTests:
    """Tests of `append`, `follow`, `position` and `resolve`."""

    def test_empty_log_has_no_events_and_head_zero(self, harness: LogHarness) -> None:
        log = harness.open(Retention())
        assert log.head == 0
        assert log.failed is None
        assert len(log.newest) == 0
        assert harness.history(log) == []
        assert log.statistics().head == 0
        assert log.statistics().epoch == log.epoch

    def test_batch_gets_consecutive_offsets_in_its_order(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        first = [make("data:update", "a"), make("operation:progress", "op"), make("data:update", "a")]
        second = [make("report:ready"), make("system:status", "hub")]
        assert harness.append(log, *first) == 1
        assert harness.append(log, *second) == 4
        assert log.head == 5
        assert harness.history(log) == [
            Record(offset, entry.event, entry.received_ns) for offset, entry in enumerate([*first, *second], 1)
        ]

    def test_every_field_of_an_event_is_read_back_unchanged(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        entries = [
            make("data:update", "köy/ключ*", data='{"schlüssel":"ж\\u0000"}'.encode(), trace_id="a b~"),
            make("data:update", None, data=b"null", event_id="0123456789abcdef", scope="subject"),
            make("operation:complete", "op", channel="global"),
            make("operation:progress", "other", data=b'{"n":' + b"1" * 60_000 + b"}"),
        ]
        harness.append(log, *entries)
        assert [record.event for record in harness.history(log)] == [entry.event for entry in entries]
        assert [record.received_ns for record in harness.history(log)] == [entry.received_ns for entry in entries]

    def test_empty_batch_completes_and_does_not_move_the_head(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        tail: list[Record] = []
        log.follow(tail.extend)
        harness.append(log, make("data:update"))
        harness.append(log)
        assert log.head == 1
        assert harness.append(log, make("data:update")) == 2
        assert [record.offset for record in tail] == [1, 2]

    def test_batch_is_stored_before_done_and_done_precedes_the_tail(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        calls: list[object] = []

        def tail(records: Sequence[Record]) -> None:
            calls.append(("tail", [record.offset for record in records]))

        def done(result: Sequence[Outcome] | LogError) -> None:
            newest = log.newest.offset("data", "data:update", "a")
            calls.append(("done", _offsets(result), log.head, newest))

        log.follow(tail)
        for _ in range(2):
            log.append([make("data:update", "a"), make("data:update", "a")], done)
            harness.settle()
        assert calls == [
            ("done", [1, 2], 2, 2),
            ("tail", [1, 2]),
            ("done", [3, 4], 4, 4),
            ("tail", [3, 4]),
        ]

    def test_next_batch_may_be_appended_from_within_done(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        offsets: list[int] = []
        tail: list[Record] = []
        log.follow(tail.extend)

        def done(result: Sequence[Outcome] | LogError) -> None:
            offsets.extend(_offsets(result))
            if len(offsets) < 10:
                log.append([make("data:update"), make("data:update")], done)

        log.append([make("data:update"), make("data:update")], done)
        harness.settle()
        assert offsets == list(range(1, 11))
        assert sorted(record.offset for record in tail) == list(range(1, 11))
        assert [record.offset for record in harness.history(log)] == list(range(1, 11))

    def test_tail_brings_the_same_events_as_reading(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        tail: list[Record] = []
        log.follow(tail.extend)
        for size in (1, 7, 100):
            harness.append(log, *(make("data:update", str(number % 3)) for number in range(size)))
        assert tail == harness.history(log)

    def test_position_resolves_to_its_offset(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(log, *(make("data:update") for _ in range(3)))
        assert [log.resolve(log.position(offset)) for offset in range(4)] == [0, 1, 2, 3]
        assert len({log.position(offset) for offset in range(4)}) == 4
        assert log.position(3).epoch == log.epoch
        assert log.resolve(Position(log.epoch, 99)) == 99  # beyond the head: the caller waits for the tail
        assert log.resolve(Position("another", 1)) is None


def _offsets(result: Sequence[Outcome] | LogError) -> list[int]:
    assert not isinstance(result, LogError), result
    return [outcome.offset for outcome in result if isinstance(outcome, PublishResult)]
