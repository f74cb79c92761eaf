"""The operations that a producer is at: what it claims on each connection, and whom to ask about them."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from tidings.client.drafts import Draft, make_unstamped
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import CancelAnswer, CancelPush, Claim, Verdict
from tidings.protocol.payloads import OperationStartData

OnCancel = Callable[[CancelPush], CancelAnswer]
"""Answers a wish to cancel; called on the outbox's own thread, and must not block."""
OnLost = Callable[[Verdict], OperationStartData | None]
"""Says how an operation goes on that the hub has given up: with the start of its next attempt, or not at all. Called on
the outbox's own thread, and must not block."""


@dataclass(slots=True)
class ClaimedOperation:
    """One operation that a producer is at."""

    operation_id: str
    lease_s: float | None = None
    trace_id: str | None = None
    on_cancel: OnCancel | None = None
    on_lost: OnLost | None = None
    attempt: int | None = None
    """The one the hub has named; None before that."""
    start: OperationStartData | None = None
    """How it began, as far as it began here."""
    begun: bool = False
    """Whether the hub knows that we are at it: before that, what it says of the operation is about somebody else."""
    starts: int = 0
    """Starts that the hub has not answered."""
    ends: int = 0
    """Ends that it has not answered."""
    released: bool = False
    """Whether it is over here: what is left is to hear from the hub that it has the end."""

    @property
    def claimed(self) -> bool:
        """Whether it is named to the hub. What begins here is held without that; but a start names no lease."""
        return self.begun or not self.starts or self.lease_s is not None

    def claim(self) -> Claim:
        """Return it as `producer:attach` names it."""
        return Claim(operation_id=self.operation_id, attempt=self.attempt, lease_s=self.lease_s)

    def restart(self, verdict: Verdict) -> OperationStartData | None:
        """Return how it goes on after the hub has given it up; as it began, where nobody says otherwise."""
        if self.on_lost is not None:
            return self.on_lost(verdict)
        return self.again()

    def again(self) -> OperationStartData | None:
        """Return the start of the next attempt, as it began; None where it did not begin here."""
        if self.start is None:
            return None
        return msgspec.structs.replace(self.start, attempt=None, queued=False, resumes=self.operation_id)


class Claims:
    """The operations of one producer; not thread-safe, its owner serialises calls."""

    def __init__(self) -> None:
        self._held: dict[str, ClaimedOperation] = {}
        self._unclaimed: dict[str, ClaimedOperation] = {}
        self.on_unclaimed_cancel: OnCancel | None = None
        """Answers a wish to cancel what was started here and is held no longer."""

    def __len__(self) -> int:
        return len(self._held)

    def get(self, operation_id: str) -> ClaimedOperation | None:
        """Return an operation that is held."""
        return self._held.get(operation_id)

    def hold(
        self,
        operation_id: str,
        *,
        lease_s: float | None,
        trace_id: str | None,
        on_cancel: OnCancel | None,
        on_lost: OnLost | None,
    ) -> None:
        """Claim an operation from now on; one that is held already is asked about in the new way."""
        held = self._held.setdefault(operation_id, ClaimedOperation(operation_id))
        held.lease_s, held.trace_id = lease_s, trace_id
        held.on_cancel, held.on_lost = on_cancel, on_lost
        held.released = False
        if held.claimed:
            self._unclaimed[operation_id] = held

    def release(self, operation_id: str) -> None:
        """Claim an operation no longer than until the hub has its end."""
        held = self._held.get(operation_id)
        if held is not None:
            held.released = True
            self._forget_settled(held)

    def noted(self, operation_id: str, draft: Draft, start: OperationStartData | None) -> ClaimedOperation | None:
        """Note that a start, whose payload is `start`, or an end is put; return the operation where it is held.

        What begins is held, without being asked for: the hub takes it for the connection's own.
        """
        held = self._held.get(operation_id)
        if start is not None:
            if held is None:
                held = self._held[operation_id] = ClaimedOperation(operation_id, trace_id=draft.trace_id)
            held.start, held.attempt, held.released = start, None, False
            held.starts += 1
            if not held.claimed:
                self._unclaimed.pop(operation_id, None)
        elif held is not None:
            held.ends += 1
            held.released |= held.on_cancel is None and held.on_lost is None
        return held

    def restarted(self, operation_id: str) -> None:
        """Note that the next attempt's start is on its way."""
        held = self._held.get(operation_id)
        if held is not None:
            held.attempt = None
            held.starts += 1

    def settled(self, operation_id: str, *, ended: bool, attempt: int | None) -> None:
        """Note that a start or an end has its answer, or that it is not sent.

        Args:
            operation_id: Of which operation.
            ended: Whether it was an end.
            attempt: The attempt that the hub named, of a start that it took; else None.
        """
        held = self._held.get(operation_id)
        if held is None:
            return
        if ended:
            held.ends = max(0, held.ends - 1)
        else:
            held.starts = max(0, held.starts - 1)
        if attempt is not None and not ended:
            held.attempt, held.begun = attempt, True
            if held.lease_s is not None:
                # The claim before its start is void where the hub knew it as somebody's, or as ended.
                self._unclaimed[operation_id] = held
        self._forget_settled(held)

    def confirmed(self, operation_id: str, attempt: int | None) -> None:
        """Note that the hub holds an operation to be this producer's."""
        held = self._held.get(operation_id)
        if held is not None and attempt is not None:
            held.begun = True
            held.attempt = held.attempt or attempt

    def forget(self, operation_id: str) -> None:
        """Claim an operation no longer."""
        self._held.pop(operation_id, None)
        self._unclaimed.pop(operation_id, None)

    def claims(self) -> list[Claim]:
        """Return everything that is held, for a new connection."""
        self._unclaimed.clear()
        return [held.claim() for held in self._held.values() if held.claimed]

    def take_unclaimed(self) -> list[Claim]:
        """Return what came to be held since, and was not named to the hub."""
        if not self._unclaimed:
            return []
        claims = [held.claim() for held in self._unclaimed.values()]
        self._unclaimed.clear()
        return claims

    def _forget_settled(self, held: ClaimedOperation) -> None:
        if held.released and not (held.starts or held.ends):
            self.forget(held.operation_id)


def restart_draft(held: ClaimedOperation, start: OperationStartData) -> Draft:
    """Return the event that begins the next attempt of an operation, without time and id."""
    return make_unstamped(MessageType.OPERATION_START, start, trace_id=held.trace_id)
