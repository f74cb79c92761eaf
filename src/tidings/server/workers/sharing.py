"""The audit trail, figures and unused tickets, which the workers of a hub share besides the log."""

from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec import Struct

from tidings.access.audit import AuditRecord, AuditTrail
from tidings.access.audit_feed import AuditFeed
from tidings.access.subjects import AccessRequest, Credential
from tidings.access.tickets import Ticket, Tickets
from tidings.server.workers.link import WorkerLink

_AUDIT = "audit"
_FIGURES = "figures"
_TICKET = "ticket"
_USED_TICKET = "used ticket"
_decode_record = msgspec.json.Decoder(AuditRecord).decode
_decode_figures = msgspec.json.Decoder(tuple[str, dict[str, float]]).decode
_decode_text = msgspec.json.Decoder(str).decode


def share_audit(link: WorkerLink, trail: AuditTrail, feed: AuditFeed) -> None:
    """Let the feed of each worker have the records of all workers, with the same numbers."""

    def tell(record: AuditRecord) -> None:
        link.tell(_AUDIT, msgspec.json.encode(record))

    trail.sinks.append(tell)
    link.receivers[_AUDIT] = lambda number, body: feed.add_numbered(number, _decode_record(body))


class WorkerFigures:
    """The figures of all workers, each as the worker sent them last; a `tidings.hub.system_status.FigureExchange`.

    Args:
        link: Connection with the other workers.
        now_s: A clock in seconds that does not jump.
        max_age_s: Age beyond which figures no longer count: their worker has ended.
    """

    def __init__(self, link: WorkerLink, now_s: Callable[[], float], max_age_s: float) -> None:
        self._link = link
        self._now_s = now_s
        self._max_age_s = max_age_s
        self._received: dict[str, tuple[float, Mapping[str, float]]] = {}
        link.receivers[_FIGURES] = self._receive

    @property
    def source(self) -> str:
        """See `FigureExchange.source`."""
        return self._link.source

    def send(self, figures: Mapping[str, float]) -> None:
        """See `FigureExchange.send`."""
        self._link.tell(_FIGURES, msgspec.json.encode((self.source, figures)))

    def received(self) -> Iterable[Mapping[str, float]]:
        """See `FigureExchange.received`."""
        oldest = self._now_s() - self._max_age_s
        return [figures for at, figures in self._received.values() if at >= oldest]

    def _receive(self, number: int, body: bytes) -> None:
        source, figures = _decode_figures(body)
        if source != self.source:
            self._received[source] = self._now_s(), figures


class _SharedTicket(Struct, frozen=True):
    """A ticket as it goes to another worker."""

    value: str
    subject: str
    credential: Credential
    headers: dict[str, str]
    """Headers of the request that asked for it."""
    address: str
    method: str
    path: str
    expires_ns: int


_decode_ticket = msgspec.json.Decoder(_SharedTicket).decode


def share_tickets(link: WorkerLink, tickets: Tickets) -> None:
    """Accept the tickets of other workers, and report to them which are used."""

    async def add(body: bytes) -> bytes:
        shared = _decode_ticket(body)
        request = AccessRequest(headers=shared.headers, address=shared.address, method=shared.method, path=shared.path)
        tickets.add(shared.value, Ticket(shared.subject, shared.credential, request, shared.expires_ns))
        return b"true"

    link.responders[_TICKET] = add
    link.receivers[_USED_TICKET] = lambda number, body: tickets.remove(_decode_text(body))
    tickets.used = lambda value: link.tell(_USED_TICKET, msgspec.json.encode(value))


async def pass_ticket(link: WorkerLink, tickets: Tickets, value: str) -> None:
    """Pass a new ticket to all other workers, and return when they have it."""
    ticket = tickets.find(value)
    if ticket is None:
        return
    request = ticket.request
    shared = _SharedTicket(
        value,
        ticket.subject,
        ticket.credential,
        dict(request.headers),
        request.address,
        request.method,
        request.path,
        ticket.expires_ns,
    )
    await link.ask(_TICKET, msgspec.json.encode(shared))
