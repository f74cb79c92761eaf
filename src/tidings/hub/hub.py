"""The hub: events go into the log, and from its tail to everyone who watches (DESIGN, "One log")."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import structlog
from msgspec import Struct

from tidings.contract.contract import Contract
from tidings.contract.envelope import Envelope, Event
from tidings.contract.paths import Path, PathSet
from tidings.contract.timestamps import from_nanoseconds
from tidings.contract.vocabulary import ChannelType, MessageType
from tidings.exceptions import Draining, LogBusy, LogError
from tidings.hub.clock import Clock, SteadyWall
from tidings.hub.config import HubConfig
from tidings.hub.delivery import Delivery
from tidings.hub.operations import LIFE, LIFE_CHANNELS, LiveOperations
from tidings.hub.staging import Settled, Staging
from tidings.log.base import Draft, Log, Page, Query, Record, Scheduler

_MORE_RETENTION_S = 0.01
"""Between two steps of retention while there is work: a step takes a millisecond or two."""

_RESTORED_AT_ONCE = 10_000
"""Events of one read when the hub starts: nobody waits for delivery yet."""

log = structlog.get_logger("tidings.hub")


class HubCounters(Struct):
    """What a hub has done since it began; for metrics, and for the tests that count."""

    accepted: int = 0
    """Events that are in the log."""
    refused: int = 0
    """Events that the log did not take."""
    ticks: int = 0
    """Batches given to the log."""


class Hub:
    """One hub over one log.

    Everything happens on the thread of `scheduler`'s loop; nothing awaits.

    Args:
        contract: What may be published.
        event_log: Where events go; the hub follows its tail.
        scheduler: The loop.
        clock: The machine's clocks.
        mint: Makes ids: 32 lower-case hex digits, a W3C trace id.
        config: Limits and rhythms.
    """

    def __init__(
        self,
        contract: Contract,
        event_log: Log,
        scheduler: Scheduler,
        clock: Clock,
        mint: Callable[[], str],
        config: HubConfig | None = None,
    ) -> None:
        self.contract = contract
        self.log = event_log
        self.scheduler = scheduler
        self.clock = clock
        self.mint = mint
        self.config = config or HubConfig()
        self.counters = HubCounters()
        self.operations = LiveOperations()
        self.delivery = Delivery(event_log, scheduler, clock, self.config)
        self.log_error: LogError | None = None
        """What the log refused its last batch with; None when it took it."""
        self.draining = False
        self.closed = False
        self.started = clock.monotonic()
        self._wall = SteadyWall(clock)
        self._staging = Staging(event_log, self.operations)
        self._tick_scheduled = False
        self._unfolded: list[Event] | None = []
        """What the tail brought before the operations were restored, which come before it."""
        self._after_commit: dict[Callable[[], None], None] = {}
        self._commit_timestamp = ""
        self.committing = False
        """Whether publishers are being told what became of a batch now."""
        self._restore_operations()
        event_log.follow(self._tail)
        self._maintain()

    # What the contract asks for where an envelope says nothing (`Receipt`).

    def timestamp(self) -> str:
        """Return the hub's clock as a canonical timestamp."""
        return from_nanoseconds(self.clock.wall_ns())

    def tick_timestamp(self) -> str:
        """Return the hub's clock, read once for all replies of one commit."""
        return self._commit_timestamp if self.committing else self.timestamp()

    def trace_id(self, channel: str, key: str | None) -> str:
        """Return the trace id of the live operation `key`, or a new one."""
        return self.live_trace_id(channel, key) or self.mint()

    def live_trace_id(self, channel: str, key: str | None) -> str | None:
        """Return the trace id of the live operation `key`, what is staged included; None where there is none."""
        if key is None or channel != ChannelType.OPERATIONS:
            return None
        return self._staging.operations.trace_id(key)

    # Publishing ends at the log.

    @property
    def staged(self) -> int:
        """Events that wait for the log."""
        return len(self._staging)

    def publish(
        self, envelope: Envelope, settled: Settled, *, scope: str = "", trace_id: str = "", by_hub: bool = False
    ) -> Event:
        """Check `envelope` and stage the event it is; `settled` is called when it is in the log, or refused by it.

        Args:
            envelope: What to publish.
            settled: Called once.
            scope: Within which its event id is unique.
            trace_id: Of the request it came with, for an event that has none and belongs to no live operation.
            by_hub: Whether the hub itself writes it.

        Raises:
            ContractError: The contract does not allow it; see `Contract.read`.
            Draining: The hub takes nothing new.
            LogBusy: Too much is waiting for the log already.
        """
        if self.closed or (self.draining and not by_hub):
            raise Draining("the hub is shutting down")
        if len(self._staging) >= self.config.staged_events:
            raise LogBusy("too many events are waiting for the log")
        receipt = _RequestReceipt(self, trace_id) if trace_id else self
        event = self.contract.read(envelope, receipt, by_hub=by_hub)
        if event.key is None and event.type == MessageType.OPERATION_FAILED:
            event = self._with_operation(event)
        self._staging.add(Draft(event, self._wall.now_ns(), scope), settled)
        self._schedule_tick()
        return event

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, when everyone has been told of the batch under way: replies go out in one write."""
        self._after_commit[callback] = None

    def _with_operation(self, event: Event) -> Event:
        # Plain ErrorData names no operation; it means the one live operation of its trace, if there is exactly one.
        operation_id = self._staging.operations.only_of_trace(event.trace_id)
        return event if operation_id is None else self.contract.with_operation(event, operation_id)

    def _schedule_tick(self) -> None:
        if not self._tick_scheduled and self._staging.appending is None and self._staging.gathering:
            self._tick_scheduled = True
            self.scheduler.call_soon(self._tick)

    def _tick(self) -> None:
        """Append what gathered since the last round of the loop, as one batch."""
        self._tick_scheduled = False
        if self.closed:
            return
        batch = self._staging.take(self.config.batch_events)
        self.counters.ticks += 1
        self.log.append([staged.draft for staged in batch.staged], self._appended)

    def _appended(self, result: int | LogError) -> None:
        batch = self._staging.appended()
        if isinstance(result, LogError):
            self.log_error = result
            log.error("the log refused a batch", error=str(result), code=result.code, events=len(batch))
            # Events of one connection are in its order: what it sent after a failed one fails too.
            later = self._staging.gathering
            self._staging.clear()
            self.counters.refused += len(batch) + len(later)
            with self._telling():
                batch.drop(result)
                later.drop(result)
        else:
            self.log_error = None
            self.counters.accepted += len(batch)
            self._staging.committed(batch)
            with self._telling():
                batch.commit(result)
        self._schedule_tick()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        self._commit_timestamp = self.timestamp()
        self.committing = True
        try:
            yield
        finally:
            self.committing = False
            callbacks, self._after_commit = self._after_commit, {}
            for callback in callbacks:
                callback()

    def _tail(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.event.channel in LIFE_CHANNELS:
                self._note(record.event)
        self._staging.folded()
        self.delivery.tail(records)

    def _note(self, event: Event) -> None:
        if self._unfolded is not None:
            self._unfolded.append(event)
        else:
            self.operations.note(event)

    # Housekeeping.

    def _restore_operations(self) -> None:
        """Fold the newest events of the log, so that operations that were live are live.

        Raises:
            LogError: The log cannot be read.
        """
        self._restore_page(0, self.log.head)

    def _restore_page(self, after: int, until: int) -> None:
        def done(page: Page | LogError) -> None:
            if isinstance(page, LogError):
                raise page
            for record in page.records:
                self.operations.note(record.event)
            if page.scanned < until:
                self.scheduler.call_soon(partial(self._restore_page, page.scanned, until))
                return
            for event in self._unfolded or ():
                self.operations.note(event)
            self._unfolded = None

        query = Query(
            after=after,
            until=until,
            paths=PathSet.of([Path(ChannelType.OPERATIONS)]),
            newest_only=True,
            types=LIFE,
            limit=_RESTORED_AT_ONCE,
            max_bytes=_RESTORED_AT_ONCE * 256,
        )
        self.log.read(query, done)

    def _maintain(self) -> None:
        if self.closed:
            return
        try:
            more = self.log.maintain(self._wall.now_ns())
        except LogError as error:
            log.error("retention failed", error=str(error), code=error.code)
            more = False
        self.scheduler.call_later(_MORE_RETENTION_S if more else self.config.maintain_s, self._maintain)

    def close(self) -> None:
        """Append what is staged, and stop; the caller closes the log."""
        if not self.closed:
            while self._staging.gathering and self._staging.appending is None:
                self._tick()
            self.closed = True


class _RequestReceipt:
    """The hub's `Receipt` for an event that came with a request which names its trace."""

    __slots__ = ("_hub", "_trace_id")

    def __init__(self, hub: Hub, trace_id: str) -> None:
        self._hub = hub
        self._trace_id = trace_id

    def timestamp(self) -> str:
        """See `Receipt.timestamp`."""
        return self._hub.timestamp()

    def trace_id(self, channel: str, key: str | None) -> str:
        """See `Receipt.trace_id`."""
        return self._hub.live_trace_id(channel, key) or self._trace_id
