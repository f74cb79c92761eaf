"""The subject of a session, as the hub names it; a state machine without I/O (docs/protocol/access.md)."""

from collections.abc import Callable, Sequence

import msgspec

from tidings.client.pending import make_access_error
from tidings.client.status import Access
from tidings.exceptions import AccessError, InvalidCredential
from tidings.protocol.payloads import AuthRequired, AuthSuccess, ErrorData

EXPIRING = "expiring"
"""Reason of `auth:required` ahead of the token's expiry."""
_REQUIRED, _NONE = "required", "none"
"""Values of `auth` in `connection:established` that are not subjects."""


def _ignore(message: object) -> None:
    """Do nothing."""


class Authentication:
    """The subject of one session, over any number of connections."""

    def __init__(self) -> None:
        self.admitted = False
        """Whether a hub has ever let this client in: without a token, or with one that it accepted."""
        self.access: Access | None = None
        """The subject of the token; None before that, and with a hub without authentication."""
        self.on_asked: Callable[[AuthRequired], object] = _ignore
        """Called when the hub asks for a token."""
        self.on_other_subject: Callable[[AccessError], object] = _ignore
        """Called when the hub takes a token, but not on this connection, because it is another subject's."""
        self.on_unverified: Callable[[AccessError], object] = _ignore
        """Called when the hub cannot verify a token now, and lets the client in with the one that it has."""
        self._refusal: AccessError | None = None

    def opened(self) -> None:
        """Note that a connection is open."""
        self._refusal = None

    def greeted(self, auth: str) -> bool:
        """Note the greeting's `auth`; return whether the client is let in already."""
        if auth == _REQUIRED:
            return False
        self.access = None if auth == _NONE else Access(subject=auth)
        self.admitted = True
        return True

    def asked(self, request: AuthRequired, *, inside: bool) -> None:
        """Handle `auth:required`.

        Args:
            request: The message.
            inside: Whether the client is let in on this connection.
        """
        if inside and self.access is not None:
            self.access = msgspec.structs.replace(self.access, expiring=request.reason == EXPIRING)
        self.on_asked(request)

    def succeeded(self, data: AuthSuccess) -> Sequence[str]:
        """Handle `auth:success`; return the paths that may be read no longer."""
        self.admitted = True
        self.access = Access(subject=data.subject, grants=tuple(data.grants), expires_at=data.expires_at)
        self._refusal = None
        return data.removed or ()

    def failed(self, error: ErrorData, *, inside: bool) -> None:
        """Handle `auth:failed`, which a close follows, unless the client is inside and the failure is temporary."""
        hint = error.hint or ""
        # A newer hub may have codes that are unknown here.
        refusal = make_access_error(error.code, error.message, hint) or InvalidCredential(
            f"{error.message} ({error.code})", hint=hint
        )
        if inside and error.recoverable:
            self.on_unverified(refusal)
        else:
            self._refusal = refusal

    def refused(self, error: ErrorData) -> bool:
        """Handle the refusal of a token that leaves the connection open; return whether it is one of access."""
        refusal = make_access_error(error.code, error.message, error.hint or "")
        if refusal is None:
            return False
        self.on_other_subject(refusal)
        return True

    def take_refusal(self) -> AccessError | None:
        """Return the reason of the `auth:failed` on the connection that has ended; None if there was none."""
        refusal, self._refusal = self._refusal, None
        return refusal
