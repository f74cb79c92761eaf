"""Tests of judging: which events a log accepts, and what it fills in (`tidings.log.judge`)."""

from collections.abc import Iterable

from msgspec import structs

from tidings.exceptions import EventIDReused, Forbidden, LimitExceeded, TidingsError
from tidings.log.base import EventToAppend, OperationSearch, Outcome, PublishResult, Record, Retention
from tidings.operations.table import MAX_LIVE_OF_OWNER
from tidings.protocol.paths import Path, PathSet
from tidings.testing.log_conformance.harness import EventFactory, LogHarness

ID = "0123456789abcdef"
OTHER_ID = "0123456789abcdeg"


def show(outcomes: Iterable[Outcome]) -> list[str]:
    """Return each outcome as text: its offset, `=` before that of a duplicate, or its code."""
    return [
        outcome.code if isinstance(outcome, TidingsError) else f"{'=' if outcome.duplicate else ''}{outcome.offset}"
        for outcome in outcomes
    ]


def attempts(outcomes: Iterable[Outcome]) -> list[int | None]:
    """Return the attempt of each outcome; None without one."""
    return [outcome.attempt if isinstance(outcome, PublishResult) else None for outcome in outcomes]


class JudgeTests:
    """Tests of the outcomes of `append`."""

    def test_event_id_is_known_within_its_scope_only(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        mine, yours = (make("data:update", event_id=ID, scope=scope, data=b"{}") for scope in ("me", "you"))
        latest = make("operation:progress", "op", event_id=OTHER_ID, scope="me", data=b"{}")
        assert show(harness.outcomes(log, mine, make("data:update"), yours, latest)) == ["1", "2", "3", "4"]
        assert show(harness.outcomes(log, yours, latest, mine)) == ["=3", "=4", "=1"]
        assert log.head == 4

    def test_repeated_event_in_one_batch_is_stored_once(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        tail: list[Record] = []
        log.follow(tail.extend)
        event = make("data:update", event_id=ID)
        assert show(harness.outcomes(log, event, make("data:update"), event)) == ["1", "2", "=1"]
        assert [record.offset for record in tail] == [1, 2]
        assert len(harness.history(log)) == 2

    def test_event_id_of_another_event_is_rejected(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        first, other_data = (make("data:update", event_id=ID, data=data) for data in (b"[]", b"{}"))
        other_type = make("report:ready", event_id=ID, data=b"[]")
        outcomes = harness.outcomes(log, first, other_data, make("data:update"))
        assert show(outcomes) == ["1", "event_id_reused", "2"]
        for outcome in (outcomes[1], *harness.outcomes(log, other_data, other_type)):
            assert isinstance(outcome, EventIDReused)
            assert outcome.position == str(log.position(1))
        assert log.head == 2

    def test_operations_are_judged_after_the_events_of_the_batch(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        tail: list[Record] = []
        log.follow(tail.extend)
        start, end = make("operation:start", "op"), make("operation:complete", "op")
        queued = make("operation:start", "op", data=b'{"operation_id":"op","queued":true}')
        outcomes = harness.outcomes(log, start, queued, end, make("operation:failed", "op"))
        assert show(outcomes) == ["1", "operation_exists", "2", "operation_finished"]
        assert show(harness.outcomes(log, make("operation:progress", "op"))) == ["operation_finished"]
        assert [record.offset for record in tail] == [1, 2]

    def test_start_of_a_later_attempt_gets_its_number(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        again = make("operation:start", "op", data=b'{"operation_id":"op","name":"n"}', event_id=ID)
        outcomes = harness.outcomes(log, make("operation:start", "op"), make("operation:complete", "op"), again)
        assert attempts(outcomes) == [1, None, 2]
        assert harness.history(log)[-1].event.data == b'{"operation_id":"op","name":"n","attempt":2}'
        repeated = harness.outcomes(log, again)
        assert (show(repeated), attempts(repeated)) == (["=3"], [2])

    def test_event_without_a_trace_id_gets_that_of_its_operation(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        start = make("operation:start", "op", trace_id="of the operation")
        minted = structs.replace(make("operation:progress", "op", trace_id="minted"), has_own_trace=False)
        own = make("operation:progress", "op", trace_id="own")
        end = make("operation:complete", "op")
        late = structs.replace(make("operation:start", "op", trace_id="minted"), has_own_trace=False)
        outcomes = harness.outcomes(log, start, minted, own, end, late)
        assert [outcome.trace_id for outcome in outcomes if isinstance(outcome, PublishResult)] == [
            "of the operation",
            "of the operation",
            "own",
            end.event.trace_id,
            "minted",
        ]
        assert [record.event.trace_id for record in harness.history(log)][1:3] == ["of the operation", "own"]

    def test_failure_without_an_operation_finds_that_of_its_trace(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        failed = structs.replace(
            make("operation:failed", trace_id="t", data=b'{"code":"boom"}'), search=OperationSearch()
        )
        outcomes = harness.outcomes(log, make("operation:start", "op", trace_id="t"), failed, failed)
        found = [outcome.operation_id for outcome in outcomes if isinstance(outcome, PublishResult)]
        assert found == [None, "op", None]
        ended, unnamed = harness.history(log)[1:]
        assert (ended.event.key, ended.event.data) == ("op", b'{"operation_id":"op","code":"boom"}')
        assert (unnamed.event.key, unnamed.event.data) == (None, b'{"code":"boom"}')

    def test_failure_finds_no_operation_that_its_publisher_may_not_end(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()

        def failed(producer_id: str, *writable: Path, required: bool = False) -> EventToAppend:
            search = OperationSearch((("operations", PathSet.of(writable)),), required)
            return structs.replace(
                make("operation:failed", trace_id="t", data=b'{"code":"boom"}'), producer_id=producer_id, search=search
            )

        held = structs.replace(make("operation:start", "mine", trace_id="t"), producer_id="p")
        harness.append(log, held, make("operation:start", "yours", trace_id="t"))
        outcomes = harness.outcomes(
            log,
            failed("p", Path("operations")),  # both
            failed("", Path("operations", "mine"), required=True),  # another producer holds it
            failed("p", Path("operations", "my", prefix=False), required=True),
            failed("p", Path("operations", "mi", prefix=True), required=True),
        )
        assert [isinstance(outcome, Forbidden) for outcome in outcomes] == [False, True, True, False]
        found = [outcome.operation_id for outcome in outcomes if isinstance(outcome, PublishResult)]
        assert found == [None, "mine"]

    def test_event_that_needs_a_running_attempt_is_fenced_without_it(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        first, second = (
            structs.replace(make("operation:estimate", "op"), by_hub=True, running_attempt=attempt)
            for attempt in (1, 2)
        )
        start, end = make("operation:start", "op"), make("operation:complete", "op")
        outcomes = harness.outcomes(log, first, start, first, second, end, first)
        assert show(outcomes) == ["operation_fenced", "1", "2", "operation_fenced", "3", "operation_fenced"]

    def test_only_the_holder_writes_and_the_hub(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        held = structs.replace(make("operation:start", "op"), producer_id="p", lease_s=5.0)
        stranger = structs.replace(make("operation:complete", "op"), producer_id="q")
        outcomes = harness.outcomes(log, held, stranger, structs.replace(stranger, producer_id="", by_hub=True))
        assert show(outcomes) == ["1", "operation_fenced", "2"]

    def test_subject_with_too_many_operations_begins_no_other(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        scope = "alice\x1fproducer"
        for first in range(0, MAX_LIVE_OF_OWNER, 2_000):
            numbers = range(first, min(first + 2_000, MAX_LIVE_OF_OWNER))
            harness.append(log, *(make("operation:start", f"op-{number}", scope=scope) for number in numbers))
        more = make("operation:start", "more", scope=scope)
        outcomes = harness.outcomes(
            log,
            more,
            make("operation:progress", "op-1", scope=scope),
            structs.replace(more, scope="bob\x1fproducer"),
        )
        assert isinstance(outcomes[0], LimitExceeded)
        assert show(outcomes[1:]) == [f"{MAX_LIVE_OF_OWNER + 1}", f"{MAX_LIVE_OF_OWNER + 2}"]

    def test_rejected_batch_completes_and_brings_nothing(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(log, make("operation:complete", "op"))
        tail: list[Record] = []
        log.follow(tail.extend)
        rejected = [make("operation:failed", "op"), make("operation:progress", "op")]
        assert show(harness.outcomes(log, *rejected)) == ["operation_finished"] * 2
        assert (log.head, tail, len(harness.history(log))) == (1, [], 1)
