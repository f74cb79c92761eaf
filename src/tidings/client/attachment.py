"""What a producer says of itself at the beginning of each connection: who it is, and what it is at (CONTRACT §4)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from tidings.exceptions import TidingsError
from tidings.protocol.messages import Attach, Attached, CancelAnswer, CancelPush, Claim

MOST_CLAIMS = 1_000
"""Of one `producer:attach`, as the contract has it; who claims more attaches again."""


class Holder(Protocol):
    """Whoever holds operations over a connection. Everything is called in the connection's loop, and may not block."""

    @property
    def producer_id(self) -> str:
        """Names the producer to the hub: one connection at a time has it."""
        ...

    @property
    def lease_s(self) -> float | None:
        """How long its operations outlive its connection; None leaves that to the hub."""
        ...

    def claims(self) -> Sequence[Claim]:
        """Return what it is at now; asked at the beginning of each connection."""
        ...

    def new_claims(self) -> Sequence[Claim]:
        """Return the operations held since the last call or connection; they are claimed before the next events."""
        ...

    def attached(self, attached: Attached) -> None:
        """Take the hub's verdicts. Nothing is published on this connection before this returns."""
        ...

    def attach_refused(self, error: TidingsError) -> None:
        """Note that the hub does not attach it: what it publishes on this connection is held by nobody."""
        ...

    def cancel(self, push: CancelPush) -> CancelAnswer | None:
        """Answer a wish to cancel one of its operations; None says nothing, because its end is on its way already."""
        ...


class Attachment:
    """The state of one producer's attaching, on one connection after the other; pure.

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
        self._awaited: set[str] = set()
        self._refused = False

    def begin(self) -> Sequence[tuple[str, Attach]]:
        """Return the commands, with their ids, that a new connection opens with: one at least."""
        self._awaited.clear()
        self._refused = False
        return list(self._commands(self._claims()))

    def claim(self, claims: Sequence[Claim]) -> Sequence[tuple[str, Attach]]:
        """Return the commands that claim more on the same connection; none where the hub has refused the first."""
        return [] if self._refused or not claims else list(self._commands(claims))

    def settle(self, id: str, *, refused: bool) -> bool:
        """Note the answer to command `id`; return whether it is one of these."""
        if id not in self._awaited:
            return False
        self._awaited.remove(id)
        self._refused |= refused
        return True

    @property
    def complete(self) -> bool:
        """Whether every command was answered."""
        return not self._awaited

    def _commands(self, claims: Sequence[Claim]) -> Iterator[tuple[str, Attach]]:
        for start in range(0, max(1, len(claims)), MOST_CLAIMS):
            self._count += 1
            id = f"attach-{self._count}"
            self._awaited.add(id)
            some = list(claims[start : start + MOST_CLAIMS])
            yield id, Attach(producer_id=self._producer_id, operations=some, lease_s=self._lease_s)
