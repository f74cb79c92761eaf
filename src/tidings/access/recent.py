"""Credentials that were accepted a moment ago: a program sends the same one with each of its posts."""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from tidings.access.subjects import Credential, LastingAuthenticator, Subject
from tidings.log.base import Scheduler

REMEMBERED_S: Final = 10.0
"""Longest time for which an accepted credential is accepted again without another verification, in seconds: as long as
the answers of a forward-auth server. Each use checks that nothing has ended it."""
MAX_REMEMBERED: Final = 10_000
"""Accepted credentials that are remembered at a time: about 10 MB of JWTs."""


class RecentCredential(Struct, frozen=True):
    """A credential that was accepted."""

    credential: Credential
    subject: Subject
    authenticator: LastingAuthenticator
    generation: int
    """`LastingAuthenticator.generation` when it was verified."""
    changes: int
    """`AccessControl.changes` when it was verified."""

    def __repr__(self) -> str:
        return f"RecentCredential(subject={self.subject.name!r})"


class RecentCredentials:
    """The credentials of requests that were accepted in the last seconds, by their headers `Authorization`.

    A look-up compares two headers only if their hashes of 64 bits are equal, so its time depends on no secret. It reads
    the clock only for a credential that expires: a timer forgets them all from time to time.

    Args:
        wall_ns: Returns nanoseconds since 1970.
        scheduler: Runs the timer.
    """

    def __init__(self, wall_ns: Callable[[], int], scheduler: Scheduler) -> None:
        self._wall_ns = wall_ns
        self._scheduler = scheduler
        self._known: dict[bytes, RecentCredential] = {}
        self._forgets = False
        """Whether the timer runs."""
        self.found = 0
        """How often a credential was found."""

    def __len__(self) -> int:
        return len(self._known)

    def add(
        self,
        authorization: bytes,
        credential: Credential,
        subject: Subject,
        authenticator: LastingAuthenticator,
        changes: int,
    ) -> None:
        """Remember a credential that was accepted just now; see `RecentCredential`."""
        self._known.pop(authorization, None)
        if len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[authorization] = RecentCredential(
            credential, subject, authenticator, authenticator.generation, changes
        )
        if not self._forgets:
            self._forgets = True
            self._scheduler.call_later(REMEMBERED_S, self._forget)

    def _forget(self) -> None:
        self._forgets = False
        self.clear()

    def find(self, headers: Mapping[bytes, bytes]) -> RecentCredential | None:
        """Return the credential in a request's headers, if it was accepted and nothing has changed since.

        Args:
            headers: The headers by their lower-case names.
        """
        known = self._known.get(headers.get(b"authorization", b""))
        if known is None:
            return None
        expires_ns = known.subject.expires_ns
        if known.generation == known.authenticator.generation and (expires_ns is None or self._wall_ns() < expires_ns):
            self.found += 1
            return known
        del self._known[headers[b"authorization"]]
        return None

    def clear(self) -> None:
        """Forget all: what was accepted may be refused now."""
        self._known.clear()


class FamiliarCredentials:
    """Hashes of credentials that were accepted, the last `MAX_REMEMBERED` of them: they are not guessed."""

    def __init__(self) -> None:
        self._hashes: dict[bytes, None] = {}

    def __contains__(self, credential: Credential) -> bool:
        return bool(self._hashes) and _hash(credential) in self._hashes

    def add(self, credential: Credential) -> None:
        """Note that a credential was accepted."""
        digest = _hash(credential)
        self._hashes.pop(digest, None)  # those that were used last come last
        if len(self._hashes) >= MAX_REMEMBERED:
            del self._hashes[next(iter(self._hashes))]
        self._hashes[digest] = None

    def discard(self, credential: Credential) -> None:
        """Note that a credential was refused."""
        self._hashes.pop(_hash(credential), None)


def _hash(credential: Credential) -> bytes:
    return hashlib.sha256(credential.value.encode(errors="surrogatepass")).digest()
