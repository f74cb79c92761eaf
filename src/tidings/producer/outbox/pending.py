"""What a job has said and the hub has not answered: shared by the job's threads and the outbox's own.

Operations that begin here while another producer still has them, and what waits for their turn.

As when a job is started again at once after its process died: the hub gives that its whole lease to come back, and
begins no other attempt before it is over.
"""

import threading
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from tidings.client.pending import Draft
from tidings.exceptions import OperationExists, OperationFenced
from tidings.producer.outbox.claims import Claims
from tidings.producer.outbox.queue import OutboxLimits, OutboxQueue, QueuedEvent, Rank
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

    def __init__(self, start: QueuedEvent) -> None:
        self.start = start
        self.asking = False
        """Whether the start is on its way again."""
        self.times = 0
        """How often the start was refused."""
        self.behind: dict[int, QueuedEvent] = {}

    def add(self, entry: QueuedEvent) -> None:
        """Keep one more event, instead of those that it supersedes or leaves no room for."""
        if entry.slot is not None:
            for number in [number for number, other in self.behind.items() if other.slot == entry.slot]:
                del self.behind[number]
        elif len(self.behind) >= _MOST:
            oldest = next((n for n, other in self.behind.items() if other.rank is not Rank.LIFECYCLE), None)
            self.behind.pop(oldest or 0, None)
        self.behind[entry.number] = entry


class ContendedOperations:
    """The operations that wait; not thread-safe, its owner serialises calls."""

    def __init__(self) -> None:
        self._turns: dict[str, _Turn] = {}

    def __len__(self) -> int:
        return sum((not turn.asking) + len(turn.behind) for turn in self._turns.values())

    def __iter__(self) -> Iterator[str]:
        return iter(self._turns)

    def refused(self, entry: QueuedEvent, refusal: str) -> int:
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

    def takes(self, entry: QueuedEvent) -> bool:
        """Keep an event that is to be sent, where it must wait; return whether it must."""
        key = _operation(entry) if self._turns else None
        turn = None if key is None else self._turns.get(key)
        if turn is None or entry.number <= turn.start.number:
            return False
        turn.add(entry)
        return True

    def settled(self, entry: QueuedEvent) -> list[QueuedEvent]:
        """Return what waited for a start that now has the hub's last word."""
        turn = self._turns.get(entry.key or "")
        if turn is None or entry.number != turn.start.number:
            return []
        del self._turns[entry.key or ""]
        return list(turn.behind.values())

    def ask(self) -> list[QueuedEvent]:
        """Return the starts that are to be sent again."""
        resting = [turn for turn in self._turns.values() if not turn.asking]
        for turn in resting:
            turn.asking = True
        return [turn.start for turn in resting]


def _operation(entry: QueuedEvent) -> str | None:
    return entry.key if entry.draft.type.startswith("operation:") else None


def _begins(entry: QueuedEvent) -> bool:
    return entry.draft.type == MessageType.OPERATION_START and not _decode(entry.draft.data).queued


class OutboxStatistics(Struct, frozen=True, kw_only=True):
    """An outbox's figures."""

    waiting: int
    """Events not yet sent."""
    unacknowledged: int
    """Events sent, and not yet answered."""
    accepted: int
    """Events in the hub's log."""
    conflated: int
    """`latest` events that a newer one replaced before they were sent."""
    shed: int
    """Events dropped for want of room."""
    refused: int
    """Events that could not be published: not what the contract, or the operation's life, allows."""


class PendingEvents:
    """The queue, what is on its way, and the operations held, behind one lock.

    Methods take the lock themselves, but those of `holdings`, `queue` and `turns`, whose callers hold `lock`.

    Args:
        limits: How much may wait.
    """

    def __init__(self, limits: OutboxLimits) -> None:
        self.lock = threading.Lock()
        self._settled = threading.Condition(self.lock)
        self.queue = OutboxQueue(limits)
        self.holdings = Claims()
        self.in_flight: dict[int, QueuedEvent] = {}
        """Sent, and not answered."""
        self.returned: list[QueuedEvent] = []
        """Answered with "later"."""
        self.turns = ContendedOperations()
        """Refused for now: another producer still has the operation."""
        self.accepted = 0
        self.refused = 0
        self.adopting = False
        """Whether what dead producers left is being sent."""
        self.stopped = False
        """Whether nothing will be sent any more."""

    def statistics(self) -> OutboxStatistics:
        """Return the figures."""
        with self.lock:
            return OutboxStatistics(
                waiting=len(self.queue) + len(self.returned) + len(self.turns),
                unacknowledged=len(self.in_flight),
                accepted=self.accepted,
                conflated=self.queue.conflated,
                shed=self.queue.shed,
                refused=self.refused,
            )

    def left(self) -> int:
        """Return how many events are not in the hub's log; called with the lock held."""
        return len(self.queue) + len(self.returned) + len(self.turns) + len(self.in_flight)

    def wait_settled(self, timeout_s: float, *, adopted: bool) -> int:
        """Wait until everything is answered, or nothing will be; return how many events are not in the log.

        Args:
            timeout_s: How long to wait at most.
            adopted: Whether to wait for what dead producers left, too.
        """
        with self.lock:
            self._settled.wait_for(
                lambda: self.stopped or (self.left() == 0 and not (adopted and self.adopting)), timeout_s
            )
            return self.left()

    def sent(self, entry: QueuedEvent) -> None:
        """Note that the oldest event is on its way; called with the lock held."""
        self.queue.pop()
        self.in_flight[entry.number] = entry

    def settle(self, entry: QueuedEvent, *, accepted: bool, attempt: int | None = None) -> list[QueuedEvent]:
        """Note the hub's last word on an event; return what has become moot by it.

        Args:
            entry: The event.
            accepted: Whether it is in the log.
            attempt: The attempt that the hub named.
        """
        moot: list[QueuedEvent] = []
        with self.lock:
            self.in_flight.pop(entry.number, None)
            if accepted:
                self.accepted += 1
            else:
                self.refused += 1
            self._note_settled(entry, attempt)
            if behind := self.turns.settled(entry):
                self.queue.put_back(behind)
            if accepted and entry.ends and self.returned:
                # Its end has overtaken them: a start that came now would begin another attempt, without an end.
                moot = [other for other in self.returned if other.key == entry.key]
                for other in moot:
                    self.returned.remove(other)
                    self.refused += 1
                    self._note_settled(other, None)
            self._settled.notify_all()
        return moot

    def await_turn(self, entry: QueuedEvent, refusal: str) -> int:
        """Keep a refused event until another producer has let go of its operation.

        Returns:
            How often the operation's start was refused for that; 0 where the refusal has nothing to do with it.
        """
        with self.lock:
            times = self.turns.refused(entry, refusal)
            if times:
                self.in_flight.pop(entry.number, None)
            return times

    def ask_turns(self) -> None:
        """Put the starts that wait for their turn back to their places, to be sent again."""
        with self.lock:
            self.queue.put_back(self.turns.ask())

    def come_back(self, entry: QueuedEvent) -> None:
        """Note that an event is to be sent again."""
        with self.lock:
            if self.in_flight.pop(entry.number, None) is not None:
                self.returned.append(entry)
            self._settled.notify_all()

    def restore(self) -> bool:
        """Put what came back to its places, where nothing is on its way any more; return whether that was so."""
        with self.lock:
            if self.in_flight:
                return False
            self.queue.put_back(self.returned)
            self.returned.clear()
            return True

    def connection_lost(self) -> None:
        """Put everything that has no answer back to its places."""
        with self.lock:
            back = [*self.in_flight.values(), *self.returned]
            self.in_flight.clear()
            self.returned.clear()
            self.queue.put_back(back)

    def restart(self, draft: Draft, operation_id: str) -> None:
        """Put the start of the next attempt before everything that waits."""
        with self.lock:
            self.holdings.restarted(operation_id)
            self.queue.put_first(draft, Rank.LIFECYCLE, operation_id)

    def drop(self, operation_id: str) -> list[QueuedEvent]:
        """Drop everything of an operation that waits, and return it."""
        with self.lock:
            return self._drop(lambda entry: _is_of(entry, operation_id))

    def drop_finished(self, operation_id: str) -> list[QueuedEvent]:
        """Drop what waits of an attempt that is over, and return it.

        Its end stays: sent again, it is known by its event id, and if it is not, that is the hub's to say. What comes
        from the next start on is another attempt's.
        """
        with self.lock:
            starts = [entry.number for entry in self.queue if _is_of(entry, operation_id) and _is_start(entry)]
            first = min(starts, default=None)
            return self._drop(
                lambda entry: _is_of(entry, operation_id) and not entry.ends and (first is None or entry.number < first)
            )

    def _drop(self, goes: Callable[[QueuedEvent], bool]) -> list[QueuedEvent]:
        dropped = self.queue.drop(goes)
        for entry in dropped:
            self._note_settled(entry, None)
        self._settled.notify_all()
        return dropped

    def adoption(self, *, running: bool) -> None:
        """Note that what dead producers left begins to be sent, or no longer is."""
        with self.lock:
            self.adopting = running
            self._settled.notify_all()

    def stop(self) -> None:
        """Note that nothing will be sent any more."""
        with self.lock:
            self.stopped = True
            self._settled.notify_all()

    def _note_settled(self, entry: QueuedEvent, attempt: int | None) -> None:
        if entry.rank is Rank.LIFECYCLE and entry.key is not None:
            self.holdings.settled(entry.key, ended=entry.ends, attempt=attempt)


def _is_of(entry: QueuedEvent, operation_id: str) -> bool:
    return entry.key == operation_id and entry.draft.type.startswith("operation:")


def _is_start(entry: QueuedEvent) -> bool:
    return entry.rank is Rank.LIFECYCLE and not entry.ends
