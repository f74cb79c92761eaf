"""`GET /v1/whoami`: who sends the request, how this hub identifies its clients, and what runs it.

It answers everyone, so that a page learns whether it must ask a person for a key, without a request that fails.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from tidings.access.control import AccessControl
from tidings.access.credentials import find_credential
from tidings.access.subjects import CredentialSource
from tidings.exceptions import AccessError, Unauthenticated
from tidings.hub.connection_query import read_values
from tidings.hub.hub import Hub
from tidings.protocol.codes import error_data
from tidings.protocol.payloads import ErrorData, Timestamp
from tidings.protocol.timestamps import from_nanoseconds
from tidings.server.asgi.scope import access_request, query_of
from tidings.server.http.access import Identity, identify, identity_of
from tidings.server.http.responses import Answer, to_response
from tidings.server.link_templates import LinkTemplate
from tidings.server.running_hub import HubHost
from tidings.version import __version__

WHOAMI: Final = "/v1/whoami"


class WhoamiView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Response of `GET /v1/whoami`."""

    version: str
    """Version of tidings."""
    build: str | None = None
    """Id of the dashboard's build; a page that names another one is of an earlier hub. Absent without one."""
    started_at: Timestamp
    """When the hub started."""
    identifies: bool
    """Whether the hub identifies its clients; if not, everyone may do everything."""
    methods: list[str]
    """Credentials that it accepts: `key`, `token` and others; `forward` and `cookie` need nothing of the page."""
    sign_in_url: str | None = None
    """Page of another server at which people sign in; `{url}` stands for the encoded address to return to."""
    sign_out_url: str | None = None
    """Page at which they sign out."""
    subject: str | None = None
    """The sender; absent if it is not identified."""
    grants: list[str] | None = None
    """Its grants, as lines."""
    source: CredentialSource | None = None
    """Where its credential came from: `header`, `cookie`, or `request` as a whole."""
    expires_at: Timestamp | None = None
    """When the credential expires; absent if it does not."""
    error: ErrorData | None = None
    """Why the sender is not identified."""
    links: list[LinkTemplate] | None = None
    """The operator's links of each operation; absent without any, and for a sender that may read nothing."""


class WhoamiRoute:
    """The route.

    Args:
        host: The owner of the hub.
        build: Id of the dashboard's build, or None.
        links: Links of each operation in the dashboard.
    """

    def __init__(self, host: HubHost, build: str | None, links: Sequence[LinkTemplate]) -> None:
        self._host = host
        self._build = build
        self._links = list(links) or None

    async def answer(self, request: Request) -> Response:
        """Answer `GET /v1/whoami`.

        Raises:
            InvalidParameter: The query has parameters.
            CredentialInURL: It has a secret.
        """
        read_values(query_of(request.scope), ())
        hub = self._host.running().hub
        found, error = await _identify(hub, request.scope)
        grants = None if found is None else found.subject.grants
        may_read = hub.access is None or (grants is not None and bool(grants.read))
        view = WhoamiView(
            version=__version__,
            build=self._build,
            started_at=started_at(hub),
            identifies=hub.access is not None,
            methods=[] if hub.access is None else _methods(hub.access),
            sign_in_url=(None if hub.access is None else hub.access.pages.sign_in_url) or None,
            sign_out_url=(None if hub.access is None else hub.access.pages.sign_out_url) or None,
            subject=None if found is None else found.subject.name,
            grants=None if grants is None else grants.names(),
            source=None if found is None else found.credential.source,
            expires_at=None if found is None else found.subject.stated_expiry,
            error=None if error is None else error_data(error),
            links=self._links if may_read else None,
        )
        return to_response(Answer(200, msgspec.json.encode(view)))


def started_at(hub: Hub) -> str:
    """Return when a hub started, by its clock."""
    return from_nanoseconds(hub.now_ns() - int((hub.clock.monotonic() - hub.started) * 1e9))


async def _identify(hub: Hub, scope: Scope) -> tuple[Identity | None, AccessError | None]:
    """Return the sender of a request, or the reason why there is none; neither where the hub identifies no one."""
    control = hub.access
    if control is None:
        return None, None
    credential = find_credential(access_request(scope).headers, query_of(scope), cookie=control.cookie)
    if credential is None and not control.identifies_requests:
        return None, Unauthenticated("no credential")  # a question, and not an attempt that the audit trail records
    try:
        return identity_of(await identify(hub, scope)), None
    except AccessError as error:
        return None, error


def _methods(control: AccessControl) -> list[str]:
    """Return the names of the accepted kinds of credentials."""
    return [*control.methods, *control.request_methods, *(["cookie"] if control.cookie else [])]
