"""Tests of `Log.record`: what hubs record is received in the order of the log, and decides who holds an operation."""

from collections.abc import Sequence

from msgspec import structs

from tidings.log.base import EventToAppend, Log, ReceivedControl, Retention
from tidings.log.journal.controls import (
    CancelAnswered,
    CancelRequested,
    HeldClaim,
    HubControl,
    ProducerAttached,
    ProducerDetached,
    ProducerSeen,
)
from tidings.log.producers import MAX_PRODUCERS
from tidings.testing.log_conformance.harness import EventFactory, LogHarness
from tidings.testing.log_conformance.judging import show


def attached(producer_id: str, connection: int, *claims: HeldClaim, takes_over: bool = True) -> ProducerAttached:
    """Return the control of a producer that attaches."""
    return ProducerAttached(producer_id, connection, 30.0, list(claims), takes_over)


def _by(producer_id: str, event: EventToAppend) -> EventToAppend:
    return structs.replace(event, producer_id=producer_id, lease_s=30.0)


def _record(harness: LogHarness, log: Log, *controls: HubControl) -> None:
    for control in controls:
        log.record(control)
    harness.settle()


def _verdicts(received: Sequence[ReceivedControl]) -> list[tuple[str, int | None, str]]:
    return [(each.operation_id, each.attempt, each.verdict) for each in received[-1].verdicts]


class ControlTests:
    """Tests of controls for any adapter."""

    def test_controls_are_received_once_and_in_order_among_the_events(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        order: list[object] = []
        log.follow(lambda records: order.extend(record.offset for record in records), order.append)
        requested = CancelRequested("op", 1, "push", 5, "because", None)
        answered = CancelAnswered("op", "push", "stopping", None)
        harness.append(log, make("operation:start", "op"), make("data:update"))
        _record(harness, log, attached("p", 1), requested)
        harness.append(log, make("data:update"))
        _record(harness, log, answered, ProducerDetached("p", 1))
        harness.append(log, make("data:update"))
        received = [each.control if isinstance(each, ReceivedControl) else each for each in order]
        assert received == [1, 2, attached("p", 1), requested, 3, answered, ProducerDetached("p", 1), 4]
        assert all(each.own for each in order if isinstance(each, ReceivedControl))
        assert [each.detached for each in order if isinstance(each, ReceivedControl)][-1] == ("p",)

    def test_caller_that_catches_up_is_called_once_with_all_events(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(log, make("data:update"))
        heads: list[int] = []
        log.catch_up(lambda: heads.append(log.head))
        harness.settle()
        assert heads == [1]
        log.stop_leading()
        harness.append(log, make("data:update"))
        assert (log.head, heads) == (2, [1])

    def test_granted_claim_makes_the_producer_the_holder(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        received: list[ReceivedControl] = []
        log.follow(lambda records: None, received.append)
        ended = [make(f"operation:{type}", "ended") for type in ("start", "complete")]
        harness.append(log, make("operation:start", "free"), _by("q", make("operation:start", "held")), *ended)
        names = ("free", "held", "ended", "new")
        _record(harness, log, attached("p", 1, *(HeldClaim(name, None, 7.0) for name in names)))
        expected = [("free", 1, "held"), ("held", 1, "lost"), ("ended", 1, "finished"), ("new", None, "held")]
        assert _verdicts(received) == expected
        life = log.operations.life("free")
        assert life is not None
        assert (life.producer_id, life.lease_s) == ("p", 7.0)
        outcomes = harness.outcomes(
            log, _by("q", make("operation:progress", "free")), _by("p", make("operation:progress", "free"))
        )
        assert show(outcomes) == ["operation_fenced", "5"]
        again = [HeldClaim("free", 2, 7.0), HeldClaim("ended", 2, 7.0), HeldClaim("free", 1, 9.0)]
        _record(harness, log, attached("p", 2, *again))
        assert _verdicts(received) == [("free", 1, "lost"), ("ended", 1, "held"), ("free", 1, "held")]

    def test_producer_is_attached_until_its_newest_connection_ends(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(log, _by("p", make("operation:start", "op")))
        _record(harness, log, attached("p", 1), attached("p", 2), ProducerDetached("p", 1))
        assert log.producers.is_attached("p")
        assert log.producers.attached_to(log.session) == [("p", 2)]
        _record(harness, log, attached("p", 3, takes_over=False), ProducerDetached("p", 3))
        assert log.producers.attached_to(log.session) == [("p", 2)]
        _record(harness, log, ProducerDetached("p", 2))
        assert not log.producers.is_attached("p")
        assert log.producers.find("p") is not None, "it holds an operation"
        _record(harness, log, attached("p", 4, takes_over=False))
        assert log.producers.is_attached("p")

    def test_end_for_an_absent_holder_is_fenced_once_it_is_back(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(log, *(_by("p", make("operation:start", f"op-{number}")) for number in range(3)))

        def end(number: int, sign: int) -> EventToAppend:
            failed = make("operation:failed", f"op-{number}")
            return structs.replace(failed, by_hub=True, running_attempt=1, holder_sign=sign)

        _record(harness, log, attached("p", 1), ProducerDetached("p", 1))
        before = log.producers.sign("p")
        assert show(harness.outcomes(log, end(0, before))) == ["4"]
        _record(harness, log, ProducerSeen("p", 30.0, 0.0))
        assert show(harness.outcomes(log, end(1, before), end(1, log.producers.sign("p")))) == ["operation_fenced", "5"]
        before = log.producers.sign("p")
        _record(harness, log, attached("p", 2))
        assert show(harness.outcomes(log, end(2, before))) == ["operation_fenced"]

    def test_producers_that_hold_nothing_are_bounded_in_number(self, harness: LogHarness) -> None:
        log, make = harness.open(Retention()), EventFactory()
        harness.append(log, _by("worker", make("operation:start", "op")))
        _record(harness, log, ProducerSeen("worker", 5.0, 0.0), attached("connected", 1))
        seen = [ProducerSeen(f"p-{number}", 5.0, 0.0) for number in range(MAX_PRODUCERS + 50)]
        for first in range(0, len(seen), 1_000):  # a shared log may leave out signs of life beyond some thousands
            _record(harness, log, *seen[first : first + 1_000])
        known = dict(log.producers)
        assert len(known) == MAX_PRODUCERS
        assert {"worker", "connected", f"p-{MAX_PRODUCERS + 49}"} <= known.keys()
        assert "p-0" not in known
