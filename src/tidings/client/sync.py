"""The blocking client, for code without an event loop.

::

    with tidings.client.sync.connect() as client:
        client.publish("data:update", {"dataset": "prices"})
        for event in client.watch("operations"):
            print(event.type, event.payload)
"""

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, overload

from msgspec import Struct

from tidings.client.background_loop import LoopThread
from tidings.client.client import CANCEL_TIMEOUT_S, PUBLISH_TIMEOUT_S, Client
from tidings.client.client import connect as connect_async
from tidings.client.drafts import PayloadLike
from tidings.client.events import Gap, Item, Notice, Outcome, ReceivedEvent, TypedEvent
from tidings.client.options import LinkOptions, OnChange
from tidings.client.publish_queue import WindowLimits
from tidings.client.receive_buffer import BufferLimits
from tidings.client.status import State, Status
from tidings.client.tokens import Token
from tidings.client.watch import Watch, WatchStatistics
from tidings.contract.contract import Contract
from tidings.protocol.messages import Accepted, CancelOutcome
from tidings.protocol.positions import SNAPSHOT

T_co = TypeVar("T_co", bound=Item | TypedEvent[Struct], covariant=True)
A = TypeVar("A", bound=Struct)
B = TypeVar("B", bound=Struct)

_BATCH = 64
"""Items fetched from the loop's thread at a time: crossing threads costs more than an event."""


class SyncWatch(Generic[T_co]):
    """A blocking iterator over events; see `tidings.client.watch.Watch`. For one thread at a time."""

    def __init__(self, watch: Watch[T_co], thread: LoopThread) -> None:
        self._watch = watch
        self._thread = thread
        self._batch: deque[T_co] = deque()

    @property
    def status(self) -> Status:
        """See `Watch.status`."""
        return self._watch.status

    @property
    def state(self) -> State:
        """See `Watch.state`."""
        return self._watch.state

    @property
    def age_s(self) -> float | None:
        """See `Watch.age_s`."""
        return self._watch.age_s

    @property
    def outcome(self) -> Outcome | None:
        """See `Watch.outcome`."""
        return self._watch.outcome

    @property
    def gap(self) -> Gap | None:
        """See `Watch.gap`."""
        return self._watch.gap

    @property
    def position(self) -> str | None:
        """See `Watch.position`."""
        return self._watch.position

    def statistics(self) -> WatchStatistics:
        """See `Watch.statistics`."""
        return self._watch.statistics()

    def wait_until_live(self) -> None:
        """See `Watch.wait_until_live`."""
        self._thread.run(self._watch.wait_until_live())

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T_co:
        if not self._batch:
            self._thread.run(self._fetch())
        if not self._batch:
            raise StopIteration
        return self._batch.popleft()

    async def _fetch(self) -> None:
        # On the loop's thread, so that the items taken are kept even if Ctrl-C interrupts the wait for them.
        self._batch.extend(await self._watch.take_batch(_BATCH))

    def close(self) -> None:
        """See `Watch.aclose`."""
        self._batch.clear()
        self._thread.run(self._watch.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class SyncClient:
    """A blocking client of one hub; see `tidings.client.client.Client`. Its methods may be called from any thread."""

    def __init__(self, client: Client, thread: LoopThread) -> None:
        self._client = client
        self._thread = thread

    @property
    def url(self) -> str:
        """URL of the hub."""
        return self._client.url

    @property
    def status(self) -> Status:
        """See `Client.status`."""
        return self._client.status

    @property
    def state(self) -> State:
        """See `Client.state`."""
        return self._client.state

    def publish(
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
        """See `Client.publish`."""
        return self._thread.run(
            self._client.publish(
                type,
                payload,
                trace_id=trace_id,
                channel=channel,
                event_id=event_id,
                timestamp=timestamp,
                timeout_s=timeout_s,
            )
        )

    def cancel(
        self,
        operation_id: str,
        *,
        reason: str | None = None,
        timeout_s: float = CANCEL_TIMEOUT_S,
        cancelled_by: str | None = None,
    ) -> CancelOutcome:
        """See `Client.cancel`."""
        return self._thread.run(
            self._client.cancel(operation_id, reason=reason, timeout_s=timeout_s, cancelled_by=cancelled_by)
        )

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
    ) -> SyncWatch[TypedEvent[A]]: ...

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
    ) -> SyncWatch[TypedEvent[A] | TypedEvent[B]]: ...

    @overload
    def watch(
        self,
        *what: type[Struct],
        key: str | None = ...,
        since: str = ...,
        pace_ms: int = ...,
        buffer: BufferLimits = ...,
        on_change: OnChange | None = ...,
    ) -> SyncWatch[TypedEvent[Struct]]: ...

    @overload
    def watch(
        self,
        *paths: str,
        since: str = ...,
        pace_ms: int = ...,
        buffer: BufferLimits = ...,
        notices: Literal[False] = ...,
        on_change: OnChange | None = ...,
    ) -> SyncWatch[ReceivedEvent]: ...

    @overload
    def watch(
        self,
        *paths: str,
        since: str = ...,
        pace_ms: int = ...,
        buffer: BufferLimits = ...,
        notices: Literal[True],
        on_change: OnChange | None = ...,
    ) -> SyncWatch[ReceivedEvent | Notice]: ...

    def watch(
        self,
        *what: str | type[Struct],
        key: str | None = None,
        since: str = SNAPSHOT,
        pace_ms: int = 0,
        buffer: BufferLimits = BufferLimits(),  # noqa: B008 -- frozen
        notices: bool = False,
        on_change: OnChange | None = None,
    ) -> SyncWatch[Any]:
        """See `Client.watch`. `on_change` is called on the client's own thread."""

        async def begin() -> Watch[Any]:
            # The overloads of this `watch` have already checked the form of the call.
            watch: Callable[..., Watch[Any]] = self._client.watch
            return watch(
                *what, key=key, since=since, pace_ms=pace_ms, buffer=buffer, notices=notices, on_change=on_change
            )

        return SyncWatch(self._thread.run(begin()), self._thread)

    def close(self) -> None:
        """See `Client.aclose`. May be called again."""
        if self._thread.alive:
            self._thread.run(self._client.aclose())
            self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


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
) -> SyncClient:
    """Connect to a hub and return the client, for use as a context manager or until `close`.

    See `tidings.client.client.connect` for arguments and errors. `on_change` is called on the client's own thread, and
    so is an asynchronous token function.
    """
    connecting = connect_async(
        url,
        token=token,
        allow_plaintext_token=allow_plaintext_token,
        wait_for_hub=wait_for_hub,
        options=options,
        contract=contract,
        window=window,
        on_change=on_change,
    )

    async def begin() -> Client:
        return await connecting

    thread = LoopThread("tidings client")
    try:
        return SyncClient(thread.run(begin()), thread)
    except BaseException:
        thread.close()
        raise
