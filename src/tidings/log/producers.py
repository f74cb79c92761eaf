"""The producers of a log, and to which hub each is connected: a fold of the controls of all hubs.

Pure and deterministic: the same controls between the same events have the same result on every hub. It has no clock;
the end of a lease is determined by `tidings.hub.operations.leases`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec
from msgspec import Struct, structs

from tidings.log.journal.controls import HeldClaim, HubControl, ProducerAttached, ProducerDetached, ProducerSeen
from tidings.operations.lifecycle import OperationLife, OperationState
from tidings.operations.table import OperationTable
from tidings.protocol.messages import Verdict

PRODUCER_LOST = "producer_lost"
UNATTENDED = "unattended"
_HUB_CODES = (PRODUCER_LOST, UNATTENDED)
"""Error codes of operations that a hub itself failed."""
MAX_PRODUCERS = 10_000
"""Producers beyond which those that hold nothing and have no connection are forgotten, the least recent first: anyone
may post under any number of ids. Such a producer loses the length of its lease, which its next start may bring."""
EXAMINED_PER_PRODUCER = 2
"""Producers that are examined for that with each new one."""


_SIGNS = ""
"""Key of the row with the number of signs: no producer has this id."""


class KnownProducer(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """A producer."""

    sign: int
    """Number of its newest sign of life: signs of all producers are counted together, from 1."""
    lease_s: float
    """Default lease of its operations, in seconds."""
    session: str = ""
    """The session of the hub that it is connected to; see `Log.session`."""
    connection: int | None = None
    """Its connection to that hub; None while it has none."""


class FoldedControl(NamedTuple):
    """The result of a control."""

    verdicts: Sequence[Verdict] = ()
    """The verdicts on the claims of a producer."""
    detached: Sequence[str] = ()
    """The producers that have no connection from now on."""


class ProducerTable:
    """The producers of a log.

    Args:
        operations: The log's operations; a claim that is granted changes the holder of its operation.
    """

    def __init__(self, operations: OperationTable) -> None:
        self._operations = operations
        self._known: dict[str, KnownProducer] = {}
        """By producer id, in the order of their signs."""
        self._signs = 0
        self.changed: dict[str, None] = {}
        """Producers whose row differs from the stored one."""

    # Queries.

    def sign(self, producer_id: str) -> int:
        """Return the number of a producer's newest sign of life; 0 for a producer that is not known."""
        known = self._known.get(producer_id)
        return 0 if known is None else known.sign

    def is_attached(self, producer_id: str) -> bool:
        """Return whether a producer has a connection to a hub of the log."""
        known = self._known.get(producer_id)
        return known is not None and known.connection is not None

    def find(self, producer_id: str) -> KnownProducer | None:
        """Return a producer, or None."""
        return self._known.get(producer_id)

    def attached_to(self, session: str) -> list[tuple[str, int]]:
        """Return the producers that are connected to one hub, with their connections."""
        return [
            (producer_id, known.connection)
            for producer_id, known in self._known.items()
            if known.connection is not None and known.session == session
        ]

    def __iter__(self) -> Iterator[tuple[str, KnownProducer]]:
        return iter(self._known.items())

    # The fold.

    def fold(self, control: HubControl, session: str) -> FoldedControl:
        """Apply a control, in log order.

        Args:
            control: The control; those that are not about producers change nothing.
            session: The session of the hub that recorded it.
        """
        match control:
            case ProducerAttached():
                return FoldedControl(self._attach(control, session))
            case ProducerDetached(producer_id, connection):
                known = self._known.get(producer_id)
                if known is not None and (known.session, known.connection) == (session, connection):
                    self._detach(producer_id, known)
                    return FoldedControl(detached=(producer_id,))
            case ProducerSeen(producer_id, lease_s):
                known = self._known.get(producer_id)
                if known is None or known.connection is None:
                    self._sign(producer_id, KnownProducer(0, lease_s))
        return FoldedControl()

    def end_session(self, session: str) -> Sequence[str]:
        """End all connections to one hub; return their producers."""
        detached = [producer_id for producer_id, _ in self.attached_to(session)]
        for producer_id in detached:
            self._detach(producer_id, self._known[producer_id])
        return detached

    def _attach(self, control: ProducerAttached, session: str) -> Sequence[Verdict]:
        producer_id = control.producer_id
        if not control.takes_over and self.is_attached(producer_id):
            return ()
        self._sign(producer_id, KnownProducer(0, control.lease_s, session, control.connection))
        return [self._answer_claim(producer_id, claim) for claim in control.claims]

    def _detach(self, producer_id: str, known: KnownProducer) -> None:
        self.changed[producer_id] = None
        if self._operations.holds_any(producer_id):
            self._known[producer_id] = structs.replace(known, session="", connection=None)
        else:
            del self._known[producer_id]

    def _sign(self, producer_id: str, known: KnownProducer) -> None:
        if self._known.pop(producer_id, None) is None:
            self._make_room()
        self._signs += 1
        self._known[producer_id] = structs.replace(known, sign=self._signs)
        self.changed[producer_id] = None
        self.changed[_SIGNS] = None

    def _make_room(self) -> None:
        for _ in range(EXAMINED_PER_PRODUCER):
            if len(self._known) < MAX_PRODUCERS:
                return
            producer_id, known = next(iter(self._known.items()))
            if known.connection is None and not self._operations.holds_any(producer_id):
                del self._known[producer_id]
                self.changed[producer_id] = None
            else:
                self._sign(producer_id, known)

    def _answer_claim(self, producer_id: str, claim: HeldClaim) -> Verdict:
        life = self._operations.life(claim.operation_id)
        verdict = Verdict(
            operation_id=claim.operation_id,
            attempt=None if life is None else life.attempt,
            verdict="held" if life is None else self._verdict(producer_id, claim, life),  # type: ignore[arg-type]
        )
        is_held = verdict.verdict == "held" and life is not None and life.live
        if life is not None and is_held and (life.producer_id, life.lease_s) != (producer_id, claim.lease_s):
            self._operations.hold(claim.operation_id, producer_id, claim.lease_s)
        return verdict

    def _verdict(self, producer_id: str, claim: HeldClaim, life: OperationLife) -> str:
        if not life.live:
            if claim.attempt is not None and claim.attempt > life.attempt:
                return "held"
            status = self._operations.get(claim.operation_id)
            code = "" if status is None or status.error is None else status.error.code
            return "lost" if code in _HUB_CODES or (claim.attempt or life.attempt) < life.attempt else "finished"
        if claim.attempt is not None and claim.attempt != life.attempt:
            return "lost"
        is_free = life.state is OperationState.QUEUED or life.producer_id in ("", producer_id)
        return "held" if is_free else "lost"

    # Storing.

    def take_changes(self) -> dict[str, bytes | None]:
        """Return the rows that changed since the last call, by producer; None for a producer that was forgotten."""
        rows: dict[str, bytes | None] = {}
        for producer_id in self.changed:
            row = self._signs if producer_id == _SIGNS else self._known.get(producer_id)
            rows[producer_id] = None if row is None else msgspec.msgpack.encode(row)
        self.changed.clear()
        return rows

    def restore(self, rows: Iterable[tuple[str, bytes]]) -> None:
        """Restore stored rows, in any order.

        Raises:
            msgspec.MsgspecError: A row is damaged.
        """
        known = []
        for producer_id, row in rows:
            if producer_id == _SIGNS:
                self._signs = msgspec.msgpack.decode(row, type=int)
            else:
                known.append((producer_id, msgspec.msgpack.decode(row, type=KnownProducer)))
        self._known = dict(sorted(known, key=lambda each: each[1].sign))
