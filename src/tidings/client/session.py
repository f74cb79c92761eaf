"""One logical client over any number of connections, without I/O: messages in, items and messages out.

The clock is an argument, and nothing awaits. The owner of the socket calls `opened`, `received`, `lost` and, at
`next_deadline`, `tick`; it sends the messages of `take_outgoing`, and reads `state`.
"""

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec
from msgspec import Raw

from tidings.client.attachment import Attachment
from tidings.client.authentication import Authentication
from tidings.client.close_reason import CloseReason, read_close_reason
from tidings.client.cursor import Cursor
from tidings.client.decoding import read_event
from tidings.client.drafts import Draft
from tidings.client.events import AttachRefused, CancelAsked, Delivery, Gap, Item, LicenseEnded, PathsRemoved, Settled
from tidings.client.heartbeat import HeartbeatMonitor
from tidings.client.pending import (
    Command,
    PendingCancellations,
    encode_command,
    make_access_error,
    make_cancel_error,
    make_refusal,
)
from tidings.client.status import State
from tidings.contract.contract import Contract
from tidings.exceptions import (
    ClientError,
    ConnectionLost,
    Draining,
    Forbidden,
    InvalidPosition,
    InvalidTimestamp,
    NotAHub,
    UnknownType,
)
from tidings.protocol import messages
from tidings.protocol.envelope import Envelope
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import HUB_MESSAGES
from tidings.protocol.payloads import (
    AuthFailed,
    AuthRequired,
    AuthSuccess,
    ConnectionClosed,
    ConnectionEstablished,
    ErrorData,
    LicenseExpiredData,
    Payload,
)
from tidings.protocol.timestamps import to_nanoseconds

_decode_envelope = msgspec.json.Decoder(Envelope).decode

logger = logging.getLogger(__name__)

_SUBSCRIBE_ID = "subscribe"
_PING_ID = "ping"
_TOKEN_ID = "token"
_ANSWER_ID = "answer"
"""Id of answers to cancel requests. Without one, their refusal could be taken for that of an event."""


class Phase(Enum):
    """Progress of the session on its current connection."""

    DISCONNECTED = "disconnected"
    GREETING = "greeting"
    AUTHENTICATING = "authenticating"
    ATTACHING = "attaching"
    CATCHING_UP = "catching up"
    LIVE = "live"


class Session:
    """The state of one logical client.

    Args:
        contract: Event types known here.
        greeting_s: Seconds within which the hub must send `connection:established`.
        paths: Paths to read; without any, the session only publishes.
        since: Start of reading: `snapshot`, `now`, `first`, an RFC 3339 time or a position.
        handles: Event types that the client decodes; it needs the hub to have them.
        attachment: The producer that each connection attaches first; None if there is none.
    """

    def __init__(
        self,
        contract: Contract,
        *,
        greeting_s: float = 10.0,
        paths: Sequence[str] = (),
        since: str = "snapshot",
        handles: Sequence[str] = (),
        attachment: Attachment | None = None,
    ) -> None:
        self.phase = Phase.DISCONNECTED
        self.cursor = Cursor(paths, since)
        self.established: ConnectionEstablished | None = None
        """The hub's greeting on the latest connection; None before the first."""
        self.authentication = Authentication()
        self.cancellations = PendingCancellations()
        self.heartbeat = HeartbeatMonitor()
        self._contract = contract
        self._handles = list(handles) or None
        self._attachment = attachment
        self._greeting_s = greeting_s
        self._cancel_count = 0
        self._outgoing: deque[tuple[str, bytes]] = deque()
        self._closed: ConnectionClosed | None = None
        self._replaced = False
        self._established_at: float | None = None
        self._hub_clock: tuple[float, float] | None = None
        """Newest time that the hub sent, seconds since 1970, and when it arrived, on this clock."""
        self._opened_at = 0.0
        self._handlers: Mapping[str, Callable[[Envelope, Any], Sequence[Delivery]]] = {
            messages.SUBSCRIBED: self._on_subscribed,
            messages.LIVE: self._on_live,
            messages.GAP: self._on_gap,
            messages.POSITION: self._on_position,
            MessageType.CONNECTION_CLOSED: self._on_closed,
            messages.NOTICE: self._on_notice,
            messages.ERROR: self._on_error,
            messages.ACCEPTED: self._on_accepted,
            messages.CANCEL: self._on_cancel,
            messages.CANCEL_OUTCOME: self._on_cancel_outcome,
            messages.ATTACHED: self._on_attached,
            MessageType.AUTH_REQUIRED: self._on_auth_required,
            MessageType.AUTH_SUCCESS: self._on_auth_success,
            MessageType.AUTH_FAILED: self._on_auth_failed,
        }

    # The connection.

    def opened(self, now: float) -> None:
        """Note that a connection is open; nothing is sent before the hub's greeting."""
        self.phase = Phase.GREETING
        self._opened_at = now
        self._closed = None
        self.authentication.opened()
        self._established_at = None
        self.heartbeat.pinged = False

    def lost(self, code: int, reason: str) -> CloseReason:
        """Note that the connection ended with the WebSocket close code `code`; return the consequences."""
        notice, self._closed = self._closed, None
        refusal = self.authentication.take_refusal()
        greeted = self.phase is not Phase.GREETING
        self.phase = Phase.DISCONNECTED
        self._outgoing.clear()
        end = read_close_reason(code, reason, notice, greeted=greeted, replaced_before=self._replaced, refusal=refusal)
        self._replaced |= end.replaced
        return end

    def lasted(self, now: float) -> float:
        """Return the seconds since the hub's greeting on the latest connection; 0 if there was none."""
        return 0.0 if self._established_at is None else now - self._established_at

    # Time.

    def hub_time_s(self, now: float) -> float | None:
        """Return the time by the hub's clock, seconds since 1970; None before the first greeting."""
        if self._hub_clock is None:
            return None
        hub_s, arrived = self._hub_clock
        return hub_s + max(0.0, now - arrived)

    def _set_hub_clock(self, timestamp: str, now: float) -> None:
        with contextlib.suppress(InvalidTimestamp):
            self._hub_clock = to_nanoseconds(timestamp) / 1e9, now

    def state(self, now: float) -> State:
        """Return the state of the session."""
        if self.heartbeat.is_stale(now):
            return State.STALE
        if self.phase not in (Phase.CATCHING_UP, Phase.LIVE):
            return State.CONNECTING
        return State.LIVE if self.phase is Phase.LIVE else State.CATCHING_UP

    def next_deadline(self) -> float | None:
        """Return when `tick` must be called unless a message comes before."""
        if self.phase is Phase.GREETING:
            return self._opened_at + self._greeting_s
        return self.heartbeat.deadline(connected=self.phase is not Phase.DISCONNECTED)

    def tick(self, now: float) -> ClientError | None:
        """Handle the passing of time; return the error for which the connection must be given up, or None."""
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return None
        if self.phase is Phase.GREETING:
            return NotAHub(f"no greeting within {self._greeting_s:g} s: the server is not a tidings hub")
        if self.heartbeat.pinged:
            return ConnectionLost(f"the hub has been silent for {self.heartbeat.silence_s(now):.3g} s")
        # The session is stale from now on; if it is connected, a ping lets the hub prove that it is alive.
        self.heartbeat.pinged = True
        if self.phase is not Phase.DISCONNECTED:
            self._command(messages.Nothing(), _PING_ID)
        return None

    # Messages out.

    @property
    def ready(self) -> bool:
        """Whether events can be published: the hub has greeted this connection, and attached its producer if any."""
        return self.phase in (Phase.CATCHING_UP, Phase.LIVE)

    def publish(self, draft: Draft, id: str) -> None:
        """Send an event on this connection, which must be `ready`; it is not sent again on the next.

        Args:
            draft: The event.
            id: The id of the command, which `Settled` will name: a number, unlike the ids of other commands.
        """
        self._outgoing.append(
            (
                id,
                encode_command(
                    Command(
                        type=draft.type,
                        timestamp=draft.timestamp,
                        trace_id=draft.trace_id,
                        data=draft.data,
                        channel=draft.channel,
                        id=id,
                        event_id=draft.event_id,
                    )
                ),
            )
        )

    def withdraw(self, id: str) -> None:
        """Do not send the event `id`, if it has not been sent yet."""
        self._outgoing = deque(message for message in self._outgoing if message[0] != id)

    def cancel(self, request: messages.Cancel, now: float) -> str:
        """Send `request`, again after every reconnect until the hub answers; return its id."""
        self._cancel_count += 1
        id = f"cancel-{self._cancel_count}"
        self.cancellations.add(id, request, now)
        if self.ready:
            self._command(request, id)
        return id

    def answer_cancel(self, push_id: str, answer: messages.CancelAnswer) -> None:
        """Answer the push `push_id`; if this connection is lost, the hub pushes it again on the next."""
        if self.phase is not Phase.DISCONNECTED:
            data = Raw(msgspec.json.encode(answer))
            command = Command(type=messages.CANCEL_ANSWER, data=data, id=_ANSWER_ID, reply_to=push_id)
            self._outgoing.append((_ANSWER_ID, encode_command(command)))

    def claim(self, claims: Sequence[messages.Claim]) -> None:
        """Claim more operations on this connection; does nothing before the producer is attached."""
        if self._attachment is not None and self.ready:
            self._attach(self._attachment.claim(claims))

    def send_token(self, token: str) -> None:
        """Send a token on this connection, ahead of what waits; does nothing while there is none."""
        if self.phase not in (Phase.DISCONNECTED, Phase.GREETING):
            data = Raw(msgspec.json.encode(messages.AuthToken(token=token)))
            command = Command(type=messages.AUTH_TOKEN, data=data, id=_TOKEN_ID)
            self._outgoing.appendleft((_TOKEN_ID, encode_command(command)))

    def take_outgoing(self) -> bytes | None:
        """Return the next message to send, or None if there is none."""
        return self._outgoing.popleft()[1] if self._outgoing else None

    def _command(self, data: Payload, id: str) -> None:
        command = Command(type=messages.name_of(data), data=Raw(msgspec.json.encode(data)), id=id)
        self._outgoing.append((id, encode_command(command)))

    # Messages in.

    def received(self, body: bytes, now: float) -> Sequence[Delivery]:
        """Handle one message and return its content for the owner.

        Raises:
            NotAHub: A hub does not send such a message.
            CommandRefused: The hub refuses the subscription; if that is recoverable, a new connection may help.
        """
        self.heartbeat.received(now)
        try:
            envelope = _decode_envelope(body)
            # A hub that is opening its log sends no greeting, but gives the reason when it closes.
            if self.phase is Phase.GREETING and envelope.type != MessageType.CONNECTION_CLOSED:
                self._greeted(envelope, now)
                return ()
            # Only events in the log have a channel.
            if envelope.channel is not None and envelope.position is not None:
                return self._on_event(envelope, envelope.channel, envelope.position)
            handler = self._handlers.get(envelope.type)
            if handler is None:
                return (_read_license_notice(envelope),) if envelope.type == MessageType.LICENSE_EXPIRED else ()
            return handler(envelope, HUB_MESSAGES[envelope.type].decode(envelope.data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
            raise NotAHub(f"the server does not speak tidings: {cause}") from cause

    def _greeted(self, envelope: Envelope, now: float) -> None:
        if envelope.type != MessageType.CONNECTION_ESTABLISHED:
            raise NotAHub(f"the server does not speak tidings: its first message is {envelope.type[:64]!r}")
        self.established = msgspec.json.decode(envelope.data, type=ConnectionEstablished)
        self._established_at = now
        self._set_hub_clock(self.established.now, now)
        self.heartbeat.heartbeat_s = self.established.heartbeat_s
        if self.authentication.greeted(self.established.auth):
            self._admitted(now)
        else:
            self.phase = Phase.AUTHENTICATING

    def _admitted(self, now: float) -> None:
        for id, request in self.cancellations.due(now):
            self._command(request, id)
        if self._attachment is None:
            self._begin()
        else:
            self.phase = Phase.ATTACHING
            self._attach(self._attachment.begin())

    def _attach(self, attaching: Sequence[tuple[str, messages.Attach]]) -> None:
        for id, attach in attaching:
            self._command(attach, id)

    def _begin(self) -> None:
        if self.cursor.paths:
            self.phase = Phase.CATCHING_UP
            self._subscribe()
        else:
            self.phase = Phase.LIVE

    def _subscribe(self) -> None:
        cursor = self.cursor
        self._command(
            messages.Subscribe(channels=list(cursor.paths), since=cursor.since, handles=self._handles),
            _SUBSCRIBE_ID,
        )

    def _on_event(self, envelope: Envelope, channel: str, position: str) -> Sequence[Item]:
        if not self.cursor.received(position):
            return ()
        return (read_event(self._contract, envelope, channel, position),)

    def _on_subscribed(self, envelope: Envelope, data: messages.Subscribed) -> Sequence[Item]:
        self.cursor.subscribed(data)
        return ()

    def _on_live(self, envelope: Envelope, data: messages.Live) -> Sequence[Item]:
        self.phase = Phase.LIVE
        return (self.cursor.live(data),)

    def _on_gap(self, envelope: Envelope, data: messages.Gap) -> Sequence[Item]:
        self.cursor.outcome = "gap"
        return (Gap(after=data.after, until=data.until, reason=data.reason),)

    def _on_position(self, envelope: Envelope, data: messages.PositionNotice) -> Sequence[Item]:
        if self.heartbeat.last_received is not None:
            self._set_hub_clock(data.now, self.heartbeat.last_received)
        # Before that it is the head of the log, up to which this connection has not been read yet.
        if self.phase is Phase.LIVE:
            self.cursor.moved(data.position)
        return ()

    def _on_closed(self, envelope: Envelope, data: ConnectionClosed) -> Sequence[Item]:
        self._closed = data
        return ()

    def _on_auth_required(self, envelope: Envelope, asked: AuthRequired) -> Sequence[Delivery]:
        self.authentication.asked(asked, inside=self.phase is not Phase.AUTHENTICATING)
        return ()

    def _on_auth_success(self, envelope: Envelope, data: AuthSuccess) -> Sequence[Delivery]:
        removed = self.authentication.succeeded(data)
        if self.phase is Phase.AUTHENTICATING:
            self._admitted(self.heartbeat.last_received or 0.0)
            return ()
        if not removed:
            return ()
        self.cursor.remove(removed)
        if not self.cursor.paths:
            raise Forbidden(f"the right to read {', '.join(removed[:10])} was withdrawn")
        return (PathsRemoved(paths=tuple(removed), remaining=self.cursor.paths),)

    def _on_auth_failed(self, envelope: Envelope, data: AuthFailed) -> Sequence[Delivery]:
        self.authentication.failed(data, inside=self.phase is not Phase.AUTHENTICATING)
        return ()

    def _on_accepted(self, envelope: Envelope, data: messages.Accepted) -> Sequence[Settled]:
        return (Settled(envelope.reply_to or "", data),)

    def _on_attached(self, envelope: Envelope, data: messages.Attached) -> Sequence[Delivery]:
        return (data,) if self._attach_settled(envelope.reply_to or "", refused=False) else ()

    def _attach_settled(self, id: str, *, refused: bool) -> bool:
        attachment = self._attachment
        if attachment is None or not attachment.settle(id, refused=refused):
            return False
        if self.phase is Phase.ATTACHING and attachment.complete:
            self._begin()
        return True

    def _on_cancel(self, envelope: Envelope, data: messages.CancelPush) -> Sequence[Delivery]:
        return (CancelAsked(envelope.id, data),) if envelope.id else ()

    def _on_cancel_outcome(self, envelope: Envelope, data: messages.CancelOutcome) -> Sequence[Delivery]:
        id = envelope.reply_to or ""
        if self.cancellations.settle(id) is None:
            return ()
        return (Settled(id, data),)

    def _on_notice(self, envelope: Envelope, notice: messages.Notice) -> Sequence[Delivery]:
        if notice.code == UnknownType.code and self._handles:
            raise UnknownType(notice.message, type="", hint=notice.hint)
        logger.warning("notice from the hub: %s. %s", notice.message, notice.hint)
        return ()

    def _on_error(self, envelope: Envelope, error: ErrorData) -> Sequence[Delivery]:
        id = envelope.reply_to or ""
        if id == _SUBSCRIBE_ID:
            if error.code == InvalidPosition.code and self.cursor.position is not None:
                self.cursor.outcome = "gap"
                after = self.cursor.lose_position()
                self._subscribe()
                return (Gap(after=after, until="", reason="position refused"),)
            raise make_access_error(error.code, error.message, error.hint or "") or make_refusal(error)
        # A draining hub has stored nothing and closes the connection: the next one carries the command again.
        if error.code == Draining.code:
            return ()
        if id == _TOKEN_ID:
            if not self.authentication.refused(error):
                logger.warning("the hub does not read the token: %s", error.message)
            return ()
        if id == _ANSWER_ID:
            logger.warning("the hub refuses the answer to a cancel request: %s", error.message)
            return ()
        if not id and self.phase is Phase.ATTACHING and self._attachment is not None:
            id = self._attachment.oldest  # no other command is answered before these
        if self._attach_settled(id, refused=True):
            return (AttachRefused(make_refusal(error)),)
        if (request := self.cancellations.settle(id)) is not None:
            return (Settled(id, make_cancel_error(error, request)),)
        if not id and self.cursor.paths:
            if self.phase is Phase.CATCHING_UP:
                raise make_refusal(error)  # the subscription is the only command so far
            return ()
        return (Settled(id, make_refusal(error)),)


def _read_license_notice(envelope: Envelope) -> LicenseEnded:
    """Log and return that the hub's license has expired: a hub sends it to each client that joins, beside its event."""
    data = msgspec.json.decode(envelope.data, type=LicenseExpiredData)
    logger.warning("the license of the hub has expired: %s. %s", data.message, data.hint)
    return LicenseEnded(data=data)
