"""Operations that begin here while another producer still has them, and what waits for their turn.

As when a job is started again at once after its process died: the hub gives that its whole lease to come back, and
begins no other attempt before it is over.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from tidings.exceptions import OperationExists, OperationFenced
from tidings.producer.sending.queue import Entry, Rank
from tidings.protocol.message_types import MessageType

_MOST = 2_000
"""Events of one operation that wait; of more, the oldest that are neither start nor end are dropped."""
_HELD = frozenset({OperationExists.code, OperationFenced.code})


class _Queued(Struct, frozen=True):
    """What of a start says that it begins nothing."""

    queued: bool = False


_decode = msgspec.json.Decoder(_Queued).decode


class _Turn:
    """One operation that waits."""

    def __init__(self, start: Entry) -> None:
        self.start = start
        self.asking = False
        """Whether the start is on its way again."""
        self.times = 0
        """How often the start was refused."""
        self.behind: dict[int, Entry] = {}

    def add(self, entry: Entry) -> None:
        """Keep one more event, instead of those that it supersedes or leaves no room for."""
        if entry.slot is not None:
            for number in [number for number, other in self.behind.items() if other.slot == entry.slot]:
                del self.behind[number]
        elif len(self.behind) >= _MOST:
            oldest = next((n for n, other in self.behind.items() if other.rank is not Rank.LIFECYCLE), None)
            self.behind.pop(oldest or 0, None)
        self.behind[entry.number] = entry


class Turns:
    """The operations that wait; not thread-safe, its owner serialises calls."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    def __len__(self) -> int:
        return sum((not turn.asking) + len(turn.behind) for turn in self._turns.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._turns)

    def refused(self, entry: Entry, refusal: str) -> int:
        """Keep an event that the hub has refused with code `refusal`.

        Returns:
            How often its operation's start was refused; 0 where the event is not kept: that is the hub's last word.
        """
        key = _operation(entry)
        if refusal not in _HELD or key is None:
            return 0
        turn = self._turns.get(key)
        if turn is None:
            if refusal != OperationExists.code or not _begins(entry):
                return 0
            turn = self._turns[key] = _Turn(entry)
        if entry.number == turn.start.number:
            turn.asking = False
            turn.times += 1
        else:
            turn.add(entry)
        return turn.times

    def takes(self, entry: Entry) -> bool:
        """Keep an event that is to be sent, where it must wait; return whether it must."""
        key = _operation(entry) if self._turns else None
        turn = None if key is None else self._turns.get(key)
        if turn is None or entry.number <= turn.start.number:
            return False
        turn.add(entry)
        return True

    def settled(self, entry: Entry) -> list[Entry]:
        """Return what waited for a start that now has the hub's last word."""
        turn = self._turns.get(entry.key or "")
        if turn is None or entry.number != turn.start.number:
            return []
        del self._turns[entry.key or ""]
        return list(turn.behind.values())

    def ask(self) -> list[Entry]:
        """Return the starts that are to be sent again."""
        resting = [turn for turn in self._turns.values() if not turn.asking]
        for turn in resting:
            turn.asking = True
        return [turn.start for turn in resting]


def _operation(entry: Entry) -> str | None:
    return entry.key if entry.draft.type.startswith("operation:") else None


def _begins(entry: Entry) -> bool:
    return entry.draft.type == MessageType.OPERATION_START and not _decode(entry.draft.data).queued
