"""The controls that a node of a shared log did not propose yet. They stay few, also while the journal is away."""

from collections.abc import Callable, Hashable
from itertools import count, islice

from tidings.log.journal.controls import (
    CancelRequested,
    Control,
    HubNote,
    KeyRemoved,
    KeyShared,
    NewEpoch,
    ProducerAttached,
    ProducerDetached,
    ProducerSeen,
)
from tidings.log.journal.entries import MAX_CONTROLS, count_fitting_controls

MAX_WAITING_CONTROLS = 10_000
"""Controls that wait for an entry, beyond which signs of life and notes are left out: the journal brings nothing."""


class WaitingControls:
    """Controls in the order in which they were recorded, without those that a later one makes needless.

    A connection that attached a producer and was lost leaves nothing, a producer has one sign of life, and an attempt
    one request to cancel, a key one line: so there are at most as many as connections, producers, live operations and
    keys.

    Args:
        is_attached: Returns whether the log has a connection of this hub as that of a producer.
    """

    def __init__(self, is_attached: Callable[[str, int], bool]) -> None:
        self._is_attached = is_attached
        self._controls: dict[Hashable, Control] = {}
        self._numbers = count()
        self._under_way: set[int] = set()
        """The connections that the controls in the last entry attach."""

    def __len__(self) -> int:
        return len(self._controls)

    def add(self, control: Control) -> None:
        """Add a control after all others."""
        key: Hashable = next(self._numbers)
        match control:
            case ProducerAttached(_, connection):
                key = ProducerAttached, connection
                self._controls.pop(key, None)
            case ProducerDetached(producer_id, connection):
                key = ProducerDetached, connection
                self._controls.pop((ProducerAttached, connection), None)
                if connection not in self._under_way and not self._is_attached(producer_id, connection):
                    return
            case ProducerSeen(producer_id):
                key = ProducerSeen, producer_id
                if self._controls.pop(key, None) is None and len(self._controls) >= MAX_WAITING_CONTROLS:
                    return
            case CancelRequested(operation_id, attempt):
                key = CancelRequested, operation_id, attempt, control.is_due, control.parent_id
                if key in self._controls:
                    return
            case HubNote():
                if len(self._controls) >= MAX_WAITING_CONTROLS:
                    return
            case KeyShared(id) | KeyRemoved(id):
                key = KeyShared, id
                self._controls.pop(key, None)
            case NewEpoch():
                key = NewEpoch
        self._controls[key] = control

    def take(self, max_bytes: int) -> list[Control]:
        """Return the first controls, as many as fit in an entry, and remove them; see `count_fitting_controls`."""
        first = list(islice(self._controls.items(), MAX_CONTROLS))
        fitting = count_fitting_controls([control for _, control in first], max_bytes)
        taken = [self._controls.pop(key) for key, _ in first[:fitting]]
        self._under_way = {each.connection for each in taken if isinstance(each, ProducerAttached)}
        return taken
