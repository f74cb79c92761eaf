"""Producer leases: when an attached producer's connection is lost for longer than its lease, its operations fail.

The connection is the sign of life; progress is not, and the job's interpreter does not have to answer anything. When
the connection is lost, the lease runs: at half of it the hub raises an alert, at its end it fails the producer's
operations. A hub that starts gives every leased operation one whole lease (docs/protocol/operations.md, "Leases").

Only time in which the hub ran counts, and sockets are read before leases are judged: what waits in them may be the sign
of life.
"""

import heapq
from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from math import inf
from typing import Literal, Protocol

import structlog
from msgspec import Struct

from tidings.exceptions import HubError, TidingsError
from tidings.hub.clock import RunningTime
from tidings.hub.interfaces import HubCore
from tidings.hub.internal_events import publish_internal
from tidings.hub.operations.away_alerts import RETRY_S, AwayAlerts
from tidings.hub.operations.rounds import Rounds
from tidings.operations.lifecycle import OperationLife, OperationState
from tidings.operations.status import OperationStatus
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import Attach, Attached, CancelPush, Claim, Verdict
from tidings.protocol.payloads import OperationFailedData

PRODUCER_LOST = "producer_lost"
UNATTENDED = "unattended"
_HUB_CODES = (PRODUCER_LOST, UNATTENDED)
"""Error codes of operations that the hub itself failed."""
_BACK = "the producer is back"
_WATCH_S = 10.0
"""Interval at which the timer of the leases is watched."""
_UNATTENDED_CHECK_S = 60.0
"""Interval at which operations without a lease are checked for silence."""
_MAX_IDLE_S = 30.0
"""Time after which a producer that has lost its connection and holds nothing is forgotten, however long its lease."""
MAX_PRODUCERS = 10_000
"""Producers beyond which those that hold nothing and have no connection are forgotten, the least recent first: anyone
may post under any number of ids. Such a producer loses the length of its lease, which its next start may bring."""
_EXAMINED_PER_PRODUCER = 2
"""Producers that are examined for that with each new one."""
_CHECKS_PER_STEP = 100
"""Operations checked in one step of `Rounds`: under 0.1 ms."""
_CHECK_S_PER_OPERATION = 20e-6
"""Minimum interval of the checks of one producer, for each of its operations: ten times what checking it takes."""
_ROUNDING_S = 1e-6
"""Rounding error of a timer and of `RunningTime`."""
_MAX_STALE_CHECKS = 1_024
"""Superseded entries that the queue of checks may hold in addition to as many as there are producers."""

log = structlog.get_logger("tidings.hub.operations.leases")


class LeaseHolder(Protocol):
    """The connection of an attached producer."""

    def push_cancel(self, push_id: str, push: CancelPush) -> None:
        """Send a push that asks the producer to end an operation."""

    def close(self, code: int, reason: str) -> None:
        """Send `connection:closed` with the reason, and close."""


class ProducerState(Struct, frozen=True, kw_only=True):
    """A producer, for people who look after the hub."""

    producer_id: str
    presence: Literal["attached", "away"]
    last_seen_ns: int | None
    """Last sign of life of one that is away, nanoseconds since 1970."""
    lease_s: float
    """Its default lease in seconds."""
    operations: int
    """Live operations that it holds."""


class _Producer:
    """A producer with a lease."""

    __slots__ = (
        "check_at",
        "holder",
        "last_seen",
        "lease_overrides",
        "lease_s",
        "posts",
        "producer_id",
        "seen_at",
        "shortest_s",
    )

    def __init__(self, producer_id: str, lease_s: float) -> None:
        self.producer_id = producer_id
        self.lease_s = lease_s
        """Default lease of its operations, in seconds."""
        self.lease_overrides: dict[str, float] = {}
        """Leases by operation id, where they differ from the default."""
        self.shortest_s = lease_s
        """Lower bound of the leases of its operations, in seconds."""
        self.holder: LeaseHolder | None = None
        """Its connection, or None while it has none."""
        self.last_seen = 0.0
        """Time of its last sign of life, in seconds of the monotonic clock; unused while it is connected."""
        self.seen_at = 0.0
        """The same in seconds of `RunningTime`."""
        self.posts = False
        """Whether its last sign of life was a post over HTTP."""
        self.check_at: float | None = None
        """When it is checked next, in seconds of `RunningTime`."""


class Leases:
    """The producers of one hub and the leases on their operations."""

    def __init__(self, hub: HubCore) -> None:
        self._hub = hub
        self._producers: OrderedDict[str, _Producer] = OrderedDict()
        self._time = RunningTime(hub.clock)
        self._rounds = Rounds(hub)
        self._alerts = AwayAlerts(hub, self._rounds)
        self._checks: list[tuple[float, int, _Producer]] = []
        """A heap of the times at which producers are checked; entries other than `_Producer.check_at` are stale."""
        self._check_numbers = count()
        self._beat_at: float | None = None
        """Time of the next `_beat`, in seconds of `RunningTime`; None while no producer is away."""
        self._beats: int | None = None
        """Calls of `_beat` since the last `_watch`; None if there was nothing to check then, and no call since."""
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
        """Give the producers of live operations one whole lease, and start the checks for silent operations.

        The lease begins when they have had time to return: after a drain, each comes back at a time of its own.
        """
        producer_ids = list(self._hub.operations.producers())
        returning_s = len(producer_ids) // self._hub.config.reconnect_rate
        for producer_id in producer_ids:
            producer = self._find_or_create(producer_id)
            # The lease that it had before; a producer that attaches sends its lease again.
            leases = [status.life.lease_s for status in self._leased(producer)]
            producer.lease_s = max(leases, default=producer.lease_s)
            producer.shortest_s = min(leases, default=producer.lease_s)
            self._see(producer, in_s=returning_s)
        self._alerts.start()
        self._hub.jobs.start("leases", _WATCH_S, self._watch)
        if self._hub.config.unattended_s:
            self._hub.jobs.start("unattended", _UNATTENDED_CHECK_S, self._check_unattended)

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
        since = self._now() - producer.seen_at
        return "attached" if producer.posts and since < life.lease_s / 2 else "away"

    def away_since_ns(self, operation_id: str) -> int | None:
        """Return the last sign of life of an absent holder, in nanoseconds since 1970; None if it is not away."""
        life = self._hub.operations.life(operation_id)
        if life is None or self.presence(operation_id) != "away":
            return None
        return self._seen_ns(self._producers[life.producer_id])

    def producers(self) -> Iterator[ProducerState]:
        """Yield the producers that are connected, or hold live operations."""
        for producer_id, producer in list(self._producers.items()):
            held = self._hub.operations.of_producer(producer_id)
            is_attached = producer.holder is not None
            if not (is_attached or held):
                continue
            if not is_attached and held:
                is_attached = self.presence(held[0].operation_id) == "attached"
            yield ProducerState(
                producer_id=producer_id,
                presence="attached" if is_attached else "away",
                last_seen_ns=None if is_attached else self._seen_ns(producer),
                lease_s=producer.lease_s,
                operations=len(held),
            )

    def _seen_ns(self, producer: _Producer) -> int:
        return self._hub.now_ns() - int((self._hub.clock.monotonic() - producer.last_seen) * 1e9)

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
        self._alerts.clear_producer(producer.producer_id, _BACK)
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
            leases = [status.life.lease_s for status in self._leased(producer)]
            producer.shortest_s = min(leases, default=min(producer.lease_s, _MAX_IDLE_S))
            self._see(producer)
            for observe in self.on_detached:
                observe(producer_id)

    def post(self, producer_id: str, lease_s: float | None = None) -> None:
        """Record a post over HTTP: each renews the lease; a post without a lease leaves its length unchanged."""
        producer = self._find_or_create(producer_id)
        producer.lease_s = lease_s or producer.lease_s
        producer.shortest_s = min(producer.shortest_s, producer.lease_s)
        if producer.holder is None:
            producer.posts = True
            self._see(producer)
            self._alerts.clear_producer(producer_id, _BACK)

    def _find_or_create(self, producer_id: str) -> _Producer:
        producer = self._producers.get(producer_id)
        if producer is None:
            self._make_room()
            producer = _Producer(producer_id, self._hub.config.lease_s)
            self._producers[producer_id] = producer
        return producer

    def _make_room(self) -> None:
        for _ in range(_EXAMINED_PER_PRODUCER):
            if len(self._producers) < MAX_PRODUCERS:
                return
            producer_id, producer = next(iter(self._producers.items()))
            if producer.holder is None and not self._hub.operations.holds_any(producer_id):
                del self._producers[producer_id]
            else:
                self._producers.move_to_end(producer_id)

    def _see(self, producer: _Producer, *, in_s: float = 0.0) -> None:
        """Record a sign of life of a producer without a connection: its leases run from now on, or `in_s` later."""
        producer.last_seen = self._hub.clock.monotonic()
        producer.seen_at = self._now() + in_s
        self._check_within(producer, producer.shortest_s / 2)

    def _answer_claim(self, producer: _Producer, claim: Claim) -> Verdict:
        operation_id = claim.operation_id
        life = self._hub.operations.life(operation_id)
        verdict = "held" if life is None else self._verdict(producer, claim, life)
        if claim.lease_s is not None:  # also for an ended operation: its next attempt may begin immediately
            producer.lease_overrides[operation_id] = claim.lease_s
            producer.shortest_s = min(producer.shortest_s, claim.lease_s)
        if verdict == "held" and life is not None and life.live:
            lease_s = self.lease_of(producer.producer_id, operation_id)
            if (life.producer_id, life.lease_s) != (producer.producer_id, lease_s):
                self._hub.operations.hold(operation_id, producer.producer_id, lease_s)
        return Verdict(
            operation_id=operation_id,
            attempt=None if life is None else life.attempt,
            verdict=verdict,  # type: ignore[arg-type]
        )

    def _verdict(self, producer: _Producer, claim: Claim, life: OperationLife) -> str:
        if life.live and claim.operation_id in self._failing:
            return "lost"
        if not life.live:
            if claim.attempt is not None and claim.attempt > life.attempt:
                return "held"
            status = self._hub.operations.get(claim.operation_id)
            code = "" if status is None or status.error is None else status.error.code
            return "lost" if code in _HUB_CODES or (claim.attempt or life.attempt) < life.attempt else "finished"
        if claim.attempt is not None and claim.attempt != life.attempt:
            return "lost"
        is_free = life.state is OperationState.QUEUED or life.producer_id in ("", producer.producer_id)
        return "held" if is_free else "lost"

    def _on_operation(self, status: OperationStatus) -> None:
        """Run the lease of an operation that an absent producer began; drop the lease of one that has ended."""
        life = status.life
        producer = self._producers.get(life.producer_id)
        if not status.live:
            if producer is not None:  # a producer that begins the operation again sets its lease again
                producer.lease_overrides.pop(status.operation_id, None)
        elif life.lease_s and status.state is OperationState.RUNNING:
            if producer is None:  # it was lost, and forgotten, before its start was in the log
                producer = self._find_or_create(life.producer_id)
                self._see(producer)
            producer.shortest_s = min(producer.shortest_s, life.lease_s)
            if producer.holder is None:
                self._check_within(producer, life.lease_s / 2)

    # The lease.

    def _now(self) -> float:
        """Return the time that leases are measured in."""
        if self._beat_at is None:
            self._time.resume()
        return self._time.now()

    def _check_within(self, producer: _Producer, delay: float) -> None:
        """Check a producer `delay` seconds after its last sign of life, or before."""
        at = producer.seen_at + delay
        if producer.check_at is None or at < producer.check_at:
            producer.check_at = at
            heapq.heappush(self._checks, (at, next(self._check_numbers), producer))
            if len(self._checks) > 2 * len(self._producers) + _MAX_STALE_CHECKS:
                self._checks = [check for check in self._checks if check[0] == check[2].check_at]
                heapq.heapify(self._checks)
            self._schedule_beat()

    def _schedule_beat(self) -> None:
        """Read the time again when the next check is due, or before."""
        now = self._now()
        delay = self._time.beat(self._checks[0][0] - now)
        if self._beat_at is None or now + delay < self._beat_at - _ROUNDING_S:
            self._beat_at = now + delay
            self._hub.scheduler.call_later(delay, partial(self._beat, self._beat_at))

    def _beat(self, beat_at: float) -> None:
        if beat_at != self._beat_at or self._hub.closed:
            return  # an earlier one took its place
        self._beats = (self._beats or 0) + 1
        try:
            self._judge_due()
        finally:
            self._beat_at = None
            if self._checks:
                self._schedule_beat()

    def _judge_due(self) -> None:
        now = self._now()
        due: list[_Producer] = []
        while self._checks and self._checks[0][0] <= now + _ROUNDING_S:
            at, _, producer = heapq.heappop(self._checks)
            if at == producer.check_at:
                producer.check_at = None
                due.append(producer)
        if due:
            # Event loops run timers before they read sockets; after two rounds they have read them in any case.
            scheduler = self._hub.scheduler
            judge = partial(self._rounds.add, self._judge_all(due))
            scheduler.call_soon(partial(scheduler.call_soon, judge))

    def _watch(self) -> None:
        """Begin the beat again if it stopped.

        Raises:
            HubError: It had stopped.
        """
        stopped = self._beats == 0  # None where there was nothing to check at the last call
        self._beats = 0 if self._checks else None
        if stopped and self._checks:
            self._beat_at = None
            self._schedule_beat()
            raise HubError(f"leases were not judged for {_WATCH_S:g} s")

    def _judge_all(self, producers: list[_Producer]) -> Iterator[None]:
        for producer in producers:
            try:
                yield from self._judge(producer)
            except Exception:  # the leases of other producers run on
                log.exception("judging the leases of a producer failed", producer_id=producer.producer_id)
                self._check_within(producer, self._now() - producer.seen_at + RETRY_S)
            yield

    def _leased(self, producer: _Producer) -> list[OperationStatus]:
        # Queued operations have no lease: the process that queued one may end long before another begins it.
        return [
            status
            for status in self._hub.operations.of_producer(producer.producer_id)
            if status.life.lease_s and status.state is OperationState.RUNNING
        ]

    def _judge(self, producer: _Producer) -> Iterator[None]:
        """Raise the alerts and publish the failures that are due, an event a step; schedule the next check."""
        hub, seen_at = self._hub, producer.seen_at
        leased = self._leased(producer) if producer.holder is None else []
        if not leased:
            self._forget(producer)
            return
        next_s = inf
        for number, status in enumerate(leased, 1):
            # A hub that drains sends its producers to the next hub, where they have a whole lease.
            if producer.holder is not None or hub.closed or hub.draining:
                return
            if producer.seen_at != seen_at:
                break  # a post came in between
            lease_s, elapsed = status.life.lease_s, self._now() - seen_at + _ROUNDING_S
            is_lost, is_away = elapsed >= lease_s, elapsed >= lease_s / 2
            next_s = min(next_s, elapsed + RETRY_S if is_lost else lease_s if is_away else lease_s / 2)
            if is_lost:
                self._fail_lost(producer, status)
                yield
            elif is_away and not self._alerts.is_raised(status.operation_id):
                self._raise_alert(producer, status)
                yield
            elif number % _CHECKS_PER_STEP == 0:
                yield
        if producer.seen_at != seen_at:
            next_s = producer.shortest_s / 2
        elapsed = self._now() - producer.seen_at
        self._check_within(producer, max(next_s, elapsed + len(leased) * _CHECK_S_PER_OPERATION))

    def _forget(self, producer: _Producer) -> None:
        """Forget a producer without operations once its lease has ended, or soon if it sends its lease again anyway."""
        if producer.holder is None and self._producers.get(producer.producer_id) is producer:
            idle_s = producer.lease_s if producer.posts else min(producer.lease_s, _MAX_IDLE_S)
            if self._now() - producer.seen_at + _ROUNDING_S >= idle_s:
                del self._producers[producer.producer_id]
            else:
                self._check_within(producer, idle_s)

    def _fail_lost(self, producer: _Producer, status: OperationStatus) -> None:
        operation_id, lease_s = status.operation_id, status.life.lease_s
        if operation_id in self._failing or not status.live:
            return
        log.warning("producer lost", producer_id=producer.producer_id, operation_id=operation_id)
        self._fail(
            status,
            PRODUCER_LOST,
            f"the producer has been away for {lease_s:g} s",
            "Check the machine that it ran on. Start it again to continue as the next attempt.",
        )

    def _raise_alert(self, producer: _Producer, status: OperationStatus) -> None:
        def refused() -> None:
            self._check_within(producer, self._now() - producer.seen_at + RETRY_S)

        self._alerts.raise_alert(status, refused)
        for observe in self.on_away:
            observe(status.operation_id)

    # Operations without a lease.

    def _check_unattended(self) -> None:
        self._rounds.add(self._fail_unattended([status.operation_id for status in self._hub.operations.live]))

    def _fail_unattended(self, operation_ids: list[str]) -> Iterator[None]:
        hub = self._hub
        for number, operation_id in enumerate(operation_ids, 1):
            status = hub.operations.get(operation_id)
            if status is not None and status.live and hub.silence_s(status) >= hub.config.unattended_s:
                leased = status.life.lease_s and status.state is OperationState.RUNNING
                if not leased and operation_id not in self._failing:
                    hours = hub.config.unattended_s / 3600
                    self._fail(status, UNATTENDED, f"no event for {hours:g} h, and no lease", "Start it again.")
                    yield
            if number % _CHECKS_PER_STEP == 0:
                yield

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
            if error is not None and self.holder(status.life.producer_id) is not None and not self._hub.closed:
                # The producer came back in between, and its claim was answered with `lost`.
                self._hub.scheduler.call_later(RETRY_S, partial(self._fail_again, status, failed.attempt, again))
            else:
                self._failing.discard(operation_id)

        again = partial(self._fail, status, code, message, hint)
        self._failing.add(operation_id)
        publish_internal(
            self._hub, MessageType.OPERATION_FAILED, failed, trace_id=status.life.trace_id, settled=settled
        )

    def _fail_again(self, status: OperationStatus, attempt: int | None, again: Callable[[], None]) -> None:
        self._failing.discard(status.operation_id)
        life = self._hub.operations.life(status.operation_id)
        if life is not None and life.live and life.attempt == attempt:
            again()
