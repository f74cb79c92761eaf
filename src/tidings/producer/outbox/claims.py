"""The operations that a producer holds: what it claims on each connection, and their callbacks."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from tidings.client.drafts import Draft, make_unstamped
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import CancelAnswer, CancelPush, Claim, Verdict
from tidings.protocol.payloads import OperationStartData

OnCancel = Callable[[CancelPush], CancelAnswer]
"""Answers a cancel request; called on the outbox's own thread, and must not block."""
OnLost = Callable[[Verdict], OperationStartData | None]
"""Called when the hub has given an operation up; returns the start of its next attempt, or None to drop its events.
Called on the outbox's own thread, and must not block."""


@dataclass(slots=True)
class ClaimedOperation:
    """One operation that a producer holds."""

    operation_id: str
    lease_s: float | None = None
    trace_id: str | None = None
    on_cancel: OnCancel | None = None
    on_lost: OnLost | None = None
    attempt: int | None = None
    """The attempt that the hub has named; None before that."""
    start: OperationStartData | None = None
    """Payload of its start; None if it was not started here."""
    begun: bool = False
    """Whether the hub has confirmed this producer as the holder; until then its verdicts concern another producer."""
    noted: Draft | None = None
    """Latest start or end of the job: an interrupted report runs again, and must not count twice."""
    starts: int = 0
    """Number of starts without an answer."""
    ends: int = 0
    """Number of ends without an answer."""
    released: bool = False
    """Whether the job has released it: it is held only until the hub has its end."""

    @property
    def claimed(self) -> bool:
        """Whether it is sent in claims. Starting an operation is enough to hold it, but a start carries no lease."""
        return self.begun or not self.starts or self.lease_s is not None

    def claim(self) -> Claim:
        """Return it as an item of `producer:attach`."""
        return Claim(operation_id=self.operation_id, attempt=self.attempt, lease_s=self.lease_s)

    def restart(self, verdict: Verdict) -> OperationStartData | None:
        """Return the start of the next attempt of a lost operation: from `on_lost`, or a copy of its start."""
        if self.on_lost is not None:
            return self.on_lost(verdict)
        return self.copy_start()

    def copy_start(self) -> OperationStartData | None:
        """Return a start of the next attempt, copied from its start; None if it was not started here."""
        if self.start is None:
            return None
        return msgspec.structs.replace(self.start, attempt=None, queued=False, resumes=self.operation_id)


class Claims:
    """The operations that one producer holds. Not thread-safe."""

    def __init__(self) -> None:
        self._held: dict[str, ClaimedOperation] = {}
        self._new_claims: dict[str, ClaimedOperation] = {}
        self.on_unclaimed_cancel: OnCancel | None = None
        """Answers cancel requests for operations that were started here and are held no longer."""

    def __len__(self) -> int:
        return len(self._held)

    def get(self, operation_id: str) -> ClaimedOperation | None:
        """Return an operation that is held, or None."""
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
        """Hold an operation from now on; if it is held already, replace its lease and callbacks."""
        held = self._held.setdefault(operation_id, ClaimedOperation(operation_id))
        held.lease_s, held.trace_id = lease_s, trace_id
        held.on_cancel, held.on_lost = on_cancel, on_lost
        held.released = False
        if held.claimed:
            self._new_claims[operation_id] = held

    def release(self, operation_id: str) -> None:
        """Hold an operation only until the hub has its end."""
        held = self._held.get(operation_id)
        if held is not None:
            held.released = True
            self._forget_settled(held)

    def note_put(self, operation_id: str, draft: Draft, start: OperationStartData | None) -> ClaimedOperation | None:
        """Note that the job puts a start, with the payload `start`, or an end; return the operation if it is held.

        An operation that starts here is held even without `hold`: for the hub it belongs to the connection.
        """
        held = self._held.get(operation_id)
        if start is not None:
            if held is None:
                held = self._held[operation_id] = ClaimedOperation(operation_id, trace_id=draft.trace_id)
            held.start, held.attempt, held.released = start, None, False
            held.starts, held.noted = held.starts + (held.noted is not draft), draft
            if not held.claimed:
                self._new_claims.pop(operation_id, None)
        elif held is not None:
            held.ends, held.noted = held.ends + (held.noted is not draft), draft
            held.released |= held.on_cancel is None and held.on_lost is None
        return held

    def note_restart(self, operation_id: str) -> None:
        """Note that the start of the next attempt is on its way."""
        held = self._held.get(operation_id)
        if held is not None:
            held.attempt = None
            held.starts += 1

    def note_settled(self, operation_id: str, *, ended: bool, attempt: int | None) -> None:
        """Note that a start or an end has its final answer, or will not be sent.

        Args:
            operation_id: Id of the operation.
            ended: Whether it was an end.
            attempt: For an accepted start: the attempt that the hub named; else None.
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
                # The claim before its start is void if the operation had another holder, or had ended.
                self._new_claims[operation_id] = held
        self._forget_settled(held)

    def confirm(self, operation_id: str, attempt: int | None) -> None:
        """Note that the hub confirms this producer as the holder of an operation."""
        held = self._held.get(operation_id)
        if held is not None and attempt is not None:
            held.begun = True
            held.attempt = held.attempt or attempt

    def forget(self, operation_id: str) -> None:
        """Hold an operation no longer."""
        self._held.pop(operation_id, None)
        self._new_claims.pop(operation_id, None)

    def claims(self) -> list[Claim]:
        """Return the claims for a new connection: all operations held."""
        self._new_claims.clear()
        return [held.claim() for held in self._held.values() if held.claimed]

    def take_new_claims(self) -> list[Claim]:
        """Return the claims added since the last call or connection."""
        if not self._new_claims:
            return []
        claims = [held.claim() for held in self._new_claims.values()]
        self._new_claims.clear()
        return claims

    def _forget_settled(self, held: ClaimedOperation) -> None:
        if held.released and not (held.starts or held.ends):
            self.forget(held.operation_id)


def make_restart_draft(held: ClaimedOperation, start: OperationStartData) -> Draft:
    """Return the event that starts the next attempt of an operation, without timestamp and id."""
    return make_unstamped(MessageType.OPERATION_START, start, trace_id=held.trace_id)
