"""The messages of one connection besides events: replies, pushes, refusals, and its close."""

from abc import abstractmethod

import structlog
from msgspec import to_builtins

from tidings.exceptions import AbusiveClient, LicenseExpired, Overloaded, RateLimited, TidingsError
from tidings.hub.hub import Hub
from tidings.hub.interfaces import LICENSE_EXPIRED_CLOSE, HubLicense
from tidings.hub.lanes import Subscriber
from tidings.hub.outbound_budget import WRITE_OVERHEAD_BYTES
from tidings.hub.rate_limits import OverheadLimit
from tidings.hub.wire import Outlet, WireForm
from tidings.protocol import messages
from tidings.protocol.codes import CLOSE_CODES, error_data, row_of
from tidings.protocol.envelope import MAX_ID_CHARS, Envelope, encode_message, usable_trace_id
from tidings.protocol.payloads import ConnectionClosed, Payload

MAX_UNSENT_REPLY_BYTES = 1 << 20
"""Unsent reply bytes to a client that does not read, beyond which the hub stops reading from that client."""

log = structlog.get_logger("tidings.hub.connection")


class ConnectionOutput:
    """The messages to one client. A base class, not a part: an idle connection takes less memory as one object.

    Args:
        hub: The hub.
        outlet: Writes to the client.
        form: Wire form of messages.
        connection_id: Id of the connection in logs and in `connection:established`.
        versioned: Whether the subprotocol is `tidings.v1`, with ids, replies and positions.
    """

    __slots__ = (
        "_overhead",
        "_replies",
        "closing",
        "connection_id",
        "form",
        "hub",
        "outlet",
        "subscriber",
        "unsent_reply_bytes",
        "versioned",
    )

    def __init__(self, hub: Hub, outlet: Outlet, form: WireForm, *, connection_id: str, versioned: bool) -> None:
        self.hub = hub
        self.outlet = outlet
        self.form = form
        self.connection_id = connection_id
        self.versioned = versioned
        self.closing = False
        self.subscriber: Subscriber
        self.unsent_reply_bytes = 0
        self._replies: list[bytes] = []
        self._overhead: OverheadLimit | None = None  # made at its first use: most connections never need it

    @abstractmethod
    def update_reading(self) -> None:
        """Stop reading from a client with too much unacknowledged, unsent or held, and resume at half of the limits."""

    @abstractmethod
    def close_after_events(self, code: int, reason: str) -> None:
        """Close because of a message of the client, once the events that it sent before are in the log and answered."""

    def apply_license(self, license: HubLicense) -> bool:
        """Report an expired license to a client that joins, or close; return whether it may read."""
        try:
            license.check_read()
        except LicenseExpired as error:
            self.close(LICENSE_EXPIRED_CLOSE, error.message, retry_after_ms=error.retry_after_ms)
            return False
        notice = license.notice()
        if notice is not None:
            self.write(self.form.message(notice))
        return True

    # The end.

    def close(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Send `connection:closed` with the reason, and close."""
        if self.closing:
            return
        self.hub.delivery.close(self.subscriber)
        row = CLOSE_CODES.get(code)
        reconnect = row is not None and row.reconnect
        self.push(ConnectionClosed(code=code, reason=reason, reconnect=reconnect, retry_after_ms=retry_after_ms))
        self.closing = True
        self.outlet.close(code, reason)

    def overloaded(self) -> None:
        """Close the connection: what it has sent and not completed exceeds the memory for all connections."""
        if not self.closing:
            log.warning(
                "connection dropped: the budget for incomplete messages is used", connection_id=self.connection_id
            )
            self.reject(Overloaded("the incomplete messages of all connections exceed the hub's memory for them"), None)

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
            self.reject(AbusiveClient("too many refused messages, Pings or small fragments"), None)

    # Messages.

    def push(self, data: Payload, *, trace_id: str | None = None, reply_to: str | None = None) -> None:
        """Send a message; without `reply_to`, one that answers nothing."""
        hub = self.hub
        body = messages.encode_hub_message(
            data, timestamp=hub.timestamp(), trace_id=trace_id or hub.mint(), reply_to=reply_to
        )
        self.write(self.form.message(body))

    def reply(self, command: Envelope, data: Payload) -> None:
        """See `CommandConnection.reply`."""
        self.push(data, trace_id=usable_trace_id(command), reply_to=command.id if self.versioned else None)

    def reject(self, error: TidingsError, envelope: Envelope | None, *, logged: str = "") -> None:
        """Send an error about a message or the connection, and close where the table of codes has a close code.

        Args:
            error: The error.
            envelope: The message that it is about.
            logged: Text for the log in place of that of `error`, which may repeat a secret of the URL.
        """
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
                error=logged or str(error),
                trace_id=trace_id,
                not_logged=hub.refusal_log.take_suppressed(),
            )
        data: object = error_data(error)
        if isinstance(error, RateLimited):
            data = {**to_builtins(data), "retry_after_ms": error.retry_after_ms}
        body = encode_message(
            messages.ERROR, data, timestamp=hub.tick_timestamp(), trace_id=trace_id, reply_to=reply_to
        )
        self.write_reply(self.form.message(body))
        row = row_of(error)
        if row.close is not None:
            self.close_after_events(row.close, error.message)
        elif not row.recoverable or isinstance(error, RateLimited):
            self.overhead_received(1)

    def push_cancel(self, push_id: str, push: messages.CancelPush) -> None:
        """See `LeaseHolder.push_cancel`."""
        hub = self.hub
        life = hub.operations.life(push.operation_id)
        trace_id = hub.mint() if life is None else life.trace_id
        body = messages.encode_hub_message(push, timestamp=hub.timestamp(), trace_id=trace_id, id=push_id)
        self.write(self.form.message(body))

    def notify(self, notice: messages.Notice | None) -> None:
        """Send a notice, if there is one."""
        if notice is not None:
            self.push(notice)

    # Frames.

    def write_reply(self, frame: bytes) -> None:
        """Write a reply; the replies to the events of one batch go out in one write."""
        if not self.hub.committing:
            self.write(frame)
            return
        if not self._replies:
            self.hub.after_commit(self.flush_replies)
        self._replies.append(frame)

    def flush_replies(self) -> None:
        """Write the replies to the events of the batch."""
        frames = b"".join(self._replies)
        self._replies.clear()
        if frames:
            self.write(frames)

    def write(self, frames: bytes) -> None:
        """Write frames, and count them while the client does not read."""
        if self.closing:
            return
        self.outlet.write(frames)
        if self.subscriber.blocked:
            self.hub.delivery.outbound.add_unsent(self.subscriber, len(frames))
            self.unsent_reply_bytes += len(frames) + WRITE_OVERHEAD_BYTES
            if self.unsent_reply_bytes >= MAX_UNSENT_REPLY_BYTES:
                self.update_reading()
