"""Tickets: stand-ins for a credential in the URL of a client that cannot send headers (docs/access.md, "Tickets").

A ticket is valid once and for 30 s. The connection that opens with it has the credential that made it, its grants and
its expiry, and ends when that credential is revoked.
"""

import re
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
NOT_VALID: Final = "the ticket is not valid: it was used, has expired, or is from another hub"
_RANDOM_BYTES: Final = 24
_TICKET: Final = re.compile(TICKET_PREFIX + r"[\w-]{32}", re.ASCII)


class Ticket(Struct, frozen=True):
    """An unused ticket."""

    subject: str
    """Name of the subject for whom it was made."""
    credential: Credential
    """The credential that it stands for."""
    request: AccessRequest
    """The request that asked for it."""
    expires_at: float = 0.0
    """End of its lifetime, in seconds of the monotonic clock of its process."""

    def __repr__(self) -> str:
        return f"Ticket(subject={self.subject!r})"


TicketFound = Callable[[Ticket | InvalidTicket], object]
"""Called once with a ticket that is used now, or with the reason why there is none."""


class Tickets:
    """The unused tickets of a process, in memory: its restart makes them invalid.

    Args:
        monotonic: Returns seconds of a clock that never goes back.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._tickets: dict[str, Ticket] = {}
        """By value, the oldest first."""
        self.ask_others: Callable[[str, TicketFound], None] | None = None
        """Redeems a ticket at the other processes of this hub, of which the one that issued it alone has it."""

    def __len__(self) -> int:
        return len(self._tickets)

    def issue(self, subject: str, credential: Credential, request: AccessRequest) -> str:
        """Return a new ticket that stands for `credential`.

        Args:
            subject: Name of the subject of the credential.
            credential: The credential.
            request: The request that brought it.
        """
        self._drop_expired()
        own = [value for value, other in self._tickets.items() if other.subject == subject]
        if len(own) >= MAX_TICKETS_PER_SUBJECT:
            del self._tickets[own[0]]
        elif len(self._tickets) >= MAX_TICKETS:
            del self._tickets[next(iter(self._tickets))]
        value = TICKET_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        self._tickets[value] = Ticket(subject, credential, request, self._monotonic() + TICKET_LIFETIME_S)
        return value

    def take(self, value: str) -> Ticket | None:
        """Return the ticket of this process with a value, which is used now; None if there is none."""
        self._drop_expired()
        return self._tickets.pop(value, None)

    def find(self, beginning: str) -> str | None:
        """Return the ticket of this process that begins with a text; None if there is none."""
        return next((value for value in self._tickets if value.startswith(beginning)), None)

    def redeem(self, value: str, found: TicketFound) -> None:
        """Use a ticket; `found` is called within the call, or later if other processes must be asked.

        It gets InvalidTicket where there is none: it was used, has expired, or is of another hub or an earlier start.
        """
        ticket = self.take(value)
        if ticket is None and self.ask_others is not None and _TICKET.fullmatch(value):
            self.ask_others(value, found)
        else:
            found(ticket or InvalidTicket(NOT_VALID))

    def _drop_expired(self) -> None:
        now = self._monotonic()
        for value, ticket in list(self._tickets.items()):
            if ticket.expires_at > now:
                break
            del self._tickets[value]
