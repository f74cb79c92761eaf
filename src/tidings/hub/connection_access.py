"""The subject of one connection (docs/protocol/access.md). Exists only where the hub identifies its clients.

The upgrade is always accepted: a browser sees nothing of a refused one. A connection without a credential is asked for
one, and serves little until it comes. Another credential on an open connection takes the place of the first without
disturbing what the connection reads and holds.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from msgspec import structs

from tidings.access.audit import AuditOutcome
from tidings.access.control import NOTHING_YET, REQUEST_AS_A_WHOLE, AccessControl
from tidings.access.credentials import find_misplaced
from tidings.access.grants import NO_GRANTS, Grants
from tidings.access.subjects import AccessRequest, Credential, Subject
from tidings.exceptions import (
    AccessError,
    AuthenticationTimeout,
    Forbidden,
    TidingsError,
    TooManyRequests,
    Unauthenticated,
)
from tidings.hub.hub import Hub
from tidings.protocol import messages
from tidings.protocol.codes import error_data, row_of
from tidings.protocol.envelope import Envelope
from tidings.protocol.messages import MessageSpec
from tidings.protocol.payloads import AuthFailed, AuthRequired, AuthSuccess, Payload

REQUIRED: Final = "required"
"""`auth` in `connection:established` of a connection that sends its credential later."""
_DEFAULT_CLOSE: Final = 4001


class IdentifiedConnection(Protocol):
    """A connection as its access sees it."""

    hub: Hub
    closing: bool
    connection_id: str

    def greet(self) -> None:
        """Send `connection:established`."""

    def identified(self, subject: Subject) -> bool:
        """Begin to serve: the connection has a subject for the first time. Return whether its URL names `*`."""

    def change_grants(self, grants: Grants, *, everything: bool) -> list[str]:
        """Stop reading what `grants` do not cover.

        Args:
            grants: The new grants.
            everything: Whether the client reads `*`, and goes on with those parts of its paths that are covered.

        Returns:
            The paths that are no longer read, or only in part.
        """

    def follow_grants(self, grants: Grants) -> None:
        """Read from now on, too, what `grants` add for a client that reads `*`."""

    def overhead_received(self, count: int) -> None:
        """Count messages that cost the hub time and bring it nothing; too many close the connection."""

    def publish_held(self) -> None:
        """Process the messages that arrived while the credential was verified."""

    def push(self, data: Payload) -> None:
        """Send a message unasked."""

    def reply(self, command: Envelope, data: Payload) -> None:
        """Send the reply to `command`."""

    def close_after_events(self, code: int, reason: str) -> None:
        """Close once the events that arrived before are answered."""


class ConnectionAccess:
    """The subject of one connection: a session of `AccessControl` once it is known.

    Args:
        connection: The connection.
        control: The hub's access control.
        credential: The credential of the handshake, None, or the reason why it is refused.
        request: The handshake.
    """

    __slots__ = (
        "_connection",
        "_control",
        "_deadline",
        "_refusal",
        "credential",
        "everything",
        "known",
        "request",
        "verifying",
    )

    def __init__(
        self,
        connection: IdentifiedConnection,
        control: AccessControl,
        credential: Credential | AccessError | None,
        request: AccessRequest,
    ) -> None:
        self._connection = connection
        self._control = control
        self._deadline: _Deadline | None = None
        self.known: Subject | None = None
        """The subject, as soon as the client has proved it."""
        self._refusal = credential if isinstance(credential, AccessError) else None
        self.credential = credential if isinstance(credential, Credential) else REQUEST_AS_A_WHOLE
        self.request = request
        self.everything = False
        """Whether the client reads `*`: everything that the subject may read, also when its grants change."""
        self.verifying = False
        """Whether a credential is being verified: messages wait until it is."""

    @property
    def subject(self) -> Subject:
        """The subject.

        Raises:
            Unauthenticated: The connection has sent no credential yet.
        """
        if self.known is None:
            raise Unauthenticated("this connection has not sent a credential yet")
        return self.known

    @property
    def grants(self) -> Grants:
        """The grants of the subject; none before it is known."""
        return NO_GRANTS if self.known is None else self.known.grants

    @property
    def shown(self) -> str:
        """`auth` in `connection:established`: the name of the subject."""
        return REQUIRED if self.known is None else self.known.name

    # Lifecycle.

    def open(self) -> None:
        """Verify the credential of the handshake, or ask for one."""
        if self._refusal is not None:
            self._handshake_verified(None, self._refusal)
            return
        self.verifying = True
        self._control.redeem(self.credential, self.request, self._redeemed)

    def _redeemed(self, result: tuple[Credential, AccessRequest] | AccessError) -> None:
        self.verifying = False
        if self._connection.closing:  # while another worker was asked for the ticket
            return
        if isinstance(result, AccessError):
            self._handshake_verified(None, result)
            return
        has_ticket = self.credential.source == "ticket"
        self.credential, self.request = result
        as_a_whole = self.credential != NOTHING_YET and self._control.identifies_requests
        if self.credential.value or as_a_whole:
            self._verify(self.credential, None, self._handshake_verified, has_ticket=has_ticket)
        elif (misplaced := find_misplaced(self.request.headers)) is not None:
            self._handshake_verified(None, misplaced)
        else:
            self._wait_for_token()

    def _wait_for_token(self) -> None:
        self._connection.greet()
        self._deadline = _Deadline(self)
        self._connection.hub.scheduler.call_later(self._control.deadline_s, self._deadline)
        self._ask("missing", self._control.deadline_s)

    def close(self) -> None:
        """Forget the session: the connection has closed."""
        self._control.leave(self)
        self._end_deadline()

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.access = None
            self._deadline = None

    def miss_deadline(self) -> None:
        """Close the connection: it has sent no credential in time."""
        self._deadline = None
        if not self.verifying:
            error = AuthenticationTimeout(f"no auth:token within {self._control.deadline_s:g} s")
            self._fail(error, None)

    # Messages.

    def admit(self, type: str, command: MessageSpec | None) -> MessageSpec | None:
        """Return the row of the command to run for a message of `type`; plain connections have one, `auth:token`.

        Args:
            type: The message's type.
            command: The command that a `tidings.v1` connection has of this type; None for an event.

        Raises:
            Unauthenticated: The connection has sent no credential yet.
        """
        if type == messages.AUTH_TOKEN:
            return messages.COMMANDS[type]
        if self.known is None and type != messages.PING:
            raise Unauthenticated(f"{type[:64]} needs a credential", hint="Send auth:token first.")
        return command

    def renew(self, command: Envelope, token: str) -> None:
        """Process `auth:token`."""
        self._connection.overhead_received(1)  # verifying a signature takes longer than most commands
        if self._connection.closing:
            return
        credential = Credential(token, "message")
        self._verify(credential, command, partial(self._token_verified, credential))

    def _verify(
        self,
        credential: Credential,
        command: Envelope | None,
        done: Callable[[Envelope | None, Subject | TidingsError], None],
        *,
        has_ticket: bool = False,
    ) -> None:
        self.verifying = True

        def verified(result: Subject | AccessError) -> None:
            self.verifying = False
            if not self._connection.closing:
                done(command, self._check_room(result))
                self._connection.publish_held()

        renews = has_ticket or self.known is not None
        self._control.authenticate(credential, self.request, verified, renews=renews)

    def _check_room(self, result: Subject | TidingsError) -> Subject | TidingsError:
        """Return the result of a verification, or the error that its subject has too many connections."""
        if self.known is None and isinstance(result, Subject):
            try:
                self._control.check_room(result)
            except TooManyRequests as error:
                return error
        return result

    def _handshake_verified(self, command: Envelope | None, result: Subject | TidingsError) -> None:
        if isinstance(result, Unauthenticated) and not self.credential.value and self._control.methods:
            self._wait_for_token()
            return
        if isinstance(result, TidingsError):
            self._connection.greet()
            self._fail(result, None)
            return
        self.known = result
        self._control.enter(self)
        self._record("accepted")
        self._connection.greet()
        self.everything = self._connection.identified(result)

    def _token_verified(self, credential: Credential, command: Envelope | None, result: Subject | TidingsError) -> None:
        before = self.known
        if isinstance(result, TidingsError):
            self._fail(result, command)
        elif before is not None and before.name != result.name:
            error = Forbidden(
                f"this connection belongs to {before.name!r}", hint="Open another connection for another subject."
            )
            self._record("refused", code=error.code)
            self._send(error_data(error), command)
        else:
            self.credential = credential
            self._replace(result, command)

    def _replace(self, subject: Subject, command: Envelope | None) -> None:
        first = self.known is None
        self.known = subject
        self._end_deadline()
        self._control.enter(self)
        if first:
            self._record("accepted")
        removed = [] if first else self._connection.change_grants(subject.grants, everything=self.everything)
        success = AuthSuccess(
            subject=subject.name,
            grants=subject.grants.names(),
            expires_at=subject.stated_expiry,
            removed=removed or None,
        )
        self._send(success, command)
        if first:
            self.everything = self._connection.identified(subject)
        elif self.everything:
            self._connection.follow_grants(subject.grants)

    def _fail(self, error: TidingsError, command: Envelope | None) -> None:
        self._send(AuthFailed(**structs.asdict(error_data(error))), command)
        row = row_of(error)
        self._record("refused" if self.known is None or row.recoverable else "ended", code=error.code)
        if self.known is None or not row.recoverable:
            # The close may wait until the log has the client's last events; until then it must not read others.
            self._connection.change_grants(NO_GRANTS, everything=False)
            self._connection.close_after_events(row.close or _DEFAULT_CLOSE, error.message)

    def _record(self, outcome: AuditOutcome, *, code: str | None = None) -> None:
        connection = self._connection
        connection.hub.audit.record(
            "connect",
            outcome,
            subject="" if self.known is None else self.known.name,
            address=self.request.address,
            transport="websocket",
            credential=self.credential.source if self.known is not None else None,
            connection_id=connection.connection_id,
            code=code,
        )

    def _ask(self, reason: str, deadline_s: float) -> None:
        self._connection.push(AuthRequired(methods=self._control.methods, reason=reason, deadline_s=deadline_s))

    def _send(self, data: Payload, command: Envelope | None) -> None:
        if command is None:
            self._connection.push(data)
        else:
            self._connection.reply(command, data)

    # Called by `AccessControl`; see `Session`.

    def reauthorized(self, subject: Subject) -> None:
        """See `AccessSession.reauthorized`."""
        self._replace(subject, None)

    def expiring(self, deadline_s: float) -> None:
        """See `AccessSession.expiring`."""
        self._ask("expiring", round(deadline_s, 3))

    def ended(self, error: AccessError) -> None:
        """See `AccessSession.ended`."""
        self._fail(error, None)


class _Deadline:
    """The timer of a connection without a credential; it keeps nothing of a connection that has closed."""

    __slots__ = ("access",)

    def __init__(self, access: ConnectionAccess) -> None:
        self.access: ConnectionAccess | None = access

    def __call__(self) -> None:
        if self.access is not None:
            self.access.miss_deadline()
