"""The hub: events go into the log, and from its tail to everyone who watches (DESIGN, "One log")."""

from collections.abc import Callable, Sequence

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
from tidings.hub.operations import LiveOperations, with_operation
from tidings.hub.staging import Settled, Staging
from tidings.log.base import Draft, Log, Page, Query, Record, Scheduler

_MORE_RETENTION_S = 0.01
"""Between two steps of retention while there is work: a step takes a millisecond or two."""

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
        self._staging = Staging(event_log)
        self._tick_scheduled = False
        self._after_commit: dict[Callable[[], None], None] = {}
        self._commit_timestamp = ""
        self.committing = False
        """Whether publishers are being told of a commit now."""
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
        if key is not None and channel == ChannelType.OPERATIONS:
            return self.operations.trace_id(key) or self.mint()
        return self.mint()

    # Publishing ends at the log.

    @property
    def staged(self) -> int:
        """Events that wait for the log."""
        return len(self._staging)

    def publish(self, envelope: Envelope, settled: Settled, *, scope: str = "", by_hub: bool = False) -> Event:
        """Check `envelope` and stage the event it is; `settled` is called when it is in the log, or refused by it.

        Raises:
            ContractError: The contract does not allow it; see `Contract.read`.
            Draining: The hub takes nothing new.
            LogBusy: Too much is waiting for the log already.
        """
        if self.draining and not by_hub:
            raise Draining("the hub is shutting down")
        if len(self._staging) >= self.config.staged_events:
            raise LogBusy("too many events are waiting for the log")
        event = self.contract.read(envelope, self, by_hub=by_hub)
        if event.key is None and event.type == MessageType.OPERATION_FAILED:
            event = self._with_operation(event)
        self._staging.add(Draft(event, self._wall.now_ns(), scope), settled)
        self._schedule_tick()
        return event

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, when everyone has been told of the commit under way: replies go out in one write."""
        self._after_commit[callback] = None

    def _with_operation(self, event: Event) -> Event:
        # Plain ErrorData names no operation; it means the one live operation of its trace, if there is exactly one.
        operation_id = self.operations.only_of_trace(event.trace_id)
        return event if operation_id is None else with_operation(event, operation_id)

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
            batch.drop(result)
            later.drop(result)
        else:
            self.log_error = None
            self.counters.accepted += len(batch)
            self._commit_timestamp = self.timestamp()
            self.committing = True
            try:
                batch.commit(result)
            finally:
                self.committing = False
                for callback in self._after_commit:
                    callback()
                self._after_commit.clear()
        self._schedule_tick()

    def _tail(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.event.channel == ChannelType.OPERATIONS:
                self.operations.note(record.event)
        self.delivery.tail(records)

    # Housekeeping.

    def _restore_operations(self) -> None:
        """Fold the newest events of the log, so that operations that were live are live."""
        query = Query(after=0, until=self.log.head, paths=PathSet((Path(ChannelType.OPERATIONS),)), newest_only=True)
        self._restore_page(query)

    def _restore_page(self, query: Query) -> None:
        def done(page: Page | LogError) -> None:
            if isinstance(page, LogError):
                raise page
            for record in page.records:
                self.operations.note(record.event)
            if page.scanned < query.until:
                self.scheduler.call_soon(lambda: self._restore_page(next_query(query, page.scanned)))

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
            if self._staging.gathering and self._staging.appending is None:
                self._tick()
            self.closed = True


def next_query(query: Query, after: int) -> Query:
    """Return `query`, gone on to `after`."""
    return Query(after=after, until=query.until, paths=query.paths, newest_only=query.newest_only)
