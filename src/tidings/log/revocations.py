"""Revocations: credentials that no longer count, although they have not expired (docs/access.md, "Revoking")."""

import heapq
from collections.abc import Callable, Iterator
from typing import Final, Literal

from msgspec import Struct

from tidings.exceptions import LimitExceeded

MAX_REVOCATIONS: Final = 100_000
"""Revocations that a log keeps: about 30 MB. They leave it when the credentials have expired."""
EVER_NS: Final = 2**63 - 1
"""`Revocation.issued_before_ns` of one credential: whenever it was issued, it is that one."""

RevocationKind = Literal["credential", "subject"]
"""One credential by its id (the `jti` of a token, the id of an API key), or all that a subject had until a time."""
_Place = tuple[RevocationKind, str]


class Revocation(Struct, frozen=True, kw_only=True):
    """Credentials that no longer count."""

    kind: RevocationKind
    name: str
    """Id of the credential, or name of the subject."""
    issued_before_ns: int
    """Credentials issued before this time are revoked, in nanoseconds since 1970. One of which the time is unknown
    counts as issued before."""
    kept_until_ns: int | None = None
    """When the last of the credentials has expired, so that the revocation is no longer needed; None means never."""

    def covers(self, issued_ns: int | None) -> bool:
        """Return whether a credential that was issued at a time is revoked; None stands for an unknown time."""
        return issued_ns is None or issued_ns < self.issued_before_ns


class RevocationTable:
    """The revocations of a log. Revoking the same again extends the first one."""

    def __init__(self) -> None:
        self._rows: dict[_Place, Revocation] = {}
        self._expiries: list[tuple[int, _Place]] = []
        """Heap of the times at which rows may expire; a row that was extended is in it several times."""
        self.dirty: dict[_Place, None] = {}
        """Rows that a file does not have yet."""
        self.removed: dict[_Place, None] = {}
        """Rows that a file still has."""
        self.added: Callable[[], object] = _ignore
        """Called when a row was added or extended, by this process or another one of the same log."""

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Revocation]:
        return iter(list(self._rows.values()))

    def find(self, kind: RevocationKind, name: str) -> Revocation | None:
        """Return the revocation of a credential or a subject, if there is one."""
        return self._rows.get((kind, name))

    def add(self, revocation: Revocation) -> Revocation:
        """Add `revocation`, and return it as it is in the table: united with an earlier one of the same.

        Raises:
            LimitExceeded: The table is full.
        """
        place = revocation.kind, revocation.name
        known = self._rows.get(place)
        if known is None and len(self._rows) >= MAX_REVOCATIONS:
            raise LimitExceeded(
                f"the log has {MAX_REVOCATIONS:,} revocations, and keeps no more",
                hint="Change the signing key or the secret: all tokens signed with the old one are then refused.",
            )
        if known is not None:
            ends = known.kept_until_ns, revocation.kept_until_ns
            revocation = Revocation(
                kind=revocation.kind,
                name=revocation.name,
                issued_before_ns=max(known.issued_before_ns, revocation.issued_before_ns),
                kept_until_ns=None if None in ends else max(end for end in ends if end is not None),
            )
        if revocation != known:
            self.restore(revocation)
            self.dirty[place] = None
            self.removed.pop(place, None)
            self.added()
        return revocation

    def restore(self, revocation: Revocation) -> None:
        """Add a row that the file has."""
        place = revocation.kind, revocation.name
        self._rows[place] = revocation
        if revocation.kept_until_ns is not None:
            heapq.heappush(self._expiries, (revocation.kept_until_ns, place))

    def expire(self, now_ns: int) -> None:
        """Remove the rows that are no longer needed."""
        while self._expiries and self._expiries[0][0] <= now_ns:
            _, place = heapq.heappop(self._expiries)
            row = self._rows.get(place)
            if row is not None and row.kept_until_ns is not None and row.kept_until_ns <= now_ns:
                del self._rows[place]
                self.dirty.pop(place, None)
                self.removed[place] = None

    def discard_changes(self) -> None:
        """Forget which rows a file does not have, for a log without files."""
        self.dirty.clear()
        self.removed.clear()


def _ignore() -> None:
    """Do nothing: before someone is interested."""
