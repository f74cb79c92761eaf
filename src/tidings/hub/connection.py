"""One client's connection: messages in, frames out, and the rules for plain and `tidings.v1` connections.

A connection is independent of sockets: it writes to an `Outlet`, and the code that reads the socket calls `received`
and `closed`. The native WebSocket edge, the ASGI edge and the tests are three such callers.
"""

from collections.abc import Callable
from functools import partial

import structlog

from tidings.exceptions import BinaryMessage, ContractError, InvalidCommand, Overloaded, RateLimited, TidingsError
from tidings.hub.commands import run_command
from tidings.hub.connection_query import ConnectionOptions, parse_connection_query
from tidings.hub.hub import Hub
from tidings.hub.outbound_budget import WRITE_OVERHEAD_BYTES
from tidings.hub.rate_limits import OverheadLimit
from tidings.hub.refused_starts import RefusedStarts
from tidings.hub.staging import PublishResult
from tidings.hub.subscription_reports import MAX_PENDING_SUBSCRIPTIONS, SubscriptionReports
from tidings.hub.type_notices import TypeNotices
from tidings.hub.wire import Outlet, WireForm, revise_form
from tidings.protocol import messages
from tidings.protocol.codes import CLOSE_CODES, error_data, row_of
from tidings.protocol.envelope import MAX_ID_CHARS, Envelope, decode_envelope, scan_labels, usable_trace_id
from tidings.protocol.messages import COMMANDS
from tidings.protocol.paths import PathSet
from tidings.protocol.payloads import ConnectionClosed, ConnectionEstablished, Payload
from tidings.protocol.positions import Since
from tidings.protocol.revisions import REVISION, REVISIONS
from tidings.redaction import redact_text

MAX_UNSENT_REPLY_BYTES = 1 << 20
"""Unsent reply bytes to a client that does not read, beyond which the hub stops reading from that client."""

log = structlog.get_logger("tidings.hub.connection")


class HubConnection:
    """The hub's side of one client connection.

    Args:
        hub: The hub.
        outlet: Writes to the client.
        form: Wire form of events and messages.
        connection_id: Id of the connection in logs and in `connection:established`.
        versioned: Whether the subprotocol is `tidings.v1`, with ids, replies and positions.
        query: Query of the URL.
        scope: Namespace of the event ids that the client publishes.
    """

    __slots__ = (
        "_final_close",
        "_held",
        "_overhead",
        "_query",
        "_reading",
        "_refused_starts",
        "_replies",
        "_revision",
        "_subscriptions",
        "_type_notices",
        "_unacknowledged",
        "_unacknowledged_bytes",
        "_unsent_reply_bytes",
        "client",
        "closing",
        "connection_id",
        "form",
        "hub",
        "outlet",
        "producer_id",
        "scope",
        "subscriber",
        "versioned",
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
    ) -> None:
        self.hub = hub
        self.outlet = outlet
        self.form = form
        self.connection_id = connection_id
        self.versioned = versioned
        self.scope = scope
        self.client = client
        """IP address of the client; "" where there is none."""
        self.producer_id = ""
        """The producer that is attached on this connection; "" without one."""
        self.closing = False
        self._subscriptions = SubscriptionReports(
            hub, outlet, form, versioned=versioned, push=self._push, on_pending=self._update_reading
        )
        self.subscriber = self._subscriptions.subscriber
        self._query: str | None = query
        self._replies: list[bytes] = []
        self._type_notices = TypeNotices(hub.contract)
        self._revision = REVISIONS[REVISION]
        self._reading = True
        self._final_close: tuple[int, str] | None = None
        """Code and reason of the close that waits until the events before it are settled."""
        self._held: list[bytes] = []
        """Messages that wait for room in the stage: the event that found none, and what an edge delivered after it."""
        # Made at their first use: most connections need neither.
        self._refused_starts: RefusedStarts | None = None
        self._overhead: OverheadLimit | None = None
        self._unacknowledged = 0
        self._unacknowledged_bytes = 0
        self._unsent_reply_bytes = 0

    # Lifecycle.

    def opened(self) -> None:
        """Send `connection:established` and subscribe to the paths in the URL."""
        hub = self.hub
        hub.delivery.open(self.subscriber)
        query, self._query = self._query or "", None
        options: ConnectionOptions | ContractError
        try:
            options = parse_connection_query(query, hub.contract.channels)
            self._use_revision(options.revision)
        except ContractError as error:
            options = error
        self._push(
            ConnectionEstablished(
                connection_id=self.connection_id,
                contract=hub.contract.identities[self._revision.date],
                position=str(hub.log.position(hub.delivery.delivered)),
                now=hub.timestamp(),
                heartbeat_s=hub.config.heartbeat_s,
                channels=list(hub.contract.channels),
                auth="none",
            ),
        )
        log.info(
            "connection opened",
            connection_id=self.connection_id,
            client=self.client,
            versioned=self.versioned,
            query=redact_text(query),
        )
        if isinstance(options, ContractError):
            self._reject(options, None)
            self.close(1008, str(options))
            return
        self.subscriber.pace_ms = options.pace_ms
        if options.paths and (options.named or not self.versioned):
            self.subscribe(options.paths, options.since, None)

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

    def close(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Send `connection:closed` with the reason, and close."""
        if self.closing:
            return
        self.hub.delivery.close(self.subscriber)
        row = CLOSE_CODES.get(code)
        reconnect = row is not None and row.reconnect
        self._push(ConnectionClosed(code=code, reason=reason, reconnect=reconnect, retry_after_ms=retry_after_ms))
        self.closing = True
        self.outlet.close(code, reason)

    def close_after_events(self, code: int, reason: str) -> None:
        """Close because of a message of the client, once the events that it sent before are in the log and answered."""
        if not self._unacknowledged:
            self.close(code, reason)
        elif self._final_close is None:
            self._final_close = code, reason
            self._held.clear()
            self.hub.room.leave(self)
            self._update_reading()

    def pause_writing(self) -> None:
        """Pause delivery, because the socket does not drain. May be called inside a write."""
        self.hub.delivery.pause(self.subscriber)

    def resume_writing(self) -> None:
        """Resume delivery, because the socket has drained."""
        self._unsent_reply_bytes = 0
        self.hub.delivery.resume(self.subscriber)
        self._update_reading()

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
            self._write(position_frame(self.form, self.hub.delivery.reached(subscriber)))

    # Messages in.

    def received(self, body: bytes) -> None:
        """Process one message: valid UTF-8 text of at most 256 KiB."""
        if self.closing or self._final_close is not None:
            return
        if self._held:
            self._held.append(body)
            return
        try:
            envelope = decode_envelope(body)
        except ContractError as error:
            self._reject(error, scan_labels(body))
            return
        try:
            self._check_id(envelope)
            command = COMMANDS.get(envelope.type) if self.versioned else None
            if command is not None:
                run_command(self, envelope, command, body)
            else:
                self._publish(envelope, body)
        except TidingsError as error:
            self._reject(error, envelope)

    def reject_binary(self, body: bytes) -> None:
        """Reject a binary message, and close the connection."""
        self._reject(BinaryMessage("invalid binary message: expected a text frame"), scan_labels(body))

    def overloaded(self) -> None:
        """Close the connection: what it has sent and not completed exceeds the memory for all connections."""
        if not self.closing:
            log.warning(
                "connection dropped: the budget for incomplete messages is used", connection_id=self.connection_id
            )
            self._reject(
                Overloaded("the incomplete messages of all connections exceed the hub's memory for them"), None
            )

    def overhead_received(self, count: int) -> None:
        """Count control frames, small fragments or refused messages, which cost the hub time and bring it nothing.

        Beyond the limit, the connection is closed.
        """
        if self.closing:
            return
        now = self.hub.clock.monotonic()
        if self._overhead is None:
            self._overhead = OverheadLimit(now)
        if not self._overhead.allows(count, now):
            self._reject(RateLimited("too many refused messages, Pings or small fragments"), None)

    def _check_id(self, envelope: Envelope) -> None:
        if envelope.id is not None and self.versioned and not 1 <= len(envelope.id) <= MAX_ID_CHARS:
            raise InvalidCommand(f"$.id is {len(envelope.id)} characters long; 1–{MAX_ID_CHARS} are allowed")

    def _publish(self, envelope: Envelope, body: bytes) -> None:
        hub = self.hub
        if not self.may_publish():
            self._held.append(body)
            hub.room.wait(self)
            self._update_reading()
            return
        size = len(body)
        settled = partial(self._report_result, envelope, size)
        self._count_unacknowledged(1, size)
        try:
            if self._refused_starts:
                self._refused_starts.check(hub.contract.read(envelope, hub, body=body), hub.clock.monotonic())
            producer_id = self.producer_id
            scope = producer_id or self.scope
            hub.publish(envelope, settled, scope=scope, producer_id=producer_id, body=body)
        except TidingsError:
            self._count_unacknowledged(-1, -size)
            raise
        if envelope.type in hub.contract.deprecated:
            self._notify(self._type_notices.explain_deprecated(envelope.type, self._revision))
        too_many = self._unacknowledged >= hub.config.unacknowledged_events
        if too_many or self._unacknowledged_bytes >= hub.config.unacknowledged_bytes:
            self._update_reading()

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
        self._update_reading()

    def _report_result(self, envelope: Envelope, size: int, result: PublishResult | TidingsError) -> None:
        self._count_unacknowledged(-1, -size)
        if self.closing:
            return
        if not self._reading:
            self._update_reading()
        hub = self.hub
        if self._final_close is not None and not self._unacknowledged:
            hub.after_commit(self._close_finally)
        if isinstance(result, TidingsError):
            if row_of(result).recoverable:
                self._refused_starts = self._refused_starts or RefusedStarts()
                self._refused_starts.add(hub.contract.read(envelope, hub), result, hub.clock.monotonic())
            self._reject(result, envelope)
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
        self._write_reply(self.form.message(body))

    def _close_finally(self) -> None:
        if self._final_close is not None:
            self._flush_replies()
            self.close(*self._final_close)

    def _write_reply(self, frame: bytes) -> None:
        """Write a reply; the replies to the events of one batch go out in one write."""
        if not self.hub.committing:
            self._write(frame)
            return
        if not self._replies:
            self.hub.after_commit(self._flush_replies)
        self._replies.append(frame)

    def _flush_replies(self) -> None:
        frames = b"".join(self._replies)
        self._replies.clear()
        if frames:
            self._write(frames)

    def _update_reading(self) -> None:
        """Stop reading from a client with too much unacknowledged, unsent or held, and resume at half of the limits."""
        config = self.hub.config
        share = 1.0 if self._reading else 0.5
        may_read = (
            self._unacknowledged < config.unacknowledged_events * share
            and self._unacknowledged_bytes < config.unacknowledged_bytes * share
            and self._unsent_reply_bytes < MAX_UNSENT_REPLY_BYTES
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
        reply = self._push if command is None else partial(self.reply, command)
        self._subscriptions.subscribe(paths, since, reply)

    def notify_unavailable(self, type: str) -> None:
        """See `CommandConnection.notify_unavailable`."""
        self._notify(self._type_notices.explain_unavailable(type, self._revision))

    def _notify(self, notice: messages.Notice | None) -> None:
        if notice is not None:
            self._push(notice)

    def push_cancel(self, push_id: str, push: messages.CancelPush) -> None:
        """See `LeaseHolder.push_cancel`."""
        hub = self.hub
        life = hub.life(push.operation_id)
        trace_id = hub.mint() if life is None else life.trace_id
        body = messages.encode_hub_message(push, timestamp=hub.timestamp(), trace_id=trace_id, id=push_id)
        self._write(self.form.message(body))

    # Messages out.

    def _reject(self, error: TidingsError, envelope: Envelope | None) -> None:
        hub = self.hub
        trace_id = usable_trace_id(envelope) or hub.mint()
        reply_to = envelope.id if envelope is not None and self.versioned else None
        if reply_to is not None and not 1 <= len(reply_to) <= MAX_ID_CHARS:
            reply_to = None
        if hub.refusal_log.allows(hub.clock.monotonic()):
            log.info(
                "message refused",
                connection_id=self.connection_id,
                code=error.code,
                error=str(error),
                trace_id=trace_id,
                not_logged=hub.refusal_log.take_suppressed(),
            )
        body = messages.encode_hub_message(
            error_data(error), timestamp=hub.tick_timestamp(), trace_id=trace_id, reply_to=reply_to
        )
        self._write_reply(self.form.message(body))
        row = row_of(error)
        if row.close is not None:
            self.close_after_events(row.close, error.message)
        elif not row.recoverable:
            self.overhead_received(1)

    def reply(self, command: Envelope, data: Payload) -> None:
        """See `CommandConnection.reply`."""
        self._push(data, trace_id=usable_trace_id(command), reply_to=command.id)

    def _push(self, data: Payload, *, trace_id: str | None = None, reply_to: str | None = None) -> None:
        hub = self.hub
        body = messages.encode_hub_message(
            data, timestamp=hub.timestamp(), trace_id=trace_id or hub.mint(), reply_to=reply_to
        )
        self._write(self.form.message(body))

    def _write(self, frames: bytes) -> None:
        if self.closing:
            return
        self.outlet.write(frames)
        if self.subscriber.blocked:
            self.hub.delivery.outbound.add_unsent(self.subscriber, len(frames))
            self._unsent_reply_bytes += len(frames) + WRITE_OVERHEAD_BYTES
            if self._unsent_reply_bytes >= MAX_UNSENT_REPLY_BYTES:
                self._update_reading()
