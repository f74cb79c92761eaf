"""The hub: it appends events to the log and delivers them from the log's tail (ARCHITECTURE.md, "Five ideas")."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import structlog
from msgspec import Struct

from tidings.access.audit import AuditTrail
from tidings.access.control import AccessControl
from tidings.access.subjects import Subject
from tidings.contract.contract import Contract
from tidings.exceptions import Draining, Forbidden, LogBusy, LogError, LogUnavailable
from tidings.hub.clock import Clock, SteadyWallClock
from tidings.hub.config import HubConfig
from tidings.hub.delivery import Delivery
from tidings.hub.inbound_rates import InboundRates
from tidings.hub.interfaces import HubLicense
from tidings.hub.operations.cancellation import CancellationRegistry
from tidings.hub.operations.estimator import EstimatePublisher
from tidings.hub.operations.leases import Leases
from tidings.hub.publish_checks import RESERVING_TYPES, check_reserved, check_subject
from tidings.hub.rate_limits import LogSampler
from tidings.hub.recurring_jobs import RecurringJobs
from tidings.hub.stage_room import StageRoom
from tidings.hub.staging import Batch, PublishCallback, Staging
from tidings.hub.undeclared_types import UndeclaredTypes
from tidings.log.base import (
    EventToAppend,
    Log,
    OnControl,
    OperationSearch,
    Outcome,
    ReceivedControl,
    Record,
    Scheduler,
)
from tidings.log.clock_jumps import MIN_JUMP_NS
from tidings.log.journal.controls import HubControl
from tidings.operations.lifecycle import OPERATION_CHANNELS
from tidings.operations.present_times import at_present
from tidings.operations.status import OperationStatus
from tidings.protocol.envelope import Envelope, Event
from tidings.protocol.message_types import ChannelType, MessageType
from tidings.protocol.timestamps import from_nanoseconds

_RETENTION_PAUSE_S = 0.01
"""Pause between two steps of retention while there is work: a step takes a millisecond or two."""

_LIFE_TYPES = frozenset(
    {
        MessageType.OPERATION_START,
        MessageType.OPERATION_COMPLETE,
        MessageType.OPERATION_FAILED,
        MessageType.OPERATION_CANCELLED,
    }
)
"""Types at which an operation usually begins or ends; observers of operations are called for them."""

log = structlog.get_logger("tidings.hub")


class HubCounters(Struct):
    """Counts since the hub started, for metrics and for tests that count."""

    accepted: int = 0
    """Events that were appended to the log."""
    refused: int = 0
    """Events that the log refused."""
    ticks: int = 0
    """Batches passed to the log."""


class Hub:
    """One hub over one log.

    Everything happens on the thread of `scheduler`'s loop; nothing awaits.

    Args:
        contract: The contract, which defines the events that may be published.
        event_log: The log; the hub follows its tail.
        scheduler: The event loop.
        clock: The machine's clocks.
        mint: Makes ids: 32 lower-case hex digits, a W3C trace id.
        config: Limits and intervals.
        access: Identifies clients; None lets everyone do everything.
    """

    def __init__(
        self,
        contract: Contract,
        event_log: Log,
        scheduler: Scheduler,
        clock: Clock,
        mint: Callable[[], str],
        config: HubConfig | None = None,
        access: AccessControl | None = None,
    ) -> None:
        self.contract = contract
        self.log = event_log
        self.scheduler = scheduler
        self.clock = clock
        self.mint = mint
        self.config = config or HubConfig()
        self.access = access
        self.audit = AuditTrail(clock.wall_ns, clock.monotonic)
        """The audit trail."""
        self.counters = HubCounters()
        self.operations = event_log.operations
        """The log's operations, without the events that are staged."""
        self.on_operation: list[Callable[[OperationStatus], None]] = []
        """Called with each operation that began or ended, after the event was appended and delivered."""
        self.producers = event_log.producers
        """The log's producers."""
        self.on_control: list[OnControl] = []
        """Called with each control of any hub of the log, after the events before it were delivered."""
        self.delivery = Delivery(event_log, scheduler, clock, self.config)
        self.refusal_log = LogSampler()
        """Which refusals of messages are logged."""
        self.log_error: LogError | None = None
        """The error with which the log refused its last batch; None if it accepted that batch."""
        self.draining = False
        self.rates = InboundRates(self.config, clock)
        """How many events and commands clients may send each second."""
        self._limits_subjects = self.config.subject_events_per_s > 0
        self.license: HubLicense | None = None
        """The license; None for a hub that needs none."""
        self.closed = False
        self.started = clock.monotonic()
        self._wall = SteadyWallClock(clock)
        self._staging = Staging(
            max_events=min(self.config.staged_events, 2 * self.config.batch_events),
            max_bytes=self.config.staged_bytes,
            count_fitting=event_log.count_fitting if event_log.session else None,
        )
        self.room = StageRoom(self._staging)
        """Which publishers may publish now."""
        self._tick_scheduled = False
        self._undeclared = UndeclaredTypes(self, contract)
        self._after_commit: dict[Callable[[], None], None] = {}
        self._commit_timestamp = ""
        self.committing = False
        """Whether the results of a batch are being reported to its publishers now."""
        self.jobs = RecurringJobs(scheduler, clock)
        self.leases = Leases(self)
        self.cancellations = CancellationRegistry(self, self.leases)
        self.estimates = EstimatePublisher(self, self.leases, self.cancellations)
        event_log.follow(self._deliver, self._receive_control)
        event_log.start_clock(self.now_ns(), int(clock.monotonic() * 1e9))
        self.leases.start()
        self.cancellations.start()
        self.jobs.start("retention", self.config.maintain_s, self._maintain, delay_s=0)

    # Values for what an envelope leaves out (`EnvelopeDefaults`).

    def timestamp(self) -> str:
        """Return the hub's clock as a canonical timestamp: the same that `now_ns` returns."""
        return from_nanoseconds(self.now_ns())

    def tick_timestamp(self) -> str:
        """Return the hub's clock as a canonical timestamp, read once for all replies of one commit."""
        return self._commit_timestamp if self.committing else self.timestamp()

    def trace_id(self, channel: str, key: str | None) -> str:
        """Return a new trace id; the log replaces it with that of the operation, if the operation is live."""
        return self.mint()

    def now_ns(self) -> int:
        """Return nanoseconds since 1970, from a clock that does not jump."""
        return self._wall.now_ns()

    def silence_s(self, status: OperationStatus) -> float:
        """Return the time since the last event of an operation, in seconds; jumps of the clock do not count."""
        return (self.now_ns() - self.log.received_ns(status.offset, status.heard_ns)) / 1e9

    def at_present(self, status: OperationStatus) -> OperationStatus:
        """Return an operation with its times by the present clock; see `tidings.operations.present_times`."""
        return at_present(status, self.log.shown_ns)

    def by_age(self, status: OperationStatus) -> OperationStatus:
        """Return an operation with the times from which its ages count: none while its machine was off."""
        return at_present(status, self.log.received_ns)

    def has_event(self, type: MessageType, key: str) -> bool:
        """Return whether the log holds an event of a declared type and a key."""
        channel = self.contract.events[type].channel
        return channel is not None and self.log.newest.offset(channel, type, key) is not None

    def event_keys(self, type: MessageType) -> list[str]:
        """Return the keys of which the log holds an event of a declared type."""
        channel = self.contract.events[type].channel
        return [] if channel is None else [key for key, _ in self.log.newest.keys(channel, type) if key is not None]

    @property
    def log_failure(self) -> LogError | None:
        """The error for which the log does not accept events now; None if it accepts them."""
        return self.log.failed or self.log_error

    # Other hubs of the log.

    @property
    def session(self) -> str:
        """See `Log.session`."""
        return self.log.session

    @property
    def leads(self) -> bool:
        """See `Log.leads`."""
        return self.log.leads

    def record(self, control: HubControl) -> None:
        """See `Log.record`."""
        self.log.record(control)

    def _receive_control(self, received: ReceivedControl) -> None:
        for observe in self.on_control:
            try:
                observe(received)
            except Exception:  # the tail goes on
                log.exception("a control failed", control=type(received.control).__name__)

    # Publishing.

    @property
    def staged(self) -> int:
        """Number of events that wait for the log."""
        return len(self._staging)

    def after_staged(self, step: Callable[[], None]) -> None:
        """Call `step` once all events that are staged now are settled, before any later one is appended.

        It then sees the operations as these events leave them. Without staged events it is called immediately.
        """
        if self._staging:
            self._staging.add_step(step)
        else:
            step()

    def publish(
        self,
        envelope: Envelope,
        settled: PublishCallback,
        *,
        scope: str = "",
        trace_id: str = "",
        producer_id: str = "",
        by_hub: bool = False,
        body: bytes = b"",
        subject: Subject | None = None,
        running_attempt: int = 0,
        holder_sign: int | None = None,
    ) -> Event:
        """Check `envelope` and stage its event; `settled` is called when the log has appended or rejected it.

        Args:
            envelope: The envelope to publish.
            settled: Called once with the outcome. The log rejects what an operation or an event id does not allow.
            scope: Namespace of its event id.
            trace_id: Trace id of the request, for an event that has none and belongs to no live operation.
            producer_id: Id of the producer, "" if it has none; a producer holds the operations that it begins.
            by_hub: Whether the hub itself publishes it.
            body: The message as it was sent; see `Contract.read`.
            subject: The subject that publishes it; None for the hub itself, and without authentication.
            running_attempt: See `EventToAppend.running_attempt`.
            holder_sign: See `EventToAppend.holder_sign`.

        Returns:
            The event as it was staged.

        Raises:
            ContractError: The contract does not allow it; see `Contract.read`.
            Forbidden: `subject` has no grant for it.
            ReservedName: It has a source or an alert id of the hub.
            Draining: The hub accepts no new events.
            LicenseExpired: The license of the hub has expired.
            RateLimited: The subject publishes more events each second than it may.
            LogBusy: Too many events wait for the log already.
        """
        if self.closed or (self.draining and not by_hub):
            raise Draining("the hub is shutting down")
        if self.license is not None and not by_hub:
            self.license.check_publish()
        if self._limits_subjects and subject is not None:
            self.rates.check_event(subject)
        if len(self._staging) >= self.config.staged_events:
            raise LogBusy("too many events are waiting for the log")
        defaults = _RequestDefaults(self, trace_id) if trace_id else self
        event = self.contract.read(envelope, defaults, by_hub=by_hub, body=body)
        if event.type in RESERVING_TYPES and not by_hub:
            check_reserved(event)
        search = None
        if event.key is None and event.type == MessageType.OPERATION_FAILED:
            search, settled = self._search_operation(event, subject, settled)
        elif subject is not None and (event.type, event.channel, event.key) not in subject.grants.accepted:
            check_subject(event, subject, self.contract)
        if self.contract.lenient and event.type not in self.contract.events:
            self._undeclared.admit(event.type, "" if subject is None else subject.name)
        lease_s = self.leases.lease_of(producer_id, event.key) if producer_id and event.key is not None else 0.0
        has_own_trace = bool(envelope.trace_id) or event.key is None or not self._is_of_operations(event)
        self._staging.add(
            EventToAppend(
                event,
                self.now_ns(),
                scope,
                producer_id,
                lease_s,
                by_hub,
                has_own_trace,
                search,
                running_attempt,
                self.config.live_operations,
                holder_sign,
            ),
            settled,
        )
        self._schedule_tick()
        return event

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, after all results of the current batch are reported: replies go out in one write."""
        self._after_commit[callback] = None

    def _is_of_operations(self, event: Event) -> bool:
        declared = self.contract.events.get(event.type)
        return declared is not None and declared.channel == ChannelType.OPERATIONS

    def _search_operation(
        self, event: Event, subject: Subject | None, settled: PublishCallback
    ) -> tuple[OperationSearch, PublishCallback]:
        """Return how the log finds the operation of plain ErrorData, and the callback for its outcome.

        Raises:
            Forbidden: `subject` may not publish it, with whatever operation.
        """
        if subject is None:
            return OperationSearch(), settled
        channels = dict.fromkeys((str(ChannelType.OPERATIONS), event.channel))
        writable = tuple((channel, subject.grants.publishable_paths(event.type, channel)) for channel in channels)
        try:
            check_subject(event, subject, self.contract)
        except Forbidden as error:
            if not all(paths for _, paths in writable):
                raise
            return OperationSearch(writable, required=True), partial(_settle_forbidden, settled, error)
        return OperationSearch(writable), settled

    def _schedule_tick(self) -> None:
        if not self._tick_scheduled and self._staging.appending is None and self._staging.waits:
            self._tick_scheduled = True
            self.scheduler.call_soon(self._tick)

    def _tick(self) -> None:
        """Append the events that gathered since the last round of the loop as one batch."""
        self._tick_scheduled = False
        if self.closed:
            return
        self._run_steps()
        if self._staging.appending is not None or not self._staging.waits:
            return
        batch: Batch | None = None
        try:
            batch = self._staging.take(self.config.batch_events, self.config.batch_bytes)
            self.counters.ticks += 1
            self.log.append([staged.entry for staged in batch.staged], self._appended)
        except Exception as cause:  # also MemoryError: a batch without a result would stop publishing for all
            log.exception("a batch failed on its way to the log")
            if batch is None or self._staging.appending is batch:
                self._refuse(LogUnavailable(f"the batch failed before the log: {cause!r}"))

    def _run_steps(self) -> None:
        while (step := self._staging.due_step()) is not None:
            try:
                step()
            except Exception:  # one step's fault must not keep the others from running
                log.exception("a step that waited for staged events failed")

    def _appended(self, result: Sequence[Outcome] | LogError) -> None:
        if isinstance(result, LogError):
            self._refuse(result)
            return
        batch = self._staging.appended()
        self.log_error = None
        with self._reporting_results():
            self.counters.accepted += batch.settle(result)
        self.room.serve()
        self._schedule_tick()

    def _refuse(self, error: LogError) -> None:
        """Fail all staged events: those of one connection keep their order, so what follows a failed one fails too."""
        self.log_error = error
        batches = self._staging.drop()
        events = sum(map(len, batches))
        log.error("the log refused a batch", error=str(error), code=error.code, events=events)
        self.counters.refused += events
        with self._reporting_results():
            for batch in batches:
                batch.fail(error)
        self.room.serve()
        self._schedule_tick()

    @contextmanager
    def _reporting_results(self) -> Iterator[None]:
        self._commit_timestamp = self.timestamp()
        self.committing = True
        try:
            yield
        finally:
            self.committing = False
            callbacks, self._after_commit = self._after_commit, {}
            for callback in callbacks:
                try:
                    callback()
                except Exception:  # one connection's fault must not keep the replies from the others
                    log.exception("writing the replies of a connection failed")

    def _deliver(self, records: Sequence[Record]) -> None:
        try:
            self.delivery.deliver(records)
        except Exception:
            log.exception("delivering a batch failed; its subscribers read it from the log", events=len(records))
            self.delivery.recover(records)
        for record in records:
            event = record.event
            if event.type in _LIFE_TYPES and event.key is not None and event.channel in OPERATION_CHANNELS:
                self._notify_observers(event.key)

    def _notify_observers(self, operation_id: str) -> None:
        status = self.operations.get(operation_id)
        if status is None:
            return
        for observe in self.on_operation:
            try:
                observe(status)
            except Exception:  # one observer's fault must not keep the tail from the others
                log.exception("an observer of operations failed", operation_id=operation_id)

    # Housekeeping.

    def _maintain(self) -> float | None:
        jump_ns = self._wall.adopt()
        if jump_ns:
            log.warning("the wall clock was set: ages go on as before", seconds=round(jump_ns / 1e9, 1))
        if abs(jump_ns) >= MIN_JUMP_NS:
            self.log.record_jump(jump_ns)
        now_ns = self._wall.now_ns()
        more = self.log.maintain(now_ns)
        # This hub alone decides what its log forgets.
        more = self.log.forget(now_ns, self.log.forgettable) or more
        return _RETENTION_PAUSE_S if more else None

    def close(self) -> None:
        """Append the staged events and stop; the caller closes the log."""
        if not self.closed:
            while self._staging.waits and self._staging.appending is None:
                self._tick()
            self.closed = True
            self.jobs.close()


class _RequestDefaults:
    """The hub's `EnvelopeDefaults` for an event of a request that names a trace."""

    __slots__ = ("_hub", "_trace_id")

    def __init__(self, hub: Hub, trace_id: str) -> None:
        self._hub = hub
        self._trace_id = trace_id

    def timestamp(self) -> str:
        """See `EnvelopeDefaults.timestamp`."""
        return self._hub.timestamp()

    def trace_id(self, channel: str, key: str | None) -> str:
        """See `EnvelopeDefaults.trace_id`."""
        return self._trace_id


def _settle_forbidden(settled: PublishCallback, forbidden: Forbidden, outcome: Outcome) -> None:
    """Report `forbidden`, which lists what is allowed, in place of the log's own error."""
    settled(forbidden if isinstance(outcome, Forbidden) else outcome)
