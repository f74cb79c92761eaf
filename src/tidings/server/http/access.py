"""The sender of a request over HTTP, and their rights (docs/access.md).

The subject of a request is found once, before its route runs, and kept in the scope; `None` stands for a hub that
identifies no one.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, TypeVar

from msgspec import Struct
from starlette.types import Scope

from tidings.access.audit import AuditOutcome
from tidings.access.control import REQUEST_AS_A_WHOLE, AccessControl
from tidings.access.credentials import check_cookie_origin, find_credential
from tidings.access.grants import Grants
from tidings.access.recent import RecentCredential
from tidings.access.subjects import AccessRequest, Credential, Subject
from tidings.exceptions import AccessError, Draining, Forbidden, TidingsError
from tidings.hub.hub import Hub
from tidings.server.asgi.scope import access_request, headers_of, query_of, request_address

SENDER: Final = "tidings.sender"
"""Key of the sender in a scope: an `Identity`, or the `RecentCredential` that was found; `identity_of` makes the one of
the other for a route that needs the request's headers."""
_Found = TypeVar("_Found")
_SENT_BY_BROWSERS: Final = frozenset({"cookie", "origin", "sec-fetch-site"})
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110 §9.2.1)."""


class Identity(Struct, frozen=True):
    """The sender of a request."""

    subject: Subject
    credential: Credential
    request: AccessRequest
    """The request from which the sender was identified."""
    changes: int = 0
    """`AccessControl.changes` when it was identified."""


async def identify(hub: Hub, scope: Scope, *, allow_ticket: bool = False) -> Scope:
    """Return the scope of a request with the identity of its sender.

    Args:
        hub: The hub.
        scope: The request.
        allow_ticket: Whether the query may have a ticket.

    Raises:
        Unauthenticated: It has no credential, and the hub asks for one.
        AccessError: The credential does not count, or is where it may not be.
        Forbidden: A page of another origin uses a cookie to change something.
    """
    control = hub.access
    if control is None:
        return scope
    request = access_request(scope)
    try:
        has_ticket = False
        sent = credential = find_credential(request.headers, query_of(scope), cookie=control.cookie)
        if credential is not None and credential.source == "ticket":
            if allow_ticket:
                credential, request = await _answer_of(hub, control, partial(control.redeem, credential, request))
                has_ticket = True
            else:
                credential = None
        if _may_be_automatic(credential, request) and scope["method"] not in _SAFE_METHODS:
            check_cookie_origin(request.headers, request_address(scope).host)
        changes = control.changes
        subject = await _answer_of(hub, control, partial(control.authenticate, credential, request, renews=has_ticket))
    except AccessError as error:
        record_request(hub, "refused", request, error)
        raise
    if sent is not None and sent.source == "header":
        control.remember(headers_of(scope)[b"authorization"], sent, subject, changes)
    return {**scope, SENDER: Identity(subject, credential or REQUEST_AS_A_WHOLE, request, changes)}


async def identify_again(hub: Hub, scope: Scope) -> Scope:
    """Return the scope of a request that took a while, such as to send its body, with what its sender may do now.

    Raises:
        AccessError: The credential has expired, was revoked, no longer counts, or cannot be verified now.
    """
    sender, control = _sender_of(scope), hub.access
    if sender is None or control is None:
        return scope
    changes = control.changes
    expires_ns = sender.subject.expires_ns
    if sender.changes == changes and (expires_ns is None or hub.clock.wall_ns() < expires_ns):
        return scope
    identity = _identity_of(sender, scope)
    try:
        subject = await _answer_of(hub, control, partial(control.verify_again, identity.credential, identity.request))
    except AccessError as error:
        record_request(hub, "ended", identity.request, error, identity.subject)
        raise
    return {**scope, SENDER: Identity(subject, identity.credential, identity.request, changes)}


def record_request(
    hub: Hub, outcome: AuditOutcome, request: AccessRequest, error: AccessError, subject: Subject | None = None
) -> None:
    """Record in the audit trail that a request was refused, or broken off because its right was lost."""
    hub.audit.record(
        "request",
        outcome,
        subject="" if subject is None else subject.name,
        address=request.address,
        code=error.code,
        method=request.method,
        path=request.path,
    )


def _may_be_automatic(credential: Credential | None, request: AccessRequest) -> bool:
    """Return whether a browser may have added what identifies the sender: a cookie, or a password that it remembers."""
    if credential is None or not credential.value:
        return not _SENT_BY_BROWSERS.isdisjoint(request.headers)
    return credential.source == "cookie"


def _sender_of(scope: Scope) -> Identity | RecentCredential | None:
    sender: Identity | RecentCredential | None = scope.get(SENDER)
    return sender


def _identity_of(sender: Identity | RecentCredential, scope: Scope) -> Identity:
    if isinstance(sender, Identity):
        return sender
    return Identity(sender.subject, sender.credential, access_request(scope), sender.changes)


def identity_of(scope: Scope) -> Identity | None:
    """Return who sends a request; None where the hub identifies no one."""
    sender = _sender_of(scope)
    return None if sender is None else _identity_of(sender, scope)


def subject_of(scope: Scope) -> Subject | None:
    """Return the subject that sends a request; None where the hub identifies no one."""
    sender = _sender_of(scope)
    return None if sender is None else sender.subject


def grants_of(scope: Scope) -> Grants | None:
    """Return the grants of a request; None where the hub identifies no one, and everyone may do everything."""
    subject = subject_of(scope)
    return None if subject is None else subject.grants


async def _answer_of(
    hub: Hub, control: AccessControl, ask: Callable[[Callable[[_Found | TidingsError], None]], None]
) -> _Found:
    """Return what `ask` passes to its callback, within the call or later.

    Raises:
        AccessError: It passed one.
        Draining: The hub shuts down before the answer.
    """
    asking: asyncio.Future[_Found | TidingsError] = asyncio.get_running_loop().create_future()

    def answered(result: _Found | TidingsError) -> None:
        if not asking.done():  # the server may have cancelled the request
            asking.set_result(result)

    def give_up() -> None:
        answered(Draining("the hub is shutting down"))

    ask(answered)
    if not asking.done() and hub.draining:
        give_up()
    control.waiting_requests.add(give_up)
    try:
        result = await asking
    finally:
        control.waiting_requests.discard(give_up)
    if isinstance(result, TidingsError):
        raise result
    return result


class RequestSession:
    """A request that goes on for a while, as a session: one that waits, or whose answer has many parts.

    Args:
        hub: The hub.
        control: Its access control.
        identity: Who sends it.
        wake: Called when the right to go on is lost.
        changed: Called when the grants have changed.
    """

    def __init__(
        self,
        hub: Hub,
        control: AccessControl,
        identity: Identity,
        wake: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._changed = changed
        self._control = control
        self._subject = identity.subject
        self._wake = wake
        self._error: TidingsError | None = None
        self.credential = identity.credential
        self.request = identity.request

    @property
    def subject(self) -> Subject:
        """See `Session.subject`: with the grants that it has now."""
        return self._subject

    def reauthorized(self, subject: Subject) -> None:
        """See `Session.reauthorized`."""
        self._subject = subject
        self._control.enter(self)
        self._changed()

    def expiring(self, deadline_s: float) -> None:
        """See `Session.expiring`: the answer comes, or the session ends."""

    def ended(self, error: AccessError) -> None:
        """See `Session.ended`."""
        self._error = error
        record_request(self._hub, "ended", self.request, error, self._subject)
        self._wake()

    def check(self) -> None:
        """Check that the request may go on.

        Raises:
            AccessError: The credential has expired or was revoked.
        """
        if self._error is not None:
            raise self._error


def _nothing() -> None:
    return


@contextmanager
def watched(
    hub: Hub,
    identity: Identity | None,
    wake: Callable[[], None] = _nothing,
    *,
    changed: Callable[[], None] = _nothing,
) -> Iterator[RequestSession | None]:
    """Watch over the right of a request during a `with` block; provides None where the hub identifies no one.

    Args:
        hub: The hub.
        identity: Who sends the request.
        wake: Called when the right is lost.
        changed: Called when the grants have changed.
    """
    control = hub.access
    if control is None or identity is None:
        yield None
        return
    session = RequestSession(hub, control, identity, wake, changed)
    control.enter(session, identity.changes)
    try:
        yield session
    finally:
        control.leave(session)


def record_forbidden(hub: Hub, scope: Scope, error: Forbidden) -> None:
    """Record in the audit trail that the sender of a request may not read what it asks for."""
    identity = identity_of(scope)
    if identity is not None:
        record_request(hub, "refused", identity.request, error, identity.subject)


def require_admin(hub: Hub, scope: Scope) -> None:
    """Check that the sender of a request may administer the hub, where the hub identifies its clients.

    Raises:
        Forbidden: They may not.
    """
    identity = identity_of(scope)
    if identity is None:
        return
    try:
        identity.subject.grants.check_admin()
    except Forbidden as error:
        hub.audit.record(
            "admin",
            "refused",
            subject=identity.subject.name,
            address=identity.request.address,
            code=error.code,
            method=scope["method"],
            path=identity.request.path,
        )
        raise
