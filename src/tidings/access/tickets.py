"""Tickets: stand-ins for a credential in the URL of a client that cannot send headers (docs/access.md, "Tickets").

A ticket is valid once and for 30 s. The connection that opens with it has the credential that made it, its grants and
its expiry, and ends when that credential is revoked.
"""

import secrets
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from tidings.access.subjects import AccessRequest, Credential
from tidings.exceptions import InvalidTicket

TICKET_LIFETIME_S: Final = 30.0
"""Time in which a ticket must be used: a page opens its connection immediately, and a phone may take seconds."""
MAX_TICKETS_PER_SUBJECT: Final = 100
"""Unused tickets of one subject; one more replaces its oldest. A page with many streams asks for one for each."""
MAX_TICKETS: Final = 10_000
"""Unused tickets of all subjects; one more replaces the oldest. Each costs as much memory as its credential."""
TICKET_PREFIX: Final = "tdt_"
"""Prefix by which scanners find tickets in logs."""


class Ticket(Struct, frozen=True):
    """An unused ticket."""

    subject: str
    """Name of the subject for whom it was made."""
    credential: Credential
    """The credential that it stands for."""
    request: AccessRequest
    """The request that asked for it."""
    expires_ns: int

    def __repr__(self) -> str:
        return f"Ticket(subject={self.subject!r})"


class Tickets:
    """The unused tickets of a hub, in memory: a restart of the hub makes them invalid.

    Args:
        now_ns: A clock in nanoseconds that does not jump.
    """

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._tickets: dict[str, Ticket] = {}
        """By value, the oldest first."""
        self.used: Callable[[str], object] = _ignore
        """Called with a ticket that is used now."""

    def __len__(self) -> int:
        return len(self._tickets)

    def issue(self, subject: str, credential: Credential, request: AccessRequest) -> str:
        """Return a new ticket that stands for `credential`.

        Args:
            subject: Name of the subject of the credential.
            credential: The credential.
            request: The request that brought it.
        """
        value = TICKET_PREFIX + secrets.token_urlsafe(24)
        expires_ns = self._now_ns() + int(TICKET_LIFETIME_S * 1e9)
        self.add(value, Ticket(subject, credential, request, expires_ns))
        return value

    def add(self, value: str, ticket: Ticket) -> None:
        """Add a ticket, which another process of this hub may have issued."""
        self._drop_expired()
        own = [value for value, other in self._tickets.items() if other.subject == ticket.subject]
        if len(own) >= MAX_TICKETS_PER_SUBJECT:
            del self._tickets[own[0]]
        elif len(self._tickets) >= MAX_TICKETS:
            del self._tickets[next(iter(self._tickets))]
        self._tickets[value] = ticket

    def find(self, value: str) -> Ticket | None:
        """Return an unused ticket, or None."""
        return self._tickets.get(value)

    def remove(self, value: str) -> None:
        """Remove a ticket that was used."""
        self._tickets.pop(value, None)

    def redeem(self, value: str) -> Ticket:
        """Return the ticket with this value, which is used now.

        Raises:
            InvalidTicket: There is none: it was used, has expired, or is of another hub or an earlier start.
        """
        self._drop_expired()
        ticket = self._tickets.pop(value, None)
        if ticket is None:
            raise InvalidTicket("the ticket is not valid: it was used, has expired, or is from another hub")
        self.used(value)
        return ticket

    def _drop_expired(self) -> None:
        now_ns = self._now_ns()
        for value, ticket in list(self._tickets.items()):
            if ticket.expires_ns > now_ns:
                break
            del self._tickets[value]


def _ignore(value: str) -> None:
    """Do nothing: in a hub of one process."""
