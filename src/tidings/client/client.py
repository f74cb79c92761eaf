"""The client: `async with tidings.connect() as client`."""

from collections.abc import Generator
from types import TracebackType
from typing import Any, Literal, TypeVar, overload

import msgspec
from msgspec import Struct

from tidings.client.drafts import PayloadLike, make_draft
from tidings.client.events import Notice, ReceivedEvent, TypedEvent
from tidings.client.link import Link
from tidings.client.options import LinkOptions, OnChange
from tidings.client.pending import make_access_error
from tidings.client.publish_queue import WindowLimits
from tidings.client.publisher import Publisher
from tidings.client.receive_buffer import BufferLimits
from tidings.client.status import State, Status
from tidings.client.tokens import Token, find_token_source
from tidings.client.url import resolve_hub_url
from tidings.client.watch import Watch, WatchOptions, resolve_subscription
from tidings.contract.contract import Contract
from tidings.exceptions import ClientError, CommandRefused, ConfigError, InvalidCommand
from tidings.protocol.envelope import parse_validation_error
from tidings.protocol.messages import Accepted, Cancel, CancelOutcome
from tidings.protocol.paths import check_key
from tidings.protocol.positions import SNAPSHOT, parse_since

A = TypeVar("A", bound=Struct)
B = TypeVar("B", bound=Struct)

CANCEL_TIMEOUT_S = 10.0
"""Default seconds that an operation has to end after a cancel request: a person waits for that answer."""
PUBLISH_TIMEOUT_S = 30.0
"""Default seconds that a publication waits for its answer: a hub's restart and the reconnect after it fit in."""


class Client:
    """A client of one hub: one connection that publishes, and one for each watch.

    A connection has one cursor and one pace, so each watch needs its own; and publishing must not wait behind events
    that a slow consumer has not taken.

    Args:
        url: Full URL of the hub.
        options: How to connect.
        contract: Event types known here.
        window: Bound on the events in flight.
        on_change: Called when the state of the publishing connection changes.
    """

    def __init__(
        self,
        url: str,
        options: LinkOptions,
        *,
        contract: Contract,
        window: WindowLimits,
        on_change: OnChange | None,
    ) -> None:
        self.url = url
        self._options = options
        self._contract = contract
        self._publisher = Publisher(url, options, contract=contract, window=window, on_change=on_change)
        self._links: set[Link] = set()
        self._closed = False

    @property
    def status(self) -> Status:
        """Status of the publishing connection; each watch has its own."""
        return self._publisher.link.status

    @property
    def state(self) -> State:
        """State of the publishing connection."""
        return self._publisher.link.state

    def hub_time_s(self) -> float | None:
        """Return the time by the hub's clock, seconds since 1970; None before the first connection."""
        link = self._publisher.link
        return link.session.hub_time_s(link.now())

    async def wait_connected(self) -> None:
        """Wait until a hub has greeted this client; raises the errors of `connect`."""
        await self._publisher.wait_connected()

    async def publish(
        self,
        type: str,
        payload: PayloadLike = None,
        *,
        trace_id: str | None = None,
        channel: str | None = None,
        event_id: str | None = None,
        timestamp: str | None = None,
        timeout_s: float | None = PUBLISH_TIMEOUT_S,
    ) -> Accepted:
        """Publish one event, and return when it is in the log.

        Concurrent calls are sent in the order of the calls, without waiting for each other's answers. Events that a
        lost connection left unanswered are sent again on the next one, in order; their event ids ensure that each is
        stored once. The event of a call that is cancelled or times out is not sent again, but may be in the log.

        Args:
            type: An event type, such as `operation:progress` or `MessageType.OPERATION_PROGRESS`.
            payload: The type's struct, a mapping, or bytes of JSON.
            trace_id: Trace that the event belongs to; by default the live operation's, or a new one.
            channel: `global`, or the type's own channel, which is the default.
            event_id: Makes publishing idempotent across calls and processes; a new UUIDv7 by default.
            timestamp: RFC 3339; now by default.
            timeout_s: Maximum seconds until the answer, reconnects included. None waits for a hub that is away until
                the client is closed.

        Returns:
            The event's position, and whether it was in the log before.

        Raises:
            InvalidPayload: The payload cannot be encoded as JSON; nothing was sent.
            PayloadTooLarge: It is over 65,535 bytes; nothing was sent.
            Forbidden: The subject of the token has no grant for it; it is not in the log.
            CommandRefused: The hub refused it; it is not in the log. `refusal` is the reason, `recoverable` whether
                the same event may succeed later.
            LicenseExpired: The hub serves no one until its license is renewed; without an earlier answer, the event
                may or may not be in the log.
            PublishTimeout: No answer in time; it may or may not be in the log.
            ConnectionLost: The client was closed before the answer; the event may or may not be in the log.
            HubClosed: The hub ended the connection for good.
        """
        draft = make_draft(type, payload, trace_id=trace_id, channel=channel, event_id=event_id, timestamp=timestamp)
        try:
            return await self._publisher.publish(draft, timeout_s=timeout_s)
        except CommandRefused as error:
            raise make_access_error(error.refusal, error.message, error.hint) or error from None

    async def cancel(
        self,
        operation_id: str,
        *,
        reason: str | None = None,
        timeout_s: float = CANCEL_TIMEOUT_S,
        cancelled_by: str | None = None,
    ) -> CancelOutcome:
        """Request the cancellation of an operation, and return the outcome.

        If the connection is lost, the request is sent again on the next one, with the time that is left.

        Args:
            operation_id: Id of the operation.
            reason: Reason, shown to the producer.
            timeout_s: Seconds, up to 3,600, that the operation has to end.
            cancelled_by: The person or program that requests it, shown to the producer and to watchers.

        Returns:
            One of the outcomes of `CancelOutcome.outcome`; `pending` if the producer agreed and it has not ended yet.

        Raises:
            InvalidKey: The protocol does not allow this operation id; nothing was sent.
            InvalidCommand: It does not allow this time or reason; nothing was sent.
            OperationUnknown: The hub has no such operation.
            Forbidden: The subject of the token has no grant for it.
            NotSupported: The hub does not cancel.
            LicenseExpired: The hub serves no one until its license is renewed.
            CommandRefused: The hub refused for another reason, which `refusal` names.
            ConnectionLost: The hub was connected and did not answer within `timeout_s` and one second more; or the
                client was closed before the answer.
            HubUnreachable: The hub was unreachable when that time was over.
            HubClosed: The hub ended the connection for good.
        """
        members = {"operation_id": check_key(operation_id), "reason": reason, "timeout_s": timeout_s}
        try:
            request = msgspec.convert({**members, "cancelled_by": cancelled_by}, Cancel)
            msgspec.json.encode(request)
        except (msgspec.ValidationError, UnicodeEncodeError) as cause:
            raise InvalidCommand(_explain(cause)) from cause
        return await self._publisher.cancel(request)

    @overload
    def watch(
        self,
        what: type[A],
        /,
        *,
        key: str | None = ...,
        since: str = ...,
        pace_ms: int = ...,
        buffer: BufferLimits = ...,
        on_change: OnChange | None = ...,
    ) -> Watch[TypedEvent[A]]: ...

    @overload
    def watch(
        self,
        what: type[A],
        or_what: type[B],
        /,
        *,
        key: str | None = ...,
        since: str = ...,
        pace_ms: int = ...,
        buffer: BufferLimits = ...,
        on_change: OnChange | None = ...,
    ) -> Watch[TypedEvent[A] | TypedEvent[B]]: ...

    @overload
    def watch(
        self,
        *what: type[Struct],
        key: str | None = ...,
        since: str = ...,
        pace_ms: int = ...,
        buffer: BufferLimits = ...,
        on_change: OnChange | None = ...,
    ) -> Watch[TypedEvent[Struct]]: ...

    @overload
    def watch(
        self,
        *paths: str,
        since: str = ...,
        pace_ms: int = ...,
        buffer: BufferLimits = ...,
        notices: Literal[False] = ...,
        on_change: OnChange | None = ...,
    ) -> Watch[ReceivedEvent]: ...

    @overload
    def watch(
        self,
        *paths: str,
        since: str = ...,
        pace_ms: int = ...,
        buffer: BufferLimits = ...,
        notices: Literal[True],
        on_change: OnChange | None = ...,
    ) -> Watch[ReceivedEvent | Notice]: ...

    def watch(
        self,
        *what: str | type[Struct],
        key: str | None = None,
        since: str = SNAPSHOT,
        pace_ms: int = 0,
        buffer: BufferLimits = BufferLimits(),  # noqa: B008 -- frozen
        notices: bool = False,
        on_change: OnChange | None = None,
    ) -> Watch[Any]:
        """Begin to watch, and return the iterator over the events.

        Args:
            what: Channels (`operations`), keys (`operations/op-42`), prefixes (`operations/acme.*`) or `*`, the
                default. Or payload types of this client's contract (`TradeExecuted`): the watch then yields only their
                events, typed. The hub immediately refuses types that it does not have; an event that does not fit this
                contract raises InvalidPayload in its place.
            key: With payload types: only the events of this key.
            since: `snapshot`: the newest event of each key, then live events. `now`: only live events. `first`: all
                events in the log. An RFC 3339 time: all that the hub received then or later. A position: all after it.
            pace_ms: Minimum interval between deliveries, in milliseconds, conflating in between; 0 delivers as events
                happen.
            buffer: Bound on what is read ahead of the consumer.
            notices: Whether `Gap`, `Live`, `PathsRemoved` and `LicenseEnded` come between the events.
            on_change: Called, on the loop, with the `Status` whenever the state changes.

        Raises:
            InvalidPosition: `since` is not one of these.
            InvalidContract: A payload type belongs to no event of this client's contract, or to more than one.
            ClientError: The client is closed.
        """
        if self._closed:
            raise ClientError("the client is closed")
        parse_since(since)
        paths, types = resolve_subscription(self._contract, what, key)
        options = WatchOptions(paths=paths, since=since, pace_ms=pace_ms, buffer=buffer, notices=notices, types=types)
        watch: Watch[Any] = Watch(
            self.url,
            # The client has met its hub, so its address is right: wait if it is away for a moment.
            msgspec.structs.replace(self._options, wait_for_hub=True),
            options,
            contract=self._contract,
            on_change=on_change,
            on_end=self._links.discard,
        )
        self._links.add(watch.link)
        return watch

    async def aclose(self) -> None:
        """Close everything: watches end, and publications without an answer raise ConnectionLost."""
        self._closed = True
        links = [self._publisher.link, *self._links]
        for link in links:
            link.cancel()
        for link in links:
            await link.aclose()


def _explain(cause: msgspec.ValidationError | UnicodeEncodeError) -> str:
    if not isinstance(cause, msgspec.ValidationError):
        return str(cause)
    message, path = parse_validation_error(cause)
    return f"{path}: {message}"


class Connecting:
    """The result of `connect`: awaiting or entering it returns a connected `Client`."""

    def __init__(
        self,
        url: str | None,
        options: LinkOptions,
        *,
        contract: Contract | None,
        window: WindowLimits,
        on_change: OnChange | None,
    ) -> None:
        self._url = resolve_hub_url(url)
        allow = options.allow_plaintext_token
        source = find_token_source(options.token, self._url, allow_plaintext=allow)
        self._options = msgspec.structs.replace(options, token=source or "")
        self._contract = contract
        self._window = window
        self._on_change = on_change
        self._client: Client | None = None

    async def _connect(self) -> Client:
        client = Client(
            self._url,
            self._options,
            contract=self._contract or Contract(),
            window=self._window,
            on_change=self._on_change,
        )
        try:
            await client.wait_connected()
        except BaseException:
            await client.aclose()
            raise
        return client

    def __await__(self) -> Generator[Any, None, Client]:
        return self._connect().__await__()

    async def __aenter__(self) -> Client:
        if self._client is not None:
            raise ConfigError("this connect() has been entered before", hint="Call connect() for each client.")
        self._client = await self._connect()
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.aclose()


def connect(
    url: str | None = None,
    *,
    token: Token | None = None,
    allow_plaintext_token: bool = False,
    wait_for_hub: bool = False,
    options: LinkOptions | None = None,
    contract: Contract | None = None,
    window: WindowLimits = WindowLimits(),  # noqa: B008 -- frozen
    on_change: OnChange | None = None,
) -> Connecting:
    """Connect to a hub.

    Like this::

        async with tidings.connect() as client:
            await client.publish("data:update", {"dataset": "prices"})
            async for event in client.watch("operations"):
                print(event.type, event.payload)

    The first connection succeeds or raises immediately, so that a wrong address is noticed. After that the client
    reconnects forever, however the connection is lost, unless the hub forbids it.

    Args:
        url: URL of the hub; by default TIDINGS_URL, else `ws://127.0.0.1:8765/ws`.
        token: Token for the hub; or a function, asynchronous or not, that returns the present one, or None if there is
            none left. It is called for each connection, and ahead of the token's expiry. By default TIDINGS_TOKEN,
            else the file that TIDINGS_TOKEN_FILE names, else what `tidings login` stored; "" means no token.
        allow_plaintext_token: Send the token over `ws://` to another machine, too.
        wait_for_hub: Wait for a hub that does not answer yet, instead of raising HubUnreachable.
        options: All details of connecting; the three arguments above override its own.
        contract: Event types known here, for applications that have their own.
        window: Bound on the events in flight; beyond it, `publish` waits.
        on_change: Called, on the loop, with the `Status` of the publishing connection whenever its state changes.

    Raises:
        ConfigError: `url` or the token is invalid, or the token would go over an unencrypted network. Entering or
            awaiting raises
            HubUnreachable: no server answers at `url`;
            HandshakeRefused: the WebSocket upgrade was refused;
            NotAHub: the server does not speak tidings;
            InvalidCredential, such as TokenExpired: the hub refuses the token;
            Unauthenticated: the hub asks for a token, and there is none;
            HubClosed: the hub rejected the connection for good.
    """
    options = options or LinkOptions()
    options = msgspec.structs.replace(
        options,
        token=options.token if token is None else token,
        allow_plaintext_token=allow_plaintext_token or options.allow_plaintext_token,
        wait_for_hub=wait_for_hub or options.wait_for_hub,
    )
    return Connecting(url, options, contract=contract, window=window, on_change=on_change)
