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
from tidings.client.publish_queue import WindowLimits
from tidings.client.publisher import Publisher
from tidings.client.receive_buffer import BufferLimits
from tidings.client.status import State, Status
from tidings.client.url import hub_url
from tidings.client.watch import Watch, WatchOptions, wanted
from tidings.contract.contract import Contract
from tidings.exceptions import ClientError, ConfigError, InvalidCommand
from tidings.protocol.messages import Accepted, Cancel, CancelOutcome
from tidings.protocol.positions import SNAPSHOT, parse_since

A = TypeVar("A", bound=Struct)
B = TypeVar("B", bound=Struct)

CANCEL_TIMEOUT_S = 10.0
"""How long an operation has to end before its requester is told that it has not: a person waits for that answer."""
PUBLISH_TIMEOUT_S = 30.0
"""How long a publication may wait for its answer: a hub's restart, and the reconnect after it, fit in."""


class Client:
    """A client of one hub: one connection that publishes, and one for each watch.

    A connection has one cursor and one pace, so that watches do not share theirs; and publishing must not wait behind
    events that a slow consumer has not taken.

    Args:
        url: Where the hub is, in full.
        options: How to connect.
        contract: What event types are known here.
        window: How much may be unacknowledged.
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
        """Where the publishing connection stands; each watch has its own."""
        return self._publisher.link.status

    @property
    def state(self) -> State:
        """Where the publishing connection stands, in a word."""
        return self._publisher.link.state

    async def wait_connected(self) -> None:
        """Wait until a hub has greeted us; see `connect` for what this raises."""
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

        Calls at the same time are sent in the order of the calls, without waiting for each other's answers. What a
        lost connection left unanswered is sent again on the next one, in order; its event id makes sure that it is
        stored once. A call that is cancelled, or runs out of time, is not sent again, but may be in the log.

        Args:
            type: An event type, such as `operation:progress` or `MessageType.OPERATION_PROGRESS`.
            payload: The type's struct, a mapping, or bytes of JSON.
            trace_id: What it belongs to; without it, the hub takes that of the live operation, or a new one.
            channel: `global`, or the type's own channel, which is what it means to leave it out.
            event_id: Makes publishing idempotent over calls and processes, too; a new UUIDv7 by default.
            timestamp: RFC 3339; now by default.
            timeout_s: Seconds to wait for the answer, reconnects included; None waits for ever.

        Returns:
            The event's position, and whether it was there before.

        Raises:
            InvalidPayload: The payload holds something that JSON cannot; nothing was sent.
            PayloadTooLarge: It is over 65,535 bytes; nothing was sent.
            CommandRefused: The hub refused it; it is not in the log. `refusal` says why, `recoverable` whether the
                same may succeed later.
            PublishTimeout: No answer in time; it may or may not be in the log.
            ConnectionLost: The client was closed meanwhile; it may or may not be in the log.
            HubClosed: The hub ended the connection for good.
        """
        draft = make_draft(type, payload, trace_id=trace_id, channel=channel, event_id=event_id, timestamp=timestamp)
        return await self._publisher.publish(draft, timeout_s=timeout_s)

    async def cancel(
        self, operation_id: str, *, reason: str | None = None, timeout_s: float = CANCEL_TIMEOUT_S
    ) -> CancelOutcome:
        """Ask for the end of an operation, and return what came of it.

        A lost connection changes nothing: the wish is asked again on the next one, within what is left of the time.

        Args:
            operation_id: Which.
            reason: Why; the operation's own code gets to see it.
            timeout_s: Seconds, up to 3,600, that the operation has to end.

        Returns:
            One of the outcomes of `CancelOutcome.outcome`; `pending` where it has agreed and not ended in time.

        Raises:
            InvalidCommand: The time or the reason is none that the contract allows; nothing was sent.
            OperationUnknown: The hub knows no such operation.
            NotSupported: This hub does not cancel.
            CommandRefused: It refuses for another reason, which `refusal` names.
            ConnectionLost: The hub was there, and said nothing within `timeout_s` and one second more; or the client
                was closed meanwhile.
            HubUnreachable: There was no way to the hub when that time was over.
            HubClosed: The hub ended the connection for good.
        """
        try:
            wish = msgspec.convert({"operation_id": operation_id, "reason": reason, "timeout_s": timeout_s}, Cancel)
        except msgspec.ValidationError as cause:
            raise InvalidCommand(str(cause)) from cause
        return await self._publisher.cancel(wish)

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
        """Begin to watch, and return the iterator over what comes.

        Args:
            what: Channels (`operations`), keys (`operations/op-42`), prefixes (`operations/acme.*`) or `*`, which is
                also what no path means. Or payloads of this client's contract (`TradeExecuted`): then only their events
                come, with the payload's type known; the hub says at once if it knows no such event, and one that does
                not fit this contract raises InvalidPayload where it would have come.
            key: Of payloads: only the events of this key.
            since: `snapshot`: the newest event of each key, then everything as it happens. `now`: only what happens
                from now on. `first`: everything the log holds. Or a position: everything after it.
            pace_ms: At most one delivery in so many milliseconds, conflated in between; 0 is as it happens.
            buffer: How much is read ahead of the consumer.
            notices: Whether `Gap` and `Live` come between the events.
            on_change: Called, on the loop, with the `Status` whenever the state changes.

        Raises:
            InvalidPosition: `since` is none of these.
            InvalidContract: A payload is that of no event of this client's contract, or of more than one.
            ClientError: The client is closed.
        """
        if self._closed:
            raise ClientError("the client is closed")
        parse_since(since)
        paths, types = wanted(self._contract, what, key)
        options = WatchOptions(paths=paths, since=since, pace_ms=pace_ms, buffer=buffer, notices=notices, types=types)
        watch: Watch[Any] = Watch(
            self.url,
            # The client has met its hub: one that is away for a moment is no wrong address.
            msgspec.structs.replace(self._options, wait_for_hub=True),
            options,
            contract=self._contract,
            on_change=on_change,
            on_end=self._links.discard,
        )
        self._links.add(watch.link)
        return watch

    async def aclose(self) -> None:
        """Close everything: watches end, publications without an answer fail with ConnectionLost."""
        self._closed = True
        links = [self._publisher.link, *self._links]
        for link in links:
            link.cancel()
        for link in links:
            await link.aclose()


class Connecting:
    """What `connect` returns: awaited or entered, it is a `Client` that has met its hub."""

    def __init__(
        self,
        url: str | None,
        options: LinkOptions,
        *,
        contract: Contract | None,
        window: WindowLimits,
        on_change: OnChange | None,
    ) -> None:
        self._url = hub_url(url)
        self._options = options
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
            raise ConfigError("this connect() was entered before", hint="Call connect() for each client.")
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

    The first connection succeeds or raises at once, so that a wrong address is noticed. From then on the client
    reconnects by itself for ever, however the connection is lost, unless the hub says not to come back.

    Args:
        url: Where the hub is; by default the variable TIDINGS_URL, else `ws://127.0.0.1:8765/ws`.
        wait_for_hub: Whether a hub that is not there yet is waited for, instead of raising HubUnreachable.
        options: How to connect, in every detail; `wait_for_hub` above wins where it is true.
        contract: The event types known here, where an application has its own.
        window: How much may be unacknowledged before `publish` waits.
        on_change: Called, on the loop, with the `Status` of the publishing connection whenever its state changes.

    Raises:
        ConfigError: `url` is no address. Entering or awaiting raises
            HubUnreachable: nothing answers at `url`;
            HandshakeRefused: the WebSocket upgrade was refused;
            NotAHub: what answers does not speak tidings;
            HubClosed: the hub will not have us.
    """
    options = options or LinkOptions()
    if wait_for_hub and not options.wait_for_hub:
        options = msgspec.structs.replace(options, wait_for_hub=True)
    return Connecting(url, options, contract=contract, window=window, on_change=on_change)
