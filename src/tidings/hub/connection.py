"""One client's connection: messages in, frames out, and the rules for plain and `tidings.v1` connections.

A connection is independent of sockets: it writes to an `Outlet`, and the code that reads the socket calls `received`
and `closed`. The native WebSocket edge, the ASGI edge and the tests are three such callers.
"""

from collections.abc import Callable
from functools import partial

import structlog

from tidings.access.audit import AuditAction, AuditOutcome
from tidings.access.grants import Grants
from tidings.access.subjects import AccessRequest, Credential, Subject
from tidings.exceptions import (
    AccessError,
    BinaryMessage,
    ContractError,
    Forbidden,
    InvalidCommand,
    LogError,
    RateLimited,
    TidingsError,
)
from tidings.hub.commands import OPERATION_COMMANDS, Wait, run_command
from tidings.hub.connection_access import ConnectionAccess
from tidings.hub.connection_output import MAX_UNSENT_REPLY_BYTES, ConnectionOutput
from tidings.hub.connection_query import ConnectionOptions, parse_connection_query, show_query
from tidings.hub.hub import Hub
from tidings.hub.reading_rights import added_paths, apply_grants, form_for
from tidings.hub.refused_starts import RefusedStarts
from tidings.hub.subscription_reports import MAX_PENDING_SUBSCRIPTIONS, SubscriptionReports
from tidings.hub.type_notices import TypeNotices
from tidings.hub.wire import Outlet, WireForm, revise_form
from tidings.log.base import Outcome
from tidings.protocol import messages
from tidings.protocol.codes import row_of
from tidings.protocol.envelope import MAX_ID_CHARS, Envelope, decode_envelope, scan_labels
from tidings.protocol.messages import AUTH_TOKEN, COMMANDS, MessageSpec
from tidings.protocol.paths import PathSet
from tidings.protocol.payloads import ConnectionEstablished
from tidings.protocol.positions import NOW, Since
from tidings.protocol.revisions import REVISION, REVISIONS

log = structlog.get_logger("tidings.hub.connection")

_FORBIDDEN = 4003
"""Close code of a connection whose URL names paths that its subject may not read."""


class HubConnection(ConnectionOutput):
    """The hub's side of one client connection.

    Args:
        hub: The hub.
        outlet: Writes to the client.
        form: Wire form of events and messages.
        connection_id: Id of the connection in logs and in `connection:established`.
        versioned: Whether the subprotocol is `tidings.v1`, with ids, replies and positions.
        query: Query of the URL.
        scope: Namespace of the event ids that the client publishes; with authentication, that of the subject.
        credential: The credential of the handshake, None, or the reason why it is refused; used only where the hub
            identifies its clients.
        request: The handshake; used only where the hub identifies its clients.
    """

    __slots__ = (
        "_final_close",
        "_held",
        "_query",
        "_rates",
        "_reading",
        "_refused_starts",
        "_revision",
        "_subscriptions",
        "_type_notices",
        "_unacknowledged",
        "_unacknowledged_bytes",
        "_waits_for_events",
        "access",
        "client",
        "producer_id",
        "scope",
    )

    def __init__(
        self,
        hub: Hub,
        outlet: Outlet,
        form: WireForm,
        *,
        connection_id: str,
        versioned: bool,
        query: str = "",
        scope: str = "",
        client: str = "",
        credential: Credential | AccessError | None = None,
        request: AccessRequest | None = None,
    ) -> None:
        super().__init__(hub, outlet, form, connection_id=connection_id, versioned=versioned)
        self.scope = scope
        self.client = client
        """IP address of the client; "" where there is none."""
        self.producer_id = ""
        """The producer that is attached on this connection; "" without one."""
        self._subscriptions = SubscriptionReports(
            hub, outlet, form, versioned=versioned, push=self.push, on_pending=self.update_reading
        )
        self.subscriber = self._subscriptions.subscriber
        self._query: str | None = query
        self._type_notices = TypeNotices(hub.contract)
        self._revision = REVISIONS[REVISION]
        self._reading = True
        self._final_close: tuple[int, str, int | None] | None = None
        """Code, reason and time to reconnect of the close that waits until the events before it are settled."""
        self._held: list[bytes] = []
        """Messages that wait: for room in the stage, or until a credential is verified, and those behind them."""
        self._refused_starts: RefusedStarts | None = None  # made at its first use: most connections need none
        self._unacknowledged = 0
        self._unacknowledged_bytes = 0
        self._waits_for_events = False
        """Whether a command waits until the events before it are settled."""
        self._rates = hub.rates.connection()
        self.access: ConnectionAccess | None = None
        """The subject of the connection; None where the hub does not identify its clients."""
        if hub.access is not None:
            self.access = ConnectionAccess(self, hub.access, credential, request or AccessRequest())

    # Lifecycle.

    def opened(self) -> None:
        """Send `connection:established`, and subscribe to the paths in the URL as soon as the client may read them."""
        self.hub.delivery.open(self.subscriber)
        if self.access is not None:
            self.access.open()
            return
        options = self._greet()
        if options is not None:
            self._subscribe_as(options)

    def greet(self) -> None:
        """See `IdentifiedConnection.greet`."""
        self._greet()

    def _greet(self) -> ConnectionOptions | None:
        """Send `connection:established`; if the query of the URL is not valid, send an error, close and return None."""
        hub, access = self.hub, self.access
        query = self._query or ""
        options: ConnectionOptions | ContractError
        try:
            options = parse_connection_query(query, hub.contract.channels)
            self._use_revision(options.revision)
        except ContractError as error:
            options = error
        channels = hub.contract.channels
        self.push(
            ConnectionEstablished(
                connection_id=self.connection_id,
                contract=hub.contract.identities[self._revision.date],
                position=str(hub.log.position(hub.delivery.delivered)),
                now=hub.timestamp(),
                heartbeat_s=hub.config.heartbeat_s,
                channels=list(channels if access is None else access.grants.readable_channels(channels)),
                auth="none" if access is None else access.shown,
            ),
        )
        log.info(
            "connection opened",
            connection_id=self.connection_id,
            client=self.client,
            versioned=self.versioned,
            query=show_query(query),
        )
        if isinstance(options, ContractError):
            self.reject(options, None, logged="invalid query of the URL")
            self.close(1008, str(options))
            return None
        self.subscriber.pace_ms = options.pace_ms
        return options

    def _subscribe_as(self, options: ConnectionOptions) -> None:
        """Begin to serve: subscribe to the paths in the URL, if the license of the hub allows it."""
        self._query = None
        if self.hub.license is not None and not self.apply_license(self.hub.license):
            return
        if options.paths and (options.named or not self.versioned):
            self.subscribe(options.paths, options.since, None)

    def identified(self, subject: Subject) -> bool:
        """See `IdentifiedConnection.identified`."""
        grants = subject.grants
        self.scope = subject.scope
        self.subscriber.form = form_for(self.form, grants)
        options = parse_connection_query(self._query or "", self.hub.contract.channels, everything=grants.read.paths)
        try:
            grants.check_read(options.paths)
        except Forbidden as error:
            self.record("request", "refused", code=error.code, transport="websocket", type=messages.SUBSCRIBE)
            self.reject(error, None, logged="no grant to read paths in the URL")
            self.close(_FORBIDDEN, error.message)
        else:
            self._subscribe_as(options)
        return options.everything and (options.named or not self.versioned)

    def change_grants(self, grants: Grants, *, everything: bool) -> list[str]:
        """See `IdentifiedConnection.change_grants`."""
        return apply_grants(self.hub.delivery, self.subscriber, grants, self.form, everything=everything)

    def follow_grants(self, grants: Grants) -> None:
        """See `IdentifiedConnection.follow_grants`."""
        added = added_paths(self.subscriber, grants)
        if added:
            self.subscribe(added, NOW, None)

    def _use_revision(self, date: str) -> None:
        self._revision = REVISIONS[date]
        self.form = self.subscriber.form = revise_form(self.form, date)

    def closed(self) -> None:
        """Release the connection's resources after its socket has closed."""
        self.closing = True
        self._held.clear()
        self.hub.room.leave(self)
        self.hub.delivery.close(self.subscriber)
        self.hub.cancellations.withdraw(self)
        if self.producer_id:
            self.hub.leases.detach(self.producer_id, self)
        if self.access is not None:
            self.access.close()

    def drain(self, retry_after_ms: int) -> None:
        """See `RegisteredConnection.drain`."""
        self.close_after_events(4100, "the hub is shutting down", retry_after_ms=retry_after_ms)

    def close_after_events(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Read nothing more, and close once the events that the client sent before are in the log and answered."""
        if not self._unacknowledged:
            self.close(code, reason, retry_after_ms=retry_after_ms)
        elif self._final_close is None:
            self._final_close = code, reason, retry_after_ms
            self._held.clear()
            self.hub.room.leave(self)
            self.update_reading()

    def pause_writing(self) -> None:
        """Pause delivery, because the socket does not drain. May be called inside a write."""
        self.hub.delivery.pause(self.subscriber)

    def resume_writing(self) -> None:
        """Resume delivery, because the socket has drained."""
        self.unsent_reply_bytes = 0
        self.hub.delivery.resume(self.subscriber)
        self.update_reading()

    def send_heartbeat(self, position_frame: Callable[[WireForm, int], bytes]) -> None:
        """Send a heartbeat if the connection is idle; on `tidings.v1`, it carries the position to resume from.

        Args:
            position_frame: Returns the frame of `connection:position` at an offset, encoded once for all connections.
        """
        subscriber = self.subscriber
        if self.closing or subscriber.blocked:
            return
        lane = subscriber.lane
        if not self.versioned:
            self.outlet.ping()
        elif lane is None and subscriber.paths:
            return  # catching up: the events it reads are its heartbeat
        elif lane is None or not lane.wrote_within(self.hub.config.quiet_s, self.hub.clock.monotonic()):
            self.write(position_frame(self.form, self.hub.delivery.reached(subscriber)))

    # Messages in.

    def received(self, body: bytes) -> None:
        """Process one message: valid UTF-8 text of at most 256 KiB."""
        if self.closing or self._final_close is not None:
            return
        access = self.access
        if self._held or self._waits_for_events or (access is not None and access.verifying):
            self._held.append(body)
            self.update_reading()
            return
        try:
            envelope = decode_envelope(body)
        except ContractError as error:
            self.reject(error, scan_labels(body))
            return
        try:
            self._check_id(envelope)
            command = COMMANDS.get(envelope.type) if self.versioned else None
            if access is not None and (access.known is None or (command is None and envelope.type == AUTH_TOKEN)):
                command = access.admit(envelope.type, command)
            if command is not None:
                self._check_command_rate()
                self._run_in_order(envelope, command, body)
            else:
                self._publish(envelope, body)
        except TidingsError as error:
            self.reject(error, envelope)

    def _run_in_order(self, envelope: Envelope, command: MessageSpec, body: bytes) -> None:
        """Run a command; one about operations waits until the events before it are in the log, or rejected."""
        if command.name not in OPERATION_COMMANDS or not self.hub.staged:
            run_command(self, envelope, command, body)
        else:
            self.run_after(self.hub.after_staged, envelope, partial(run_command, self, envelope, command, body))

    def run_after(self, wait: Wait, command: Envelope, step: Callable[[], None]) -> None:
        """See `CommandConnection.run_after`."""
        self._waits_for_events = True
        wait(partial(self._run_waiting, command, step))

    def _run_waiting(self, envelope: Envelope, step: Callable[[], None]) -> None:
        self._waits_for_events = False
        if self.closing or self._final_close is not None:
            return
        try:
            step()
        except TidingsError as error:
            self.reject(error, envelope)
        self.publish_held()

    def hold_messages(self) -> None:
        """See `CommandConnection.hold_messages`."""
        self._waits_for_events = True

    def release_messages(self) -> None:
        """See `CommandConnection.release_messages`."""
        self._waits_for_events = False
        if self._held:
            self.hub.scheduler.call_soon(self.publish_held)  # after what follows from the answer

    def reject_binary(self, body: bytes) -> None:
        """Reject a binary message, and close the connection."""
        self.reject(BinaryMessage("invalid binary message: expected a text frame"), scan_labels(body))

    def _check_id(self, envelope: Envelope) -> None:
        if envelope.id is not None and self.versioned and not 1 <= len(envelope.id) <= MAX_ID_CHARS:
            raise InvalidCommand(f"$.id is {len(envelope.id)} characters long; 1–{MAX_ID_CHARS} are allowed")

    def _publish(self, envelope: Envelope, body: bytes) -> None:
        hub = self.hub
        if not self.may_publish():
            self._held.append(body)
            hub.room.wait(self)
            self.update_reading()
            return
        size = len(body)
        settled = partial(self._report_result, envelope, size)
        self._count_unacknowledged(1, size)
        try:
            if self._rates is not None:
                self._rates.check_event()
            if self._refused_starts:
                self._refused_starts.check(hub.contract.read(envelope, hub, body=body), hub.clock.monotonic())
            producer_id = self.producer_id
            scope = producer_id or self.scope
            access = self.access
            subject = None if access is None else access.known or access.subject
            hub.publish(envelope, settled, scope=scope, producer_id=producer_id, body=body, subject=subject)
        except TidingsError as error:
            self._count_unacknowledged(-1, -size)
            if isinstance(error, RateLimited):
                self._note_refused(envelope, error)
            elif isinstance(error, AccessError):
                self.record("publish", "refused", code=error.code, type=envelope.type)
            raise
        if envelope.type in hub.contract.deprecated:
            self.notify(self._type_notices.explain_deprecated(envelope.type, self._revision))
        too_many = self._unacknowledged >= hub.config.unacknowledged_events
        if too_many or self._unacknowledged_bytes >= hub.config.unacknowledged_bytes:
            self.update_reading()

    def _note_refused(self, envelope: Envelope, error: TidingsError) -> None:
        """Remember a start that may be sent again: what follows it is refused, too."""
        hub = self.hub
        self._refused_starts = self._refused_starts or RefusedStarts()
        self._refused_starts.add(hub.contract.read(envelope, hub), error, hub.clock.monotonic())

    def _check_command_rate(self) -> None:
        """Count a command.

        Raises:
            RateLimited: The connection, or its subject, sends too many.
        """
        if self._rates is not None:
            self._rates.check_command()
        subject = None if self.access is None else self.access.known
        if subject is not None:
            self.hub.rates.check_command(subject)

    def record(self, action: AuditAction, outcome: AuditOutcome, **facts: str | None) -> None:
        """See `CommandConnection.record`."""
        subject = "" if self.access is None else self.access.subject.name
        self.hub.audit.record(
            action, outcome, subject=subject, address=self.client, connection_id=self.connection_id, **facts
        )

    def _count_unacknowledged(self, events: int, size: int) -> None:
        before = self._unacknowledged
        self._unacknowledged += events
        self._unacknowledged_bytes += size
        if not before or not self._unacknowledged:
            self.hub.room.count_active(events)

    def may_publish(self) -> bool:
        """See `HeldPublisher.may_publish`."""
        return self.hub.room.admits(self._unacknowledged, self._unacknowledged_bytes)

    def publish_held(self) -> None:
        """See `HeldPublisher.publish_held`."""
        held, self._held = self._held, []
        for index, body in enumerate(held, 1):
            self.received(body)
            if self._held:  # no room for this one: what follows keeps its order
                self._held += held[index:]
                return
        self.update_reading()

    def _report_result(self, envelope: Envelope, size: int, result: Outcome) -> None:
        self._count_unacknowledged(-1, -size)
        if self.closing:
            return
        if not self._reading:
            self.update_reading()
        hub = self.hub
        if self._final_close is not None and not self._unacknowledged:
            hub.after_commit(self._close_finally)
        if isinstance(result, TidingsError):
            if isinstance(result, LogError) and row_of(result).recoverable:
                self._note_refused(envelope, result)
            elif isinstance(result, AccessError):
                self.record("publish", "refused", code=result.code, type=envelope.type)
            self.reject(result, envelope)
            return
        if not self.versioned or envelope.id is None:
            return
        body = messages.encode_accepted(
            str(hub.log.position(result.offset)),
            duplicate=result.duplicate,
            timestamp=hub.tick_timestamp(),
            trace_id=result.trace_id,
            reply_to=envelope.id,
            attempt=result.attempt,
        )
        self.write_reply(self.form.message(body))

    def _close_finally(self) -> None:
        if self._final_close is not None:
            self.flush_replies()
            code, reason, retry_after_ms = self._final_close
            self.close(code, reason, retry_after_ms=retry_after_ms)

    def update_reading(self) -> None:
        """Stop reading from a client with too much unacknowledged, unsent or held, and resume at half of the limits."""
        config = self.hub.config
        share = 1.0 if self._reading else 0.5
        may_read = (
            self._unacknowledged < config.unacknowledged_events * share
            and self._unacknowledged_bytes < config.unacknowledged_bytes * share
            and self.unsent_reply_bytes < MAX_UNSENT_REPLY_BYTES
            and self._subscriptions.pending < MAX_PENDING_SUBSCRIPTIONS * share
            and not self._held
            and self._final_close is None
        )
        if may_read is self._reading:
            return
        self._reading = may_read
        if may_read:
            self.outlet.resume_reading()
        else:
            self.outlet.pause_reading()

    # Commands.

    def subscribe(self, paths: PathSet, since: Since, command: Envelope | None) -> None:
        """See `CommandConnection.subscribe`; without a command, the paths come from the URL."""
        reply = self.push if command is None else partial(self.reply, command)
        self._subscriptions.subscribe(paths, since, reply)

    def notify_unavailable(self, type: str) -> None:
        """See `CommandConnection.notify_unavailable`."""
        self.notify(self._type_notices.explain_unavailable(type, self._revision))
