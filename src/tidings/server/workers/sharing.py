"""The audit trail, figures and unused tickets, which the workers of a hub share besides the log."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import msgspec
from msgspec import Struct

from tidings.access.audit import AuditRecord, AuditTrail
from tidings.access.audit_feed import AuditFeed
from tidings.access.subjects import AccessRequest, Credential
from tidings.access.tickets import NOT_VALID, Ticket, TicketFound, Tickets
from tidings.exceptions import InvalidTicket
from tidings.server.cluster.notes import NoteExchange
from tidings.server.workers.link import WorkerLink

_AUDIT = "audit"
_FIGURES = "figures"
_TICKET = "ticket"
_decode_record = msgspec.json.Decoder(AuditRecord).decode
_decode_figures = msgspec.json.Decoder(tuple[str, dict[str, float]]).decode
_decode_text = msgspec.json.Decoder(str).decode


def share_audit(link: WorkerLink, trail: AuditTrail, feed: AuditFeed) -> None:
    """Let the feed of each worker have the records of all workers, with the same numbers."""

    def tell(record: AuditRecord) -> None:
        link.tell(_AUDIT, msgspec.json.encode(record))

    trail.sinks.append(tell)
    link.receivers[_AUDIT] = lambda number, body: feed.add_numbered(number, _decode_record(body))


class SharedFigures:
    """The figures of all processes, each as it sent them last; a `tidings.hub.system_status.FigureExchange`.

    Args:
        link: Connection with the other processes.
        now_s: A clock in seconds that does not jump.
        max_age_s: Age beyond which figures no longer count: their process has ended.
    """

    def __init__(self, link: NoteExchange, now_s: Callable[[], float], max_age_s: float) -> None:
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
        return list(self.by_source().values())

    def by_source(self) -> Mapping[str, Mapping[str, float]]:
        """Return the newest figures of each other process, by its name."""
        oldest = self._now_s() - self._max_age_s
        return {source: figures for source, (at, figures) in self._received.items() if at >= oldest}

    def _receive(self, number: int, body: bytes) -> None:
        source, figures = _decode_figures(body)
        if source != self.source:
            self._received[source] = self._now_s(), figures


class _SharedTicket(Struct, frozen=True):
    """A ticket as it goes to the worker that uses it."""

    subject: str
    credential: Credential
    headers: dict[str, str]
    """Headers of the request that asked for it."""
    address: str
    method: str
    path: str


_decode_ticket = msgspec.json.Decoder(_SharedTicket | None).decode


def encode_shared_ticket(ticket: Ticket | None) -> bytes:
    """Return a ticket as it goes to the process that uses it."""
    if ticket is None:
        return b"null"
    request = ticket.request
    return msgspec.json.encode(
        _SharedTicket(
            ticket.subject, ticket.credential, dict(request.headers), request.address, request.method, request.path
        )
    )


def decode_shared_ticket(body: bytes) -> Ticket | None:
    """Return the ticket that `encode_shared_ticket` encoded.

    Raises:
        msgspec.MsgspecError: It did not.
    """
    shared = _decode_ticket(body)
    if shared is None:
        return None
    request = AccessRequest(headers=shared.headers, address=shared.address, method=shared.method, path=shared.path)
    return Ticket(shared.subject, shared.credential, request)


def share_tickets(link: WorkerLink, tickets: Tickets) -> None:
    """Use tickets at every worker: only the one that issued a ticket has it, so that it is used once."""
    redeeming: set[asyncio.Task[None]] = set()

    async def answer(body: bytes) -> bytes:
        return encode_shared_ticket(tickets.take(_decode_text(body)))

    async def redeem(value: str, found: TicketFound) -> None:
        answers = await link.ask(_TICKET, msgspec.json.encode(value))
        ticket = next(filter(None, map(decode_shared_ticket, map(bytes, answers.values()))), None)
        found(ticket or InvalidTicket(NOT_VALID))

    def ask_others(value: str, found: TicketFound) -> None:
        task = asyncio.create_task(redeem(value, found))
        redeeming.add(task)
        task.add_done_callback(redeeming.discard)

    link.responders[_TICKET] = answer
    tickets.ask_others = ask_others
