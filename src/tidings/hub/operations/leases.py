"""Producer leases: when an attached producer's connection is lost for longer than its lease, its operations fail.

The connection is the sign of life; progress is not, and the job's interpreter does not have to answer anything. When
the connection is lost, the lease runs: at half of it the hub raises an alert, at its end it fails the producer's
operations. A hub that starts gives every leased operation one whole lease (docs/protocol/operations.md, "Leases").
"""

from collections.abc import Callable
from functools import partial
from typing import Literal, Protocol

import structlog

from tidings.exceptions import TidingsError
from tidings.hub.interfaces import HubCore
from tidings.hub.internal_events import publish_internal
from tidings.operations.lifecycle import OperationLife, OperationState
from tidings.operations.status import OperationStatus
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import Attach, Attached, CancelPush, Claim, Verdict
from tidings.protocol.payloads import OperationFailedData, SystemAlertData

PRODUCER_AWAY = "producer_away"
PRODUCER_LOST = "producer_lost"
UNATTENDED = "unattended"
_HUB_CODES = (PRODUCER_LOST, UNATTENDED)
"""Error codes of operations that the hub itself failed."""
_RETRY_S = 1.0
"""Delay before publishing an end that the log refused again."""
_UNATTENDED_CHECK_S = 60.0
"""Interval at which operations without a lease are checked for silence."""
_MAX_CHECKS_PER_ROUND = 2_000
"""Operations checked in one round of the event loop: under a millisecond."""

log = structlog.get_logger("tidings.hub.operations.leases")


class LeaseHolder(Protocol):
    """The connection of an attached producer."""

    def push_cancel(self, push_id: str, push: CancelPush) -> None:
        """Send a push that asks the producer to end an operation."""

    def close(self, code: int, reason: str) -> None:
        """Send `connection:closed` with the reason, and close."""


class _Producer:
    """A producer with a lease."""

    __slots__ = (
        "alerted",
        "check_scheduled",
        "holder",
        "last_seen",
        "lease_overrides",
        "lease_s",
        "posts",
        "producer_id",
    )

    def __init__(self, producer_id: str, lease_s: float, now: float) -> None:
        self.producer_id = producer_id
        self.lease_s = lease_s
        """Default lease of its operations, in seconds."""
        self.lease_overrides: dict[str, float] = {}
        """Leases by operation id, where they differ from the default."""
        self.holder: LeaseHolder | None = None
        """Its connection, or None while it has none."""
        self.last_seen = now
        """Time of its last sign of life, in seconds of the monotonic clock; unused while it is connected."""
        self.posts = False
        """Whether its last sign of life was a post over HTTP."""
        self.alerted: set[str] = set()
        """Its operations for which an alert is raised."""
        self.check_scheduled = False


class Leases:
    """The producers of one hub and the leases on their operations."""

    def __init__(self, hub: HubCore) -> None:
        self._hub = hub
        self._producers: dict[str, _Producer] = {}
        self._failing: set[str] = set()
        """Operations whose end, published by the hub, is about to be appended."""
        self.on_attached: list[Callable[[str, LeaseHolder], None]] = []
        """Called with a producer and its new connection, after the reply was sent."""
        self.on_connected: list[Callable[[str], None]] = []
        """Called with a producer that has a new connection."""
        self.on_detached: list[Callable[[str], None]] = []
        """Called with a producer that has lost its connection."""
        self.on_away: list[Callable[[str], None]] = []
        """Called with an operation for which an alert was raised, because its producer is away."""
        hub.on_operation.append(self._on_operation)

    def start(self) -> None:
        """Give the producers of live operations one whole lease, and start the checks for silent operations."""
        for producer_id in self._hub.operations.producers():
            producer = self._find_or_create(producer_id)
            # The lease that it had before; a producer that attaches sends its lease again.
            leases = [status.life.lease_s for status in self._leased(producer)]
            producer.lease_s = max(leases, default=producer.lease_s)
            self._schedule_check(producer)
        if self._hub.config.unattended_s:
            self._hub.scheduler.call_later(_UNATTENDED_CHECK_S, self._check_unattended)

    # Queries.

    def lease_of(self, producer_id: str, operation_id: str) -> float:
        """Return a producer's lease on an operation, in seconds; 0 if the producer has none."""
        producer = self._producers.get(producer_id)
        return 0.0 if producer is None else producer.lease_overrides.get(operation_id, producer.lease_s)

    def holder(self, producer_id: str) -> LeaseHolder | None:
        """Return the connection of a producer, or None."""
        producer = self._producers.get(producer_id)
        return None if producer is None else producer.holder

    def presence(self, operation_id: str) -> Literal["attached", "away", "unknown"]:
        """Return whether the holder of an operation is `attached` or `away`; `unknown` if it has no holder."""
        life = self._hub.operations.life(operation_id)
        producer = None if life is None else self._producers.get(life.producer_id)
        if life is None or producer is None:
            return "unknown"
        if producer.holder is not None:
            return "attached"
        since = self._hub.clock.monotonic() - producer.last_seen
        return "attached" if producer.posts and since < life.lease_s / 2 else "away"

    def away_since_ns(self, operation_id: str) -> int | None:
        """Return the last sign of life of an absent holder, in nanoseconds since 1970; None if it is not away."""
        life = self._hub.operations.life(operation_id)
        if life is None or self.presence(operation_id) != "away":
            return None
        passed_s = self._hub.clock.monotonic() - self._producers[life.producer_id].last_seen
        return self._hub.now_ns() - int(passed_s * 1e9)

    # Signs of life.

    def attach(self, holder: LeaseHolder, attach: Attach) -> Attached:
        """Attach a producer to this connection, which holds the producer's operations from now on."""
        producer = self._find_or_create(attach.producer_id)
        before, producer.holder = producer.holder, holder
        producer.posts = False
        producer.lease_s = attach.lease_s or self._hub.config.lease_s
        if before is not None and before is not holder:
            before.close(4102, "a newer connection of the same producer has taken its place")
        verdicts = [self._answer_claim(producer, claim) for claim in attach.operations]
        self._clear_alerts(producer)
        if before is not holder:
            for observe in self.on_connected:
                observe(producer.producer_id)
        return Attached(producer_id=producer.producer_id, lease_s=producer.lease_s, operations=verdicts)

    def announce_attached(self, producer_id: str, holder: LeaseHolder) -> None:
        """Call `on_attached`: the producer has received its reply."""
        for observe in self.on_attached:
            observe(producer_id, holder)

    def detach(self, producer_id: str, holder: LeaseHolder) -> None:
        """Record a lost connection: unless a newer one has taken its place, the lease runs."""
        producer = self._producers.get(producer_id)
        if producer is not None and producer.holder is holder:
            producer.holder = None
            self._touch(producer)
            for observe in self.on_detached:
                observe(producer_id)

    def post(self, producer_id: str, lease_s: float | None = None) -> None:
        """Record a post over HTTP: each renews the lease; a post without a lease leaves its length unchanged."""
        producer = self._find_or_create(producer_id)
        producer.lease_s = lease_s or producer.lease_s
        if producer.holder is None:
            producer.posts = True
            self._touch(producer)
            self._clear_alerts(producer)

    def _find_or_create(self, producer_id: str) -> _Producer:
        producer = self._producers.get(producer_id)
        if producer is None:
            hub = self._hub
            producer = _Producer(producer_id, hub.config.lease_s, hub.clock.monotonic())
            self._producers[producer_id] = producer
        return producer

    def _touch(self, producer: _Producer) -> None:
        producer.last_seen = self._hub.clock.monotonic()
        self._schedule_check(producer)

    def _answer_claim(self, producer: _Producer, claim: Claim) -> Verdict:
        operation_id = claim.operation_id
        life = self._hub.life(operation_id)
        verdict = "held" if life is None else self._verdict(producer, claim, life)
        if claim.lease_s is not None:  # also for an ended operation: its next attempt may begin immediately
            producer.lease_overrides[operation_id] = claim.lease_s
        if verdict == "held" and life is not None and life.live:
            self._hub.set_holder(operation_id, producer.producer_id, self.lease_of(producer.producer_id, operation_id))
        return Verdict(
            operation_id=operation_id,
            attempt=None if life is None else life.attempt,
            verdict=verdict,  # type: ignore[arg-type]
        )

    def _verdict(self, producer: _Producer, claim: Claim, life: OperationLife) -> str:
        if not life.live:
            if claim.attempt is not None and claim.attempt > life.attempt:
                return "held"
            status = self._hub.operations.get(claim.operation_id)
            code = "" if status is None or status.error is None else status.error.code
            by_hub = code in _HUB_CODES or claim.operation_id in self._failing
            return "lost" if by_hub or (claim.attempt or life.attempt) < life.attempt else "finished"
        if claim.attempt is not None and claim.attempt != life.attempt:
            return "lost"
        is_free = life.state is OperationState.QUEUED or life.producer_id in ("", producer.producer_id)
        return "held" if is_free else "lost"

    def _on_operation(self, status: OperationStatus) -> None:
        """Drop the lease of an operation that has ended; a producer that begins it again sets its lease again."""
        producer = self._producers.get(status.life.producer_id)
        if producer is not None and not status.live:
            producer.lease_overrides.pop(status.operation_id, None)

    # The lease.

    def _schedule_check(self, producer: _Producer, delay: float | None = None) -> None:
        if producer.check_scheduled:
            return
        if delay is None:
            # Without operations, the default counts: an operation that begins later is then checked in time.
            leases = [status.life.lease_s for status in self._leased(producer)]
            delay = min(leases, default=producer.lease_s) / 2
        producer.check_scheduled = True
        self._hub.scheduler.call_later(delay, partial(self._check, producer))

    def _leased(self, producer: _Producer) -> list[OperationStatus]:
        # Queued operations have no lease: the process that queued one may end long before another begins it.
        return [
            status
            for status in self._hub.operations.of_producer(producer.producer_id)
            if status.life.lease_s and status.state is OperationState.RUNNING
        ]

    def _check(self, producer: _Producer) -> None:
        """Raise the alerts and publish the failures that are due; schedule the next check."""
        producer.check_scheduled = False
        # A hub that drains sends its producers to the next hub, where they have a whole lease.
        if producer.holder is not None or self._hub.closed or self._hub.draining:
            return
        elapsed = self._hub.clock.monotonic() - producer.last_seen
        leased = self._leased(producer)
        if not leased:
            if elapsed >= producer.lease_s:
                self._producers.pop(producer.producer_id, None)
            else:
                self._schedule_check(producer, producer.lease_s - elapsed)
            return
        due: list[float] = []
        for status in leased:
            lease_s = status.life.lease_s
            if elapsed >= lease_s:
                due.append(_RETRY_S)
                self._fail_lost(producer, status)
                continue
            if elapsed >= lease_s / 2:
                self._raise_alert(producer, status)
                due.append(lease_s - elapsed)
            else:
                due.append(lease_s / 2 - elapsed)
        self._schedule_check(producer, max(0.001, min(due)))

    def _fail_lost(self, producer: _Producer, status: OperationStatus) -> None:
        operation_id, lease_s = status.operation_id, status.life.lease_s
        if operation_id in self._failing:
            return
        log.warning("producer lost", producer_id=producer.producer_id, operation_id=operation_id)
        self._fail(
            status,
            PRODUCER_LOST,
            f"the producer has been away for {lease_s:g} s",
            "Check the machine that it ran on. Start it again to continue as the next attempt.",
        )
        if operation_id in producer.alerted:
            self._clear_alert(producer, operation_id)

    def _raise_alert(self, producer: _Producer, status: OperationStatus) -> None:
        operation_id = status.operation_id
        if operation_id in producer.alerted:
            return
        producer.alerted.add(operation_id)
        name = status.name or operation_id
        publish_internal(
            self._hub,
            MessageType.SYSTEM_ALERT,
            SystemAlertData(
                alert_id=_alert_id(operation_id),
                severity="warning",
                state="raised",
                operation_id=operation_id,
                code=PRODUCER_AWAY,
                message=f"the producer of {name!r} has been away for {status.life.lease_s / 2:g} s",
                recoverable=True,
                hint=f"The operation fails in {status.life.lease_s / 2:g} s unless it comes back.",
            ),
            trace_id=status.life.trace_id,
        )
        for observe in self.on_away:
            observe(operation_id)

    def _clear_alerts(self, producer: _Producer) -> None:
        for operation_id in list(producer.alerted):
            self._clear_alert(producer, operation_id)

    def _clear_alert(self, producer: _Producer, operation_id: str) -> None:
        producer.alerted.discard(operation_id)
        life = self._hub.operations.life(operation_id)
        publish_internal(
            self._hub,
            MessageType.SYSTEM_ALERT,
            SystemAlertData(
                alert_id=_alert_id(operation_id),
                severity="info",
                state="cleared",
                operation_id=operation_id,
                code=PRODUCER_AWAY,
                message="the producer is back" if producer.holder or producer.posts else "the operation has failed",
                recoverable=True,
            ),
            trace_id="" if life is None else life.trace_id,
        )

    # Operations without a lease.

    def _check_unattended(self) -> None:
        hub = self._hub
        if hub.closed:
            return
        hub.scheduler.call_later(_UNATTENDED_CHECK_S, self._check_unattended)
        self._fail_unattended([status.operation_id for status in hub.operations.live])

    def _fail_unattended(self, operation_ids: list[str]) -> None:
        hub = self._hub
        before_ns = hub.now_ns() - int(hub.config.unattended_s * 1e9)
        for operation_id in operation_ids[:_MAX_CHECKS_PER_ROUND]:
            status = hub.operations.get(operation_id)
            if status is None or not status.live or status.heard_ns > before_ns:
                continue
            is_leased = status.life.lease_s and status.state is OperationState.RUNNING
            if not is_leased and operation_id not in self._failing:
                hours = hub.config.unattended_s / 3600
                self._fail(status, UNATTENDED, f"no event for {hours:g} h, and no lease", "Start it again.")
        if operation_ids[_MAX_CHECKS_PER_ROUND:]:
            hub.scheduler.call_soon(partial(self._fail_unattended, operation_ids[_MAX_CHECKS_PER_ROUND:]))

    # The hub's own events.

    def _fail(self, status: OperationStatus, code: str, message: str, hint: str) -> None:
        operation_id = status.operation_id
        failed = OperationFailedData(
            operation_id=operation_id,
            attempt=status.life.attempt,
            code=code,
            message=message,
            recoverable=True,
            hint=hint,
        )

        def settled(error: TidingsError | None) -> None:
            self._failing.discard(operation_id)

        self._failing.add(operation_id)
        publish_internal(
            self._hub, MessageType.OPERATION_FAILED, failed, trace_id=status.life.trace_id, settled=settled
        )


def _alert_id(operation_id: str) -> str:
    return f"{PRODUCER_AWAY}:{operation_id}"
