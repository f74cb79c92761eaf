"""`POST /v1/tickets`: single-use stand-ins for a credential in a URL (docs/access.md, "Tickets")."""

import secrets
from typing import Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tidings.access.tickets import TICKET_LIFETIME_S, TICKET_PREFIX
from tidings.hub.connection_query import read_values
from tidings.server.asgi.scope import headers_of, query_of
from tidings.server.http.access import identify_again, identity_of
from tidings.server.http.body import BodyReader, check_json_type
from tidings.server.http.responses import Answer, to_response
from tidings.server.running_hub import HubHost

TICKETS: Final = "/v1/tickets"
_NOT_STORED: Final = ((b"cache-control", b"no-store"),)


class TicketView(Struct, frozen=True, kw_only=True):
    """Response of `POST /v1/tickets`."""

    ticket: str
    """Value of the parameter `ticket` in the URL of one stream or WebSocket."""
    expires_in_s: float
    """Time in which it must be used, in seconds."""


class TicketRoute:
    """The route that issues tickets.

    Without authentication it issues tickets that nothing asks for, so that one page works with every hub.
    """

    def __init__(self, host: HubHost, bodies: BodyReader) -> None:
        self._host = host
        self._bodies = bodies

    async def issue(self, request: Request) -> Response:
        """Answer `POST /v1/tickets`."""
        read_values(query_of(request.scope), ())
        body = await self._bodies.read(request.receive)
        if body is None:  # the client is gone
            return Response()
        if body or b"content-type" in headers_of(request.scope):
            check_json_type(headers_of(request.scope))
        hub = self._host.running().hub
        identity = identity_of(await identify_again(hub, request.scope))
        if hub.access is None or identity is None:
            ticket = TICKET_PREFIX + secrets.token_urlsafe(24)
        else:
            name = identity.subject.name
            ticket = hub.access.tickets.issue(name, identity.credential, identity.request)
            hub.audit.record("ticket", "accepted", subject=name, address=identity.request.address)
        answer = TicketView(ticket=ticket, expires_in_s=TICKET_LIFETIME_S)
        return to_response(Answer(200, msgspec.json.encode(answer), _NOT_STORED))
