"""One watch: an asynchronous iterator over events, with its own connection, cursor and pace.

What a watch is asked for: paths, or the payloads of a contract.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

from msgspec import Struct

from tidings.client.events import Delivery, Gap, InvalidEvent, Item, Live, Notice, Outcome, ReceivedEvent, TypedEvent
from tidings.client.link import Link
from tidings.client.options import LinkOptions, OnChange
from tidings.client.receive_buffer import BufferLimits, ReceiveBuffer
from tidings.client.session import Session
from tidings.client.status import State, Status
from tidings.client.url import with_query
from tidings.contract.contract import Contract
from tidings.exceptions import ClientError, ConfigError, InvalidPayload
from tidings.protocol.paths import check_key

T_co = TypeVar("T_co", bound=Item | TypedEvent[Struct], covariant=True)


class WatchOptions(Struct, frozen=True, kw_only=True):
    """What a watch reads, and how."""

    paths: tuple[str, ...]
    since: str
    pace_ms: int
    buffer: BufferLimits
    notices: bool
    types: frozenset[str] = frozenset()
    """The types whose events are wanted; empty is all of the paths."""


class WatchStatistics(Struct, frozen=True, kw_only=True):
    """A watch's figures."""

    events: int
    """Events read from the hub."""
    duplicates: int
    """Events that came a second time after a reconnect, and were dropped."""
    gaps: int
    connections: int
    """Connections that the hub greeted: one more than the reconnects."""
    buffered: int
    """Items that were read and not yet taken."""
    buffered_bytes: int


class _Intake:
    """What the link delivers to. Apart from the watch, so that a watch nobody holds any more can go."""

    def __init__(self, options: WatchOptions) -> None:
        self.inbox = ReceiveBuffer(options.buffer)
        self.events = 0
        self.gaps = 0
        self.last_gap: Gap | None = None
        self._notices = options.notices
        self._types = options.types

    def deliver(self, items: Sequence[Delivery]) -> Awaitable[None] | None:
        inbox = self.inbox
        for item in items:
            if isinstance(item, ReceivedEvent):
                self.events += 1
                if self._types:
                    if item.type not in self._types:
                        continue
                    if item.payload is None:
                        inbox.put_nowait(misfit(item))
                        continue
            elif isinstance(item, Gap):
                self.gaps += 1
                self.last_gap = item
                if not self._notices:
                    continue
            elif not (isinstance(item, Live) and self._notices):
                continue
            inbox.put_nowait(item)
        return inbox.wait_room() if inbox.full else None


class Watch(Generic[T_co]):
    """An asynchronous iterator over the events of some paths.

    It begins at once, reconnects by itself for ever, and goes on exactly where it was. Iterating ends when it is
    closed, and raises HubClosed or CommandRefused where the hub ends it for good. Close it by `aclose`, `async with`,
    its client's end, or by letting go of it.

    What the consumer has not taken waits in a bounded buffer; when that is full, the connection is not read, so that
    the hub conflates what only the newest of is wanted.
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
        intake = self._intake = _Intake(options)
        session = Session(
            contract,
            greeting_s=link_options.open_timeout_s,
            paths=options.paths,
            since=options.since,
            handles=sorted(options.types),
        )
        if options.pace_ms:
            url = with_query(url, pace_ms=options.pace_ms)

        def ended(failure: BaseException | None) -> None:
            intake.inbox.close(failure)
            on_end(link)

        link = self.link = Link(
            session,
            url,
            link_options,
            deliver=intake.deliver,
            on_end=ended,
            on_change=on_change,
            name=f"tidings watch {' '.join(options.paths)}"[:80],
        )
        self._loop = asyncio.get_running_loop()

    # What a caller sees.

    @property
    def status(self) -> Status:
        """Everything about the watch's connection at this moment."""
        return self.link.status

    @property
    def state(self) -> State:
        """Where the watch stands."""
        return self.link.state

    @property
    def age_s(self) -> float | None:
        """Seconds since the hub's last sign of life; None before the first."""
        return self.status.age_s

    @property
    def outcome(self) -> Outcome | None:
        """How the latest subscription began: `live`, `complete`, `snapshot` or `gap`; None before the first."""
        return self.link.session.cursor.outcome

    @property
    def gap(self) -> Gap | None:
        """The range that is missing, of the latest gap; None where there was none."""
        return self._intake.last_gap

    @property
    def position(self) -> str | None:
        """Up to where everything was read from the hub, taken or not; None until that is known."""
        return self.link.session.cursor.position

    def statistics(self) -> WatchStatistics:
        """Return the watch's figures."""
        intake = self._intake
        return WatchStatistics(
            events=intake.events,
            duplicates=self.link.session.cursor.duplicates,
            gaps=intake.gaps,
            connections=self.link.connections,
            buffered=len(intake.inbox),
            buffered_bytes=intake.inbox.bytes,
        )

    async def wait_until_live(self) -> None:
        """Wait until everything up to now was read from the hub: what is published from here on will be seen.

        Raises:
            ClientError: The buffer is full before that: it has to be taken meanwhile.
            HubClosed: The hub ended the watch for good.
            CommandRefused: The hub refused it.
        """
        inbox = self._intake.inbox
        await self.link.wait_until(lambda: self.state is State.LIVE or inbox.full)
        if self.state is not State.LIVE:
            raise ClientError(
                f"{len(inbox)} events wait to be taken before this watch can be live",
                hint="Iterate over it in a task of its own, or give it a larger buffer.",
            )

    # Iterating.

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        inbox = self._intake.inbox
        if not inbox and not await inbox.wait_item():
            raise StopAsyncIteration
        item = inbox.take_nowait()
        if isinstance(item, InvalidEvent):
            raise item.error
        return cast(T_co, item)

    async def take_batch(self, limit: int = 256) -> list[T_co]:
        """Wait for something, and return what is there, at most `limit` items; an empty list is the end."""
        inbox = self._intake.inbox
        if not inbox and not await inbox.wait_item():
            return []
        batch: list[T_co] = []
        while inbox and len(batch) < limit and not (batch and isinstance(inbox.head(), InvalidEvent)):
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
        """Close the connection and drop what was not taken; iterating ends."""
        self._intake.inbox.clear()
        await self.link.aclose()

    def __del__(self) -> None:
        # `async for … in client.watch(…)` leaves nothing to close: whoever breaks out of it has let go of the watch.
        link = getattr(self, "link", None)
        if link is not None and not link.ended:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and everything with it
                self._loop.call_soon_threadsafe(link.cancel)


def misfit(event: ReceivedEvent) -> InvalidEvent:
    """Return what stands for an event that does not fit this client's contract."""
    error = InvalidPayload(
        f"{event.type} at {event.position} does not fit this program's contract: the hub's is another",
        hint="Compare them with `tidings contract diff`; iterating goes on behind it.",
        details=event.data[:1000].decode(errors="replace"),
    )
    return InvalidEvent(error)


EventWatch = Watch[ReceivedEvent]
NoticedWatch = Watch[ReceivedEvent | Notice]


def wanted(
    contract: Contract, what: Sequence[str | type[Struct]], key: str | None
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the paths to read, and the types of which events are wanted; none is all.

    Args:
        contract: The client's.
        what: Paths, or payloads; not both.
        key: Of payloads: only the events of this key.

    Raises:
        InvalidContract: A payload is that of no event, or of more than one.
        InvalidKey: The key is none.
        ConfigError: There are both, or a key beside paths.
    """
    paths = [each for each in what if isinstance(each, str)]
    payloads = [each for each in what if not isinstance(each, str)]
    if paths and payloads:
        raise ConfigError("a watch reads either paths or payloads", hint="Open one for each, or name paths only.")
    if not payloads:
        if key is not None:
            raise ConfigError("a key is of a payload's events", hint="Write it into the path: channel/key.")
        return tuple(paths) or ("*",), frozenset()
    events = [contract.type_of(payload) for payload in payloads]
    suffix = "" if key is None else f"/{check_key(key)}"
    channels = dict.fromkeys(f"{event.channel}{suffix}" for event in events)
    return tuple(channels), frozenset(str(event.type) for event in events)
