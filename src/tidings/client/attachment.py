"""How a producer attaches at the start of each connection: its id, its lease and the operations that it claims.

See docs/protocol/operations.md, "Leases".
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from tidings.exceptions import TidingsError
from tidings.protocol.messages import Attach, Attached, CancelAnswer, CancelPush, Claim

MAX_CLAIMS = 1_000
"""Claims in one `producer:attach`, as the protocol limits them; a producer with more sends several."""


class Holder(Protocol):
    """A holder of operations over a connection. Its methods are called in the connection's loop and must not block."""

    @property
    def producer_id(self) -> str:
        """Name of the producer for the hub; only one connection at a time has it."""

    @property
    def lease_s(self) -> float | None:
        """Seconds that its operations outlive its connection; None means the hub's default."""

    def claims(self) -> Sequence[Claim]:
        """Return the operations held now; called at the start of each connection."""

    def new_claims(self) -> Sequence[Claim]:
        """Return the operations held since the last call or connection; they are claimed before the next events."""

    def attached(self, attached: Attached) -> None:
        """Handle the hub's verdicts. Nothing is published on this connection before this returns."""

    def attach_refused(self, error: TidingsError) -> None:
        """Note that the hub refuses to attach it: operations started on this connection have no holder."""

    def cancel(self, push: CancelPush) -> CancelAnswer | None:
        """Answer a cancel request for one of its operations; None sends no answer, because its end is on its way."""


class Attachment:
    """The attach commands of one producer, on one connection after the other; a state machine without I/O.

    Args:
        producer_id: See `Holder.producer_id`.
        lease_s: See `Holder.lease_s`.
        claims: See `Holder.claims`.
    """

    def __init__(self, producer_id: str, lease_s: float | None, claims: Callable[[], Sequence[Claim]]) -> None:
        self._producer_id = producer_id
        self._lease_s = lease_s
        self._claims = claims
        self._count = 0
        self._unanswered: dict[str, None] = {}
        self._refused = False

    def begin(self) -> Sequence[tuple[str, Attach]]:
        """Return the commands, with their ids, that open a new connection: at least one."""
        self._unanswered.clear()
        self._refused = False
        return list(self._commands(self._claims()))

    def claim(self, claims: Sequence[Claim]) -> Sequence[tuple[str, Attach]]:
        """Return the commands that claim more on the same connection; none if the hub has refused the first."""
        return [] if self._refused or not claims else list(self._commands(claims))

    def settle(self, id: str, *, refused: bool) -> bool:
        """Note the answer to command `id`; return False if it is not one of these commands."""
        if id not in self._unanswered:
            return False
        del self._unanswered[id]
        self._refused |= refused
        return True

    @property
    def oldest(self) -> str:
        """The id of the oldest command without an answer; "" if there is none."""
        return next(iter(self._unanswered), "")

    @property
    def complete(self) -> bool:
        """Whether every command has its answer."""
        return not self._unanswered

    def _commands(self, claims: Sequence[Claim]) -> Iterator[tuple[str, Attach]]:
        for start in range(0, max(1, len(claims)), MAX_CLAIMS):
            self._count += 1
            id = f"attach-{self._count}"
            self._unanswered[id] = None
            chunk = list(claims[start : start + MAX_CLAIMS])
            yield id, Attach(producer_id=self._producer_id, operations=chunk, lease_s=self._lease_s)
