from collections.abc import Sequence

from tidings.log.journal.controls import (
    CancelAnswered,
    CancelRequested,
    Control,
    HeldClaim,
    ProducerAttached,
    ProducerDetached,
    ProducerSeen,
)
from tidings.log.journal.entries import MAX_CONTROLS
from tidings.log.waiting_controls import MAX_WAITING_CONTROLS, WaitingControls

MAX_BYTES = 1 << 20


def attached(connection: int, producer_id: str = "p") -> ProducerAttached:
    return ProducerAttached(producer_id, connection, 30.0, [HeldClaim("op", None, 30.0)])


def requested(attempt: int, push_id: str, *, is_due: bool = True) -> CancelRequested:
    return CancelRequested("op", attempt, push_id, 0, None, None, "", is_due)


def take(*controls: Control, attached_to: Sequence[tuple[str, int]] = ()) -> list[Control]:
    """Return the controls that one entry has of those that were added."""
    waiting = WaitingControls(lambda producer_id, connection: (producer_id, connection) in attached_to)
    for control in controls:
        waiting.add(control)
    return waiting.take(MAX_BYTES)


def test_connection_that_was_lost_before_an_entry_leaves_nothing() -> None:
    assert take(attached(1), ProducerDetached("p", 1), attached(2)) == [attached(2)]


def test_connection_that_the_log_has_is_detached() -> None:
    assert take(ProducerDetached("p", 1), attached_to=[("p", 1)]) == [ProducerDetached("p", 1)]
    again = attached(1), ProducerDetached("p", 1)  # it attached twice
    assert take(*again, attached_to=[("p", 1)]) == [ProducerDetached("p", 1)]


def test_connection_whose_entry_is_under_way_is_detached() -> None:
    waiting = WaitingControls(lambda producer_id, connection: False)
    waiting.add(attached(1))
    assert waiting.take(MAX_BYTES) == [attached(1)]
    waiting.add(ProducerDetached("p", 1))
    assert waiting.take(MAX_BYTES) == [ProducerDetached("p", 1)]


def test_controls_of_many_connections_stay_few_and_in_order() -> None:
    waiting = WaitingControls(lambda producer_id, connection: False)
    for number in range(1_000):
        waiting.add(attached(number, "gone"))
        waiting.add(ProducerDetached("gone", number))
        waiting.add(ProducerSeen("poster", 30.0, float(number)))
        waiting.add(requested(1, f"push-{number}", is_due=False))
        waiting.add(requested(1, f"push-{number}"))
    waiting.add(CancelAnswered("op", "push-0", "stopping", None))
    assert waiting.take(MAX_BYTES) == [
        requested(1, "push-0", is_due=False),
        requested(1, "push-0"),
        ProducerSeen("poster", 30.0, 999.0),
        CancelAnswered("op", "push-0", "stopping", None),
    ]
    assert len(waiting) == 0


def test_request_for_another_attempt_stays() -> None:
    both = [requested(1, "a"), requested(2, "b")]
    assert take(*both) == both


def test_signs_of_life_beyond_the_limit_are_left_out_and_entries_have_their_limit() -> None:
    waiting = WaitingControls(lambda producer_id, connection: False)
    for number in range(MAX_WAITING_CONTROLS + 10):
        waiting.add(ProducerSeen(f"p-{number}", 30.0, 0.0))
    assert len(waiting) == MAX_WAITING_CONTROLS
    waiting.add(attached(1))
    taken: list[Control] = []
    while len(waiting):
        part = waiting.take(MAX_BYTES)
        assert 1 <= len(part) <= MAX_CONTROLS
        taken += part
    assert len(taken) == MAX_WAITING_CONTROLS + 1
    assert taken[-1] == attached(1)
