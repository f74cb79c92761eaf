"""One watch: an asynchronous iterator over events, with its own connection, cursor and pace."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from msgspec import Struct

from tidings.client.events import (
    Delivery,
    Gap,
    InvalidEvent,
    Item,
    LicenseEnded,
    Live,
    Notice,
    Outcome,
    PathsRemoved,
    ReceivedEvent,
    TypedEvent,
)
from tidings.client.link import Link
from tidings.client.options import LinkOptions, OnChange
from tidings.client.receive_buffer import BufferLimits, ReceiveBuffer
from tidings.client.session import Session
from tidings.client.status import State, Status
from tidings.client.url import add_query
from tidings.contract.contract import Contract
from tidings.exceptions import ClientError, ConfigError, InvalidPath, InvalidPayload
from tidings.protocol.paths import check_key

T_co = TypeVar("T_co", bound=Item | TypedEvent[Struct], covariant=True)


class WatchOptions(Struct, frozen=True, kw_only=True):
    """Options of a watch."""

    paths: tuple[str, ...]
    since: str
    pace_ms: int
    buffer: BufferLimits
    notices: bool
    types: frozenset[str] = frozenset()
    """Event types to yield; empty means all events of the paths."""


class WatchStatistics(Struct, frozen=True, kw_only=True):
    """Figures of a watch."""

    events: int
    """Events read from the hub."""
    duplicates: int
    """Events that came again after a reconnect and were dropped."""
    gaps: int
    connections: int
    """Connections that the hub has greeted: one more than the reconnects."""
    buffered: int
    """Items that were read and not yet taken."""
    buffered_bytes: int


class _Receiver:
    """Receives the link's deliveries. Not part of the watch, so that an unreferenced watch can be collected."""

    def __init__(self, options: WatchOptions) -> None:
        self.buffer = ReceiveBuffer(options.buffer)
        self.events = 0
        self.gaps = 0
        self.last_gap: Gap | None = None
        self._notices = options.notices
        self._types = options.types

    def deliver(self, items: Sequence[Delivery]) -> Awaitable[None] | None:
        buffer = self.buffer
        for item in items:
            if isinstance(item, ReceivedEvent):
                self.events += 1
                if self._types:
                    if item.type not in self._types:
                        continue
                    if item.payload is None:
                        buffer.put_nowait(make_invalid_event(item))
                        continue
            elif isinstance(item, Gap):
                self.gaps += 1
                self.last_gap = item
                if not self._notices:
                    continue
            elif not (isinstance(item, Live | PathsRemoved | LicenseEnded) and self._notices):
                continue
            buffer.put_nowait(item)
        return buffer.wait_room() if buffer.full else None


class Watch(Generic[T_co]):
    """An asynchronous iterator over the events of some paths.

    It begins immediately, reconnects forever, and resumes exactly where it was. Iterating ends when it is closed, and
    raises HubClosed or CommandRefused if the hub ends it for good. Close it by `aclose`, `async with`, closing its
    client, or dropping the last reference to it.

    Items that the consumer has not taken wait in a bounded buffer. When that is full, the connection is not read, so
    that the hub conflates events of class `latest`.
    """

    def __init__(
        self,
        url: str,
        link_options: LinkOptions,
        options: WatchOptions,
        *,
        contract: Contract,
        on_change: OnChange | None,
        on_end: Callable[[Link], None],
    ) -> None:
        receiver = self._receiver = _Receiver(options)
        session = Session(
            contract,
            greeting_s=link_options.open_timeout_s,
            paths=options.paths,
            since=options.since,
            handles=sorted(options.types),
        )
        if options.pace_ms:
            url = add_query(url, pace_ms=options.pace_ms)

        def ended(failure: BaseException | None) -> None:
            receiver.buffer.close(failure)
            on_end(link)

        link = self.link = Link(
            session,
            url,
            link_options,
            deliver=receiver.deliver,
            on_end=ended,
            on_change=on_change,
            name=f"tidings watch {' '.join(options.paths)}"[:80],
        )
        self._loop = asyncio.get_running_loop()

    # State.

    @property
    def status(self) -> Status:
        """Complete status of the watch's connection."""
        return self.link.status

    @property
    def state(self) -> State:
        """State of the watch."""
        return self.link.state

    @property
    def age_s(self) -> float | None:
        """Seconds since the hub's last sign of life; None before the first."""
        return self.status.age_s

    def hub_time_s(self) -> float | None:
        """Return the time by the hub's clock, seconds since 1970; None before the first connection."""
        return self.link.session.hub_time_s(self.link.now())

    @property
    def outcome(self) -> Outcome | None:
        """How the latest subscription began: `live`, `complete`, `snapshot` or `gap`; None before the first."""
        return self.link.session.cursor.outcome

    @property
    def gap(self) -> Gap | None:
        """The latest gap; None if there was none."""
        return self._receiver.last_gap

    @property
    def position(self) -> str | None:
        """Position up to which everything was read from the hub, taken or not; None before it is known."""
        return self.link.session.cursor.position

    def statistics(self) -> WatchStatistics:
        """Return the figures of the watch."""
        receiver = self._receiver
        return WatchStatistics(
            events=receiver.events,
            duplicates=self.link.session.cursor.duplicates,
            gaps=receiver.gaps,
            connections=self.link.connections,
            buffered=len(receiver.buffer),
            buffered_bytes=receiver.buffer.bytes,
        )

    async def wait_until_live(self) -> None:
        """Wait until the watch has read everything up to now; it yields everything published after that.

        Raises:
            ClientError: The buffer is full before that: iterate over the watch at the same time.
            HubClosed: The hub ended the watch for good.
            CommandRefused: The hub refused it.
        """
        buffer = self._receiver.buffer
        await self.link.wait_until(lambda: self.state is State.LIVE or buffer.full)
        if self.state is not State.LIVE:
            raise ClientError(
                f"{len(buffer)} items must be taken before this watch can become live",
                hint="Iterate over it in another task, or pass a larger buffer.",
            )

    # Iterating.

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        buffer = self._receiver.buffer
        if not buffer and not await buffer.wait_item():
            raise StopAsyncIteration
        item = buffer.take_nowait()
        if isinstance(item, InvalidEvent):
            raise item.error
        return cast(T_co, item)

    async def take_batch(self, limit: int = 256) -> list[T_co]:
        """Wait for an item, and return up to `limit` items; an empty list means the end."""
        buffer = self._receiver.buffer
        if not buffer and not await buffer.wait_item():
            return []
        batch: list[T_co] = []
        while buffer and len(batch) < limit and not (batch and isinstance(buffer.head(), InvalidEvent)):
            batch.append(await self.__anext__())
        return batch

    # Ending.

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection and drop the items not taken; iterating ends."""
        self._receiver.buffer.clear()
        await self.link.aclose()

    def __del__(self) -> None:
        # `async for … in client.watch(…)` leaves nothing to close: leaving the loop drops the last reference.
        link = getattr(self, "link", None)
        if link is not None and not link.ended:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the connection with it
                self._loop.call_soon_threadsafe(link.cancel)


def make_invalid_event(event: ReceivedEvent) -> InvalidEvent:
    """Return the placeholder for an event that does not fit this client's contract."""
    error = InvalidPayload(
        f"{event.type} at {event.position} does not fit this program's contract: the hub has a different one",
        hint="Compare them with `tidings contract diff`; iterating continues behind the event.",
        details=event.data[:1000].decode(errors="replace"),
    )
    return InvalidEvent(error)


EventWatch = Watch[ReceivedEvent]
NoticedWatch = Watch[ReceivedEvent | Notice]


def resolve_subscription(
    contract: Contract, what: Sequence[str | type[Struct]], key: str | None
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the paths to read, and the event types to yield; no types means all.

    Args:
        contract: Contract of the client.
        what: Paths or payload types, not both.
        key: With payload types: only the events of this key.

    Raises:
        InvalidContract: A payload type belongs to no event, or to more than one.
        InvalidKey: The key is invalid.
        InvalidPath: A path is not Unicode text.
        ConfigError: Paths come with payload types or with a key.
    """
    paths = [each for each in what if isinstance(each, str)]
    payloads = [each for each in what if not isinstance(each, str)]
    if paths and payloads:
        raise ConfigError("a watch reads either paths or payload types", hint="Open one for each, or pass paths only.")
    if not payloads:
        if key is not None:
            raise ConfigError("a key needs payload types", hint="With paths, put the key into the path: channel/key.")
        for path in paths:
            try:
                path.encode()
            except UnicodeEncodeError as error:
                raise InvalidPath(f"invalid path {path!r}: expected Unicode text") from error
        return tuple(paths) or ("*",), frozenset()
    events = [contract.type_of(payload) for payload in payloads]
    suffix = "" if key is None else f"/{check_key(key)}"
    channels = dict.fromkeys(f"{event.channel}{suffix}" for event in events)
    return tuple(channels), frozenset(str(event.type) for event in events)
