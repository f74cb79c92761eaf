"""`/v1/admin/*`: revocations and sessions, for administrators (docs/protocol/http.md, "Administration")."""

import asyncio
import re
from typing import Annotated, Final, get_args

import msgspec
from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from tidings.access.control import AccessControl
from tidings.exceptions import InvalidJSON, InvalidParameter, LogError, NotFound
from tidings.hub.connection_query import read_values
from tidings.hub.hub import Hub
from tidings.log.revocations import EVER_NS, Revocation, RevocationKind
from tidings.protocol.envelope import check_body, parse_validation_error
from tidings.protocol.payloads import Timestamp
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds
from tidings.server.asgi.scope import headers_of, query_of, request_address
from tidings.server.http.access import identify_again, require_admin, subject_of
from tidings.server.http.body import BodyReader, check_json_type
from tidings.server.http.query import read_limit
from tidings.server.http.responses import Answer, method_refusal, to_response
from tidings.server.running_hub import HubHost

REVOCATIONS: Final = "/v1/admin/revocations"
SESSIONS: Final = "/v1/admin/sessions"
_QUESTION: Final = "sessions"
_CURSOR: Final = re.compile(r"(?:([1-9][0-9]?)\.)?([0-9]{1,19})")
"""The number of a session, behind the number of its worker in a hub of several."""
_MAX_GRANTS: Final = 100
"""Grants of a session that are listed: a subject may have 1,000, and a page 1,000 sessions."""
_HINT: Final = (
    'Send {"credential_id": "…"} or {"subject": "…"}, and with it "issued_before" and "expires_at" if needed.'
)

_Name = Annotated[str, Meta(min_length=1, max_length=255)]


class RevocationRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a revocation: one of `credential_id` and `subject`."""

    credential_id: _Name | None = None
    """Id of a token (`jti`) or of an API key."""
    subject: _Name | None = None
    """Name of a subject, all of whose credentials are revoked that were issued before `issued_before`."""
    issued_before: Timestamp | None = None
    """RFC 3339; now by default."""
    expires_at: Timestamp | None = None
    """RFC 3339: when the last of the credentials expires, and the revocation is no longer needed. Default: the longest
    life of a token from now on; never, where there are credentials without expiry."""


class RevocationView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A revocation as it is listed."""

    kind: RevocationKind
    name: str
    issued_before: Timestamp | None = None
    """Absent for one credential, which is revoked whenever it was issued."""
    expires_at: Timestamp | None = None
    stored: bool | None = None
    """In the answer to a revocation: whether it is in the log. One that is not counts all the same."""


class SessionView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An open connection, event stream or request that waits, with its subject."""

    subject: str
    credential_id: str = ""
    credential_source: str
    address: str = ""
    path: str = ""
    expires_at: Timestamp | None = None
    grants: list[str]
    """The first 100 of its grants."""


class RevocationPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Response of `GET /v1/admin/revocations`."""

    revocations: list[RevocationView]
    next: str | None = None
    """Value of `after` for the next page; absent on the last page."""


class SessionPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Response of `GET /v1/admin/sessions`."""

    sessions: list[SessionView]
    """The sessions, the oldest first; in a hub of several workers, those of each worker together."""
    next: str | None = None
    """Value of `after` for the next page; absent on the last page."""


class AdminRoutes:
    """The routes for administrators."""

    def __init__(self, host: HubHost, bodies: BodyReader) -> None:
        self._host = host
        self._bodies = bodies
        if host.siblings is not None:
            host.siblings.responders[_QUESTION] = self._answer_sibling

    async def revocations(self, request: Request) -> Response:
        """Answer `GET` and `POST /v1/admin/revocations`."""
        hub, control = self._admit(request)
        if request.method == "POST":
            return await self._revoke(request, hub, control)
        if request.method not in ("GET", "HEAD"):
            return to_response(method_refusal(REVOCATIONS, "GET, HEAD, OPTIONS, POST"))
        values = read_values(query_of(request.scope), ("kind", "name", "limit", "after"))
        limit, after = read_limit(values), values.get("after", [""])[-1]
        wanted = values["name"][-1] if "name" in values else None
        kind = _read_kind(values)
        rows = sorted(
            (f"{row.kind}:{row.name}", row)
            for row in hub.log.revocations
            if wanted in (None, row.name) and kind in (None, row.kind)
        )
        page = [(place, row) for place, row in rows if place > after][: limit + 1]
        following = page[limit - 1][0] if len(page) > limit else None
        answer = RevocationPage(revocations=[_view(row) for _, row in page[:limit]], next=following)
        return to_response(Answer(200, msgspec.json.encode(answer)))

    async def _revoke(self, request: Request, hub: Hub, control: AccessControl) -> Response:
        read_values(query_of(request.scope), ())
        body = await self._bodies.read(request.receive)
        if body is None:  # the client is gone
            return Response()
        check_json_type(headers_of(request.scope))
        require_admin(hub, await identify_again(hub, request.scope))
        revocation = read_revocation(body, hub.now_ns(), control.kept_until_ns(hub.now_ns()))
        storing: asyncio.Future[Revocation | LogError] = asyncio.get_running_loop().create_future()

        def done(result: Revocation | LogError) -> None:
            if not storing.done():
                storing.set_result(result)

        hub.log.revoke(revocation, done)
        control.end_revoked()
        subject = subject_of(request.scope)
        hub.audit.record(
            "revoke",
            "accepted",
            subject="" if subject is None else subject.name,
            address=request_address(request.scope).client,
            kind=revocation.kind,
            name=revocation.name,
        )
        result = await storing
        stored = isinstance(result, Revocation)
        view = msgspec.structs.replace(_view(result if isinstance(result, Revocation) else revocation), stored=stored)
        return to_response(Answer(200, msgspec.json.encode(view)))

    async def sessions(self, request: Request) -> Response:
        """Answer `GET /v1/admin/sessions`."""
        _, control = self._admit(request)
        values = read_values(query_of(request.scope), ("subject", "limit", "after"))
        limit, wanted = read_limit(values), values["subject"][-1] if "subject" in values else None
        worker, after = _read_cursor(values)
        siblings = self._host.siblings
        query = _SessionQuery(worker, after, limit + 1, wanted)
        found = _list_sessions(control, 1 if siblings is None else siblings.role.worker, query)
        if siblings is not None:
            answers = await siblings.ask(_QUESTION, msgspec.json.encode(query))
            for body in answers.values():
                found += _decode_sessions(body)
            found.sort(key=lambda each: each[:2])
        following: str | None = None
        if len(found) > limit:
            last = found[limit - 1]
            following = str(last[1]) if siblings is None else f"{last[0]}.{last[1]}"
        page = SessionPage(sessions=[view for _, _, view in found[:limit]], next=following)
        return to_response(Answer(200, msgspec.json.encode(page)))

    async def _answer_sibling(self, question: bytes) -> bytes:
        """Return the sessions of this worker."""
        control, siblings = self._host.running().hub.access, self._host.siblings
        if control is None or siblings is None:
            return b"[]"
        return msgspec.json.encode(_list_sessions(control, siblings.role.worker, _decode_query(question)))

    def _admit(self, request: Request) -> tuple[Hub, AccessControl]:
        """Return the hub and its access control.

        Raises:
            Forbidden: The sender may not administer the hub.
            NotFound: The hub has no authentication, and so nothing to administer.
        """
        hub = self._host.running().hub
        if hub.access is None:
            raise NotFound("this hub has no authentication", hint="Start it with `tidings serve --auth keys`.")
        require_admin(hub, request.scope)
        return hub, hub.access


def read_revocation(body: bytes, now_ns: int, kept_until_ns: int | None) -> Revocation:
    """Return the revocation that a body asks for.

    Args:
        body: A `RevocationRequest`.
        now_ns: The hub's clock.
        kept_until_ns: Until when it is needed unless the body names a time; None for forever.

    Raises:
        ContractError: The body is not valid JSON; see `check_body`.
        InvalidParameter: A member is not valid.
        InvalidTimestamp: A time is not valid.
    """
    check_body(body)
    try:
        wanted = msgspec.json.decode(body, type=RevocationRequest)
    except msgspec.ValidationError as cause:
        message, path = parse_validation_error(cause)
        raise InvalidParameter(f"{path}: {message}", path=path, hint=_HINT) from cause
    except msgspec.DecodeError as cause:
        raise InvalidJSON(f"$: this is not JSON: {str(cause).removeprefix('JSON is malformed: ')}") from cause
    if (wanted.credential_id is None) == (wanted.subject is None):
        raise InvalidParameter("expected one of `credential_id` and `subject`", hint=_HINT)
    if wanted.expires_at is not None:
        kept_until_ns = to_nanoseconds(wanted.expires_at)
        if kept_until_ns <= now_ns:
            hint = "Name the time at which the last of the credentials expires, or leave it out."
            raise InvalidParameter("`expires_at` is over: the revocation would be forgotten immediately", hint=hint)
    if wanted.credential_id is not None:
        if wanted.issued_before is not None:
            raise InvalidParameter("`issued_before` without `subject`: one credential is revoked whole", hint=_HINT)
        return Revocation(
            kind="credential", name=wanted.credential_id, issued_before_ns=EVER_NS, kept_until_ns=kept_until_ns
        )
    return Revocation(
        kind="subject",
        name=wanted.subject or "",
        issued_before_ns=now_ns if wanted.issued_before is None else to_nanoseconds(wanted.issued_before),
        kept_until_ns=kept_until_ns,
    )


def _view(row: Revocation) -> RevocationView:
    return RevocationView(
        kind=row.kind,
        name=row.name,
        issued_before=None if row.issued_before_ns == EVER_NS else from_nanoseconds(row.issued_before_ns),
        expires_at=None if row.kept_until_ns is None else from_nanoseconds(row.kept_until_ns),
    )


def _read_kind(values: dict[str, list[str]]) -> str | None:
    kinds = get_args(RevocationKind)
    kind = values["kind"][-1] if "kind" in values else None
    if kind is not None and kind not in kinds:
        raise InvalidParameter(f"invalid kind={kind[:40]!r}", hint=f"Use {' or '.join(kinds)}.")
    return kind


class _SessionQuery(Struct, frozen=True):
    """Which sessions to list, in all workers."""

    worker: int
    """The worker behind whose session the page begins."""
    after: int
    """The number of that session."""
    limit: int
    subject: str | None


def _list_sessions(control: AccessControl, worker: int, query: _SessionQuery) -> list[tuple[int, int, SessionView]]:
    """Return the sessions of one worker that a page may have, each with its worker and its number."""
    if worker < query.worker:
        return []
    found: list[tuple[int, int, SessionView]] = []
    for number, session in control.sessions(query.after if worker == query.worker else -1):
        if query.subject not in (None, session.subject.name):
            continue
        if len(found) == query.limit:
            break
        subject = session.subject
        view = SessionView(
            subject=subject.name,
            credential_id=subject.credential_id,
            credential_source=session.credential.source,
            address=session.request.address,
            path=session.request.path,
            expires_at=subject.stated_expiry,
            grants=subject.grants.names()[:_MAX_GRANTS],
        )
        found.append((worker, number, view))
    return found


_decode_query = msgspec.json.Decoder(_SessionQuery).decode
_decode_sessions = msgspec.json.Decoder(list[tuple[int, int, SessionView]]).decode


def _read_cursor(values: dict[str, list[str]]) -> tuple[int, int]:
    """Return the worker and the number of the session behind which a page begins."""
    if "after" not in values:
        return 1, -1
    text = values["after"][-1]
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise InvalidParameter(f"invalid cursor after={text[:40]!r}", hint="Use the `next` of an answer.")
    return int(found[1] or 1), int(found[2])
