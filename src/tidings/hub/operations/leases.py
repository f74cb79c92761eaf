"""Producer leases: when an attached producer's connection is lost for longer than its lease, its operations fail.

The connection is the sign of life; progress is not, and the job's interpreter does not have to answer anything. When
the connection is lost, the lease runs: at half of it the hub raises an alert, at its end it fails the producer's
operations. A hub that starts gives every leased operation one whole lease (docs/protocol/operations.md, "Leases").

Where several hubs share a log, a connection to any of them counts. Each hub records what it sees, and measures all
leases; only the one that leads publishes alerts and ends.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from math import inf
from typing import Literal

import structlog
from msgspec import Struct

from tidings.hub.interfaces import HubCore, LeaseHolder
from tidings.hub.operations.away_alerts import RETRY_S, AwayAlerts
from tidings.hub.operations.hub_failures import HubFailures
from tidings.hub.operations.lease_checks import ROUNDING_S, WATCH_S, LeaseChecks, TrackedProducer
from tidings.hub.operations.rounds import CHECKS_PER_STEP, Rounds
from tidings.log.base import ReceivedControl, SessionEnded
from tidings.log.journal.controls import HeldClaim, ProducerAttached, ProducerDetached, ProducerSeen
from tidings.log.producers import EXAMINED_PER_PRODUCER, MAX_PRODUCERS
from tidings.operations.lifecycle import OperationState
from tidings.operations.status import OperationStatus
from tidings.protocol.messages import Attach, Attached

_BACK = "the producer is back"
_LEAD_CHECK_S = 1.0
"""Interval at which a hub of a shared log checks whether it leads."""
_MAX_IDLE_S = 30.0
"""Time after which a producer that has lost its connection and holds nothing is forgotten, however long its lease."""
_REPORTS_PER_LEASE = 4
"""How often the posts of a producer are reported to the other hubs, at most, while its lease would run."""
_CHECK_S_PER_OPERATION = 20e-6
"""Minimum interval of the checks of one producer, for each of its operations: ten times what checking it takes."""

log = structlog.get_logger("tidings.hub.operations.leases")


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


class _Connection(Struct):
    """A connection of this hub on which a producer attached."""

    number: int
    producer_id: str
    holder: LeaseHolder
    attach: Attach | None = None
    """The command that is not answered yet; None if there is none."""
    answer: Callable[[Attached], None] | None = None
    has_lost: bool = False
    """Whether an operation of the producer ended while this hub was taken for dead."""


class Leases:
    """The producers of one log and the leases on their operations, as one hub sees them."""

    def __init__(self, hub: HubCore) -> None:
        self._hub = hub
        self._producers: OrderedDict[str, TrackedProducer] = OrderedDict()
        self._connections: dict[LeaseHolder, _Connection] = {}
        self._by_number: dict[int, _Connection] = {}
        self._attaching_again: dict[str, _Connection] = {}
        """Connections of the producers that this hub attaches again, because it was taken for dead."""
        self._numbers = count(1)
        self._rounds = Rounds(hub)
        self._checks = LeaseChecks(hub, lambda due: self._rounds.add(self._judge_all(due)))
        self._alerts = AwayAlerts(hub, self._rounds)
        self._failures = HubFailures(hub, self._rounds)
        self._led = True
        """Whether this hub led when it was checked last."""
        self.on_attached: list[Callable[[str, LeaseHolder], None]] = []
        """Called with a producer and its new connection to this hub, after the reply was sent."""
        self.on_connected: list[Callable[[str], None]] = []
        """Called with a producer that has a new connection."""
        self.on_detached: list[Callable[[str], None]] = []
        """Called with a producer that has lost its connection."""
        self.on_away: list[Callable[[str], None]] = []
        """Called with an operation for which an alert was raised, because its producer is away."""
        self.on_lead: list[Callable[[], None]] = []
        """Called when this hub begins to lead."""
        hub.on_operation.append(self._on_operation)
        hub.on_control.append(self._on_control)

    def start(self) -> None:
        """Give the producers of live operations one whole lease, and start the checks for silent operations.

        The lease begins when they have had time to return: after a drain, each comes back at a time of its own.
        """
        hub = self._hub
        for producer_id, connection in hub.producers.attached_to(hub.session):  # to an earlier hub
            hub.record(ProducerDetached(producer_id, connection))
        producer_ids = list(hub.operations.producers())
        returning_s = len(producer_ids) // hub.config.reconnect_rate
        for producer_id in producer_ids:
            producer = self._find_or_create(producer_id)
            # The lease that it had before; a producer that attaches sends its lease again.
            leases = [status.life.lease_s for status in self._leased(producer)]
            producer.lease_s = max(leases, default=producer.lease_s)
            producer.shortest_s = min(leases, default=producer.lease_s)
            if not hub.producers.is_attached(producer_id):
                self._see(producer, in_s=returning_s)
        self._alerts.start()
        self._failures.start()
        hub.jobs.start("leases", WATCH_S, self._checks.watch)
        if hub.session:
            self._led = hub.leads
            hub.jobs.start("lead", _LEAD_CHECK_S, self._check_lead)

    # Queries.

    def lease_of(self, producer_id: str, operation_id: str) -> float:
        """Return a producer's lease on an operation, in seconds; 0 if the producer has none."""
        producer = self._producers.get(producer_id)
        return 0.0 if producer is None else producer.lease_overrides.get(operation_id, producer.lease_s)

    def holder(self, producer_id: str) -> LeaseHolder | None:
        """Return the connection of a producer to this hub, or None."""
        producer = self._producers.get(producer_id)
        return None if producer is None else producer.holder

    def presence(self, operation_id: str) -> Literal["attached", "away", "unknown"]:
        """Return whether the holder of an operation is `attached` or `away`; `unknown` if it has no holder."""
        life = self._hub.operations.life(operation_id)
        producer = None if life is None else self._producers.get(life.producer_id)
        if life is None or producer is None:
            return "unknown"
        if self._hub.producers.is_attached(producer.producer_id):
            return "attached"
        since = self._checks.now() - producer.seen_at
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
            is_attached = self._hub.producers.is_attached(producer_id)
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

    def _seen_ns(self, producer: TrackedProducer) -> int:
        return self._hub.now_ns() - int((self._hub.clock.monotonic() - producer.last_seen) * 1e9)

    # Signs of life.

    def attach(self, holder: LeaseHolder, attach: Attach, answer: Callable[[Attached], None]) -> None:
        """Attach a producer to this connection, which holds the producer's operations from then on.

        Args:
            holder: The connection.
            attach: The command. Until it is answered, the connection publishes nothing and attaches no more.
            answer: Called with the verdicts: within the call, unless other hubs share the log. Not called if the
                connection is closed before.
        """
        producer_id = attach.producer_id
        connection = self._connections.get(holder)
        if connection is None:
            connection = self._connections[holder] = _Connection(next(self._numbers), producer_id, holder)
            self._by_number[connection.number] = connection
        connection.attach, connection.answer = attach, answer
        producer = self._producers.get(producer_id)
        overrides = {} if producer is None else producer.lease_overrides
        lease_s = attach.lease_s or self._hub.config.lease_s
        claims = [
            HeldClaim(
                claim.operation_id,
                claim.attempt,
                overrides.get(claim.operation_id, lease_s) if claim.lease_s is None else claim.lease_s,
            )
            for claim in attach.operations
        ]
        self._hub.record(ProducerAttached(producer_id, connection.number, lease_s, claims))

    def detach(self, producer_id: str, holder: LeaseHolder) -> None:
        """Record a lost connection: unless a newer one has taken its place, the lease runs."""
        connection = self._connections.pop(holder, None)
        if connection is None:
            return
        del self._by_number[connection.number]
        if self._attaching_again.get(producer_id) is connection:
            del self._attaching_again[producer_id]
        producer = self._producers.get(producer_id)
        if producer is not None and producer.holder is holder:
            producer.holder = None
        self._hub.record(ProducerDetached(producer_id, connection.number))

    def post(self, producer_id: str, lease_s: float | None = None) -> None:
        """Record a post over HTTP: each renews the lease; a post without a lease leaves its length unchanged."""
        producer = self._find_or_create(producer_id)
        is_longer = lease_s is not None and lease_s != producer.lease_s
        producer.lease_s = lease_s or producer.lease_s
        producer.shortest_s = min(producer.shortest_s, producer.lease_s)
        if not self._hub.producers.is_attached(producer_id):
            producer.posts = True
            self._see(producer)
            self._alerts.clear_producer(producer_id, _BACK)
            if self._hub.session:
                self._report_posts(producer, now=is_longer)

    def _report_posts(self, producer: TrackedProducer, *, now: bool) -> None:
        """Tell the other hubs that a producer posts, a few times during its lease."""
        at = self._hub.clock.monotonic()
        before = producer.reported_at
        if now or before is None or at >= before + producer.shortest_s / _REPORTS_PER_LEASE:
            self._report_post(producer, at)
        elif before <= at:  # and this one when the time for the next report has come
            due_s = before + producer.shortest_s / _REPORTS_PER_LEASE - at
            producer.reported_at = at + due_s
            self._hub.scheduler.call_later(due_s, partial(self._report_post, producer, at + due_s))

    def _report_post(self, producer: TrackedProducer, at: float) -> None:
        if self._hub.closed or not producer.posts or (producer.reported_at or at) > at:
            return  # it is connected, or a later post was reported
        producer.reported_at = at
        age_s = max(0.0, self._hub.clock.monotonic() - producer.last_seen)
        self._hub.record(ProducerSeen(producer.producer_id, producer.lease_s, age_s))

    def _find_or_create(self, producer_id: str) -> TrackedProducer:
        producer = self._producers.get(producer_id)
        if producer is None:
            self._make_room()
            producer = TrackedProducer(producer_id, self._hub.config.lease_s)
            self._producers[producer_id] = producer
        return producer

    def _make_room(self) -> None:
        for _ in range(EXAMINED_PER_PRODUCER):
            if len(self._producers) < MAX_PRODUCERS:
                return
            producer_id = next(iter(self._producers))
            if self._hub.producers.is_attached(producer_id) or self._hub.operations.holds_any(producer_id):
                self._producers.move_to_end(producer_id)
            else:
                del self._producers[producer_id]

    def _see(self, producer: TrackedProducer, *, in_s: float = 0.0) -> None:
        """Record a sign of life of a producer without a connection: its leases run from now on, or `in_s` later."""
        producer.last_seen = self._hub.clock.monotonic() + min(in_s, 0.0)
        producer.seen_at = self._checks.now() + in_s
        self._check_within(producer, producer.shortest_s / 2)

    # Controls of all hubs of the log.

    def _on_control(self, received: ReceivedControl) -> None:
        for producer_id in received.detached:
            self._lose_connection(producer_id)
        match received.control:
            case ProducerAttached():
                self._on_attached(received.control, received)
            case ProducerSeen(producer_id, lease_s, age_s) if not received.own:
                producer = self._find_or_create(producer_id)
                producer.lease_s = lease_s
                producer.shortest_s = min(producer.shortest_s, lease_s)
                if not self._hub.producers.is_attached(producer_id):
                    producer.posts = True
                    self._see(producer, in_s=-age_s)
                    self._alerts.clear_producer(producer_id, _BACK)
            case SessionEnded() if received.own:
                self._attach_again()

    def _on_attached(self, control: ProducerAttached, received: ReceivedControl) -> None:
        known = self._hub.producers.find(control.producer_id)
        connection = self._by_number.get(control.connection) if received.own else None
        if known is None or (known.session, known.connection) != (received.session, control.connection):
            if connection is not None:  # the producer is connected to another hub
                self._close(connection.holder)
            return
        producer = self._find_or_create(control.producer_id)
        before, producer.holder = producer.holder, None if connection is None else connection.holder
        producer.posts = False
        producer.lease_s = control.lease_s
        if before is not None and before is not producer.holder:
            self._close(before)
        self._alerts.clear_producer(producer.producer_id, _BACK)
        if before is None or before is not producer.holder:
            for observe in self.on_connected:
                observe(producer.producer_id)
        if connection is None:
            return
        if self._attaching_again.pop(producer.producer_id, None) is connection and connection.has_lost:
            # It learns what it has lost when it attaches, and begins the next attempt of what still runs.
            connection.holder.close(4100, "this process was taken for dead, and an operation was given up")
            return
        self._answer(connection, producer, control, received)

    def _close(self, holder: LeaseHolder) -> None:
        holder.close(4102, "a newer connection of the same producer has taken its place")

    def _answer(
        self, connection: _Connection, producer: TrackedProducer, control: ProducerAttached, received: ReceivedControl
    ) -> None:
        attach, answer = connection.attach, connection.answer
        if control.takes_over and attach is not None and answer is not None:
            connection.attach = connection.answer = None
            for claim in attach.operations:
                if claim.lease_s is not None:  # also for an ended operation: its next attempt may begin immediately
                    producer.lease_overrides[claim.operation_id] = claim.lease_s
            answer(
                Attached(producer_id=producer.producer_id, lease_s=control.lease_s, operations=list(received.verdicts))
            )
        for observe in self.on_attached:
            observe(producer.producer_id, connection.holder)

    def _lose_connection(self, producer_id: str) -> None:
        producer = self._find_or_create(producer_id)
        producer.holder = None
        leases = [status.life.lease_s for status in self._leased(producer)]
        producer.shortest_s = min(leases, default=min(producer.lease_s, _MAX_IDLE_S))
        self._see(producer)
        for observe in self.on_detached:
            observe(producer_id)

    def _attach_again(self) -> None:
        """Attach the producers of this hub, which was taken for dead, unless they are connected to another one."""
        for connection in self._by_number.values():
            if connection.answer is None:
                producer = self._find_or_create(connection.producer_id)
                self._attaching_again[connection.producer_id] = connection
                self._hub.record(
                    ProducerAttached(connection.producer_id, connection.number, producer.lease_s, [], takes_over=False)
                )

    def _on_operation(self, status: OperationStatus) -> None:
        """Run the lease of an operation that an absent producer began; drop the lease of one that has ended."""
        life = status.life
        producer = self._producers.get(life.producer_id)
        if not status.live:
            if producer is not None:  # a producer that begins the operation again sets its lease again
                producer.lease_overrides.pop(status.operation_id, None)
            connection = self._attaching_again.get(life.producer_id)
            if connection is not None:
                connection.has_lost = True
        elif life.lease_s and status.state is OperationState.RUNNING:
            is_attached = self._hub.producers.is_attached(life.producer_id)
            if producer is None:  # it was lost, and forgotten, before its start was in the log
                producer = self._find_or_create(life.producer_id)
                if not is_attached:
                    self._see(producer)
            producer.shortest_s = min(producer.shortest_s, life.lease_s)
            if not is_attached:
                self._check_within(producer, life.lease_s / 2)

    # The lease.

    def _check_within(self, producer: TrackedProducer, delay: float) -> None:
        self._checks.add(producer, delay, len(self._producers))

    def _check_lead(self) -> None:
        """Continue with what an earlier lead did, when this hub begins to lead."""
        led, self._led = self._led, self._hub.leads
        if led or not self._led:
            return
        log.info("this hub leads now")
        self._alerts.start()
        for producer in list(self._producers.values()):
            if self._hub.producers.is_attached(producer.producer_id):
                self._alerts.clear_producer(producer.producer_id, _BACK)
            else:
                self._check_within(producer, producer.shortest_s / 2)
        for observe in self.on_lead:
            observe()

    def _judge_all(self, producers: list[TrackedProducer]) -> Iterator[None]:
        for producer in producers:
            try:
                yield from self._judge(producer)
            except Exception:  # the leases of other producers run on
                log.exception("judging the leases of a producer failed", producer_id=producer.shown_id)
                self._check_again(producer)
            yield

    def _check_again(self, producer: TrackedProducer) -> None:
        self._check_within(producer, self._checks.now() - producer.seen_at + RETRY_S)

    def _leased(self, producer: TrackedProducer) -> list[OperationStatus]:
        # Queued operations have no lease: the process that queued one may end long before another begins it.
        return [
            status
            for status in self._hub.operations.of_producer(producer.producer_id)
            if status.life.lease_s and status.state is OperationState.RUNNING
        ]

    def _judge(self, producer: TrackedProducer) -> Iterator[None]:
        """Raise the alerts and publish the failures that are due, an event a step; schedule the next check."""
        hub, seen_at = self._hub, producer.seen_at
        is_attached = hub.producers.is_attached
        leased = [] if is_attached(producer.producer_id) else self._leased(producer)
        if not leased:
            self._forget(producer)
            return
        next_s = inf
        for number, status in enumerate(leased, 1):
            # A hub that drains sends its producers to the next hub, where they have a whole lease.
            if is_attached(producer.producer_id) or hub.closed or hub.draining:
                return
            if not hub.leads:
                self._led = False  # if it leads again, it checks all producers
                return
            if producer.seen_at != seen_at:
                break  # a post came in between
            lease_s, elapsed = status.life.lease_s, self._checks.now() - seen_at + ROUNDING_S
            is_lost, is_away = elapsed >= lease_s, elapsed >= lease_s / 2
            next_s = min(next_s, elapsed + RETRY_S if is_lost else lease_s if is_away else lease_s / 2)
            if is_lost:
                if self._failures.fail_lost(status):
                    log.warning("producer lost", producer_id=producer.shown_id, operation_id=status.operation_id)
                yield
            elif is_away and not self._alerts.is_raised(status.operation_id):
                self._raise_alert(producer, status)
                yield
            elif number % CHECKS_PER_STEP == 0:
                yield
        if producer.seen_at != seen_at:
            next_s = producer.shortest_s / 2
        elapsed = self._checks.now() - producer.seen_at
        self._check_within(producer, max(next_s, elapsed + len(leased) * _CHECK_S_PER_OPERATION))

    def _forget(self, producer: TrackedProducer) -> None:
        """Forget a producer without operations once its lease has ended, or soon if it sends its lease again anyway."""
        is_known = self._producers.get(producer.producer_id) is producer
        if is_known and not self._hub.producers.is_attached(producer.producer_id):
            idle_s = producer.lease_s if producer.posts else min(producer.lease_s, _MAX_IDLE_S)
            if self._checks.now() - producer.seen_at + ROUNDING_S >= idle_s:
                del self._producers[producer.producer_id]
            else:
                self._check_within(producer, idle_s)

    def _raise_alert(self, producer: TrackedProducer, status: OperationStatus) -> None:
        self._alerts.raise_alert(status, partial(self._check_again, producer))
        for observe in self.on_away:
            observe(status.operation_id)
