"""Contended operations: those that begin here while another producer still holds their lease.

That happens when a job is started again right after its process died: the hub gives the dead process its whole lease to
come back, and begins no other attempt before that is over.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from tidings.client.publish_queue import QueuedEvent, Rank
from tidings.exceptions import OperationExists, OperationFenced, OperationFinished
from tidings.protocol.message_types import MessageType

_MAX_HELD_BACK = 2_000
"""Events held back for one contended operation; beyond it, the oldest that is neither start nor end is dropped."""
_CONTENDED = frozenset({OperationExists.code, OperationFenced.code})


class _Queued(Struct, frozen=True):
    """The field of a start that is true if it begins nothing."""

    queued: bool = False


_decode = msgspec.json.Decoder(_Queued).decode


class _Contended:
    """One contended operation."""

    def __init__(self, start: QueuedEvent) -> None:
        self.start = start
        self.retrying = False
        """Whether the start is being sent again."""
        self.refusals = 0
        """How often the start was refused."""
        self.held_back: dict[int, QueuedEvent] = {}

    def add(self, entry: QueuedEvent) -> None:
        """Hold back one more event, in place of those that it supersedes or leaves no room for."""
        if entry.slot is not None:
            for number in [number for number, other in self.held_back.items() if other.slot == entry.slot]:
                del self.held_back[number]
        elif len(self.held_back) >= _MAX_HELD_BACK:
            oldest = next((n for n, other in self.held_back.items() if other.rank is not Rank.LIFECYCLE), None)
            self.held_back.pop(oldest or 0, None)
        self.held_back[entry.number] = entry


class ContendedOperations:
    """Operations whose start was refused because another producer holds the lease, with their later events.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._contended: dict[str, _Contended] = {}

    def __len__(self) -> int:
        return sum((not one.retrying) + len(one.held_back) for one in self._contended.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._contended)

    def add_refused(self, entry: QueuedEvent, refusal: str) -> int:
        """Keep an event that the hub has refused with code `refusal`.

        Returns:
            How often its operation's start was refused; 0 if the event is not kept because the refusal is final.
        """
        key = operation_of(entry)
        if key is None:
            return 0
        one = self._contended.get(key)
        # The other producer's attempt may end between the refusal of the start and that of an event sent behind it.
        behind = one is not None and entry.number > one.start.number
        if refusal not in _CONTENDED and not (behind and refusal == OperationFinished.code):
            return 0
        if one is None:
            if refusal != OperationExists.code or not _begins(entry):
                return 0
            one = self._contended[key] = _Contended(entry)
        if entry.number == one.start.number:
            one.retrying = False
            one.refusals += 1
        else:
            one.add(entry)
        return one.refusals

    def hold_back(self, entry: QueuedEvent) -> bool:
        """Keep an event that is to be sent, if it must wait for its operation's start; return whether it must."""
        key = operation_of(entry) if self._contended else None
        one = None if key is None else self._contended.get(key)
        if one is None or entry.number <= one.start.number:
            return False
        one.add(entry)
        return True

    def settle(self, entry: QueuedEvent) -> list[QueuedEvent]:
        """Return the events held back for a start that now has its final answer."""
        one = self._contended.get(entry.key or "")
        if one is None or entry.number != one.start.number:
            return []
        del self._contended[entry.key or ""]
        return list(one.held_back.values())

    def retry(self) -> list[QueuedEvent]:
        """Return the starts to send again."""
        resting = [one for one in self._contended.values() if not one.retrying]
        for one in resting:
            one.retrying = True
        return [one.start for one in resting]


def operation_of(entry: QueuedEvent) -> str | None:
    """Return the id of the operation that an event belongs to; None for other events."""
    return entry.key if entry.draft.type.startswith("operation:") else None


def _begins(entry: QueuedEvent) -> bool:
    return entry.draft.type == MessageType.OPERATION_START and not _decode(entry.draft.data).queued
