"""Producers and their leases: whoever asks to has their death noticed (CONTRACT §4).

A producer's connection is its sign of life; progress is not, and no answer is asked of the job's interpreter. When the
connection goes, the lease runs: at its half an alert is raised, at its end its operations fail. A hub that starts gives
every leased operation one whole lease.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

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
_BY_THE_HUB = (PRODUCER_LOST, UNATTENDED)
_RETRY_S = 1.0
"""Before what the log did not take is tried again."""
_LOOK_EVERY_S = 60.0
"""How often operations without a lease are looked through for those that fell silent a day ago."""
_AT_ONCE = 2_000
"""Operations looked at in one round of the loop: under a millisecond."""

log = structlog.get_logger("tidings.hub.operations.leases")


class LeaseHolder(Protocol):
    """A producer's connection."""

    def push_cancel(self, push_id: str, push: CancelPush) -> None:
        """Ask the producer to end an operation."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Say why, and close."""
        ...


class _Producer:
    """One producer that has asked for a lease."""

    __slots__ = ("alerted", "asked", "gone_at", "holder", "lease_s", "posts", "producer_id", "waiting")

    def __init__(self, producer_id: str, lease_s: float, now: float) -> None:
        self.producer_id = producer_id
        self.lease_s = lease_s
        """Of operations that ask for no other."""
        self.asked: dict[str, float] = {}
        """The leases of operations that do."""
        self.holder: LeaseHolder | None = None
        self.gone_at = now
        """When its last sign of life was, by the monotonic clock; not looked at while it has a connection."""
        self.posts = False
        """Whether its last sign of life was a post over HTTP."""
        self.alerted: set[str] = set()
        """Its operations for which an alert is raised."""
        self.waiting = False
        """Whether a look at it is scheduled."""


class Leases:
    """The producers of one hub."""

    def __init__(self, hub: HubCore) -> None:
        self._hub = hub
        self._producers: dict[str, _Producer] = {}
        self._losing: set[str] = set()
        """Operations whose end, written by us, is on its way into the log."""
        self.on_attached: list[Callable[[str, LeaseHolder], None]] = []
        """Called with a producer and its new connection, once it was answered."""
        self.on_detached: list[Callable[[str], None]] = []
        """Called with a producer whose connection is gone."""
        hub.on_operation.append(self._turned)

    def start(self) -> None:
        """Give the producers of live operations one whole lease, and begin to look for silent operations."""
        for producer_id in self._hub.operations.producers():
            producer = self._known(producer_id)
            # As it asked for before; one that attaches says so anew.
            leases = [status.life.lease_s for status in self._leased(producer)]
            producer.lease_s = max(leases, default=producer.lease_s)
            self._wait(producer)
        if self._hub.config.unattended_s:
            self._hub.scheduler.call_later(_LOOK_EVERY_S, self._look_for_silent)

    # What others ask.

    def lease_of(self, producer_id: str, operation_id: str) -> float:
        """Return the lease that a producer has on what it writes to, in seconds; 0 where it never asked."""
        producer = self._producers.get(producer_id)
        return 0.0 if producer is None else producer.asked.get(operation_id, producer.lease_s)

    def holder(self, producer_id: str) -> LeaseHolder | None:
        """Return the connection of a producer, if it has one."""
        producer = self._producers.get(producer_id)
        return None if producer is None else producer.holder

    def presence(self, operation_id: str) -> str:
        """Return whether the holder of an operation is `attached` or `away`; `unknown` where nobody holds it."""
        life = self._hub.operations.life(operation_id)
        producer = None if life is None else self._producers.get(life.producer_id)
        if life is None or producer is None:
            return "unknown"
        if producer.holder is not None:
            return "attached"
        since = self._hub.clock.monotonic() - producer.gone_at
        return "attached" if producer.posts and since < life.lease_s / 2 else "away"

    # Signs of life.

    def attach(self, holder: LeaseHolder, attach: Attach) -> Attached:
        """Let a producer hold its operations from now on, over this connection."""
        producer = self._known(attach.producer_id)
        before, producer.holder = producer.holder, holder
        producer.posts = False
        producer.lease_s = attach.lease_s or self._hub.config.lease_s
        if before is not None and before is not holder:
            before.close(4102, "a newer connection of the same producer has taken its place")
        verdicts = [self._judge(producer, claim) for claim in attach.operations]
        self._clear_alerts(producer)
        return Attached(producer_id=producer.producer_id, lease_s=producer.lease_s, operations=verdicts)

    def announce_attached(self, producer_id: str, holder: LeaseHolder) -> None:
        """Note that a producer has been answered."""
        for observe in self.on_attached:
            observe(producer_id, holder)

    def detach(self, producer_id: str, holder: LeaseHolder) -> None:
        """Note that a connection is gone: unless a newer one has taken its place, the lease runs."""
        producer = self._producers.get(producer_id)
        if producer is not None and producer.holder is holder:
            producer.holder = None
            self._heard(producer)
            for observe in self.on_detached:
                observe(producer_id)

    def post(self, producer_id: str, lease_s: float | None = None) -> None:
        """Note a post over HTTP: each renews the lease; one that names none leaves it as it was."""
        producer = self._known(producer_id)
        producer.lease_s = lease_s or producer.lease_s
        if producer.holder is None:
            producer.posts = True
            self._heard(producer)
            self._clear_alerts(producer)

    def _known(self, producer_id: str) -> _Producer:
        producer = self._producers.get(producer_id)
        if producer is None:
            hub = self._hub
            producer = _Producer(producer_id, hub.config.lease_s, hub.clock.monotonic())
            self._producers[producer_id] = producer
        return producer

    def _heard(self, producer: _Producer) -> None:
        producer.gone_at = self._hub.clock.monotonic()
        self._wait(producer)

    def _judge(self, producer: _Producer, claim: Claim) -> Verdict:
        operation_id = claim.operation_id
        life = self._hub.life(operation_id)
        verdict = "held" if life is None else self._verdict(producer, claim, life)
        if claim.lease_s is not None:  # of what is over, too: the next attempt may begin at once
            producer.asked[operation_id] = claim.lease_s
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
            by_us = code in _BY_THE_HUB or claim.operation_id in self._losing
            return "lost" if by_us or (claim.attempt or life.attempt) < life.attempt else "finished"
        if claim.attempt is not None and claim.attempt != life.attempt:
            return "lost"
        is_free = life.state is OperationState.QUEUED or life.producer_id in ("", producer.producer_id)
        return "held" if is_free else "lost"

    def _turned(self, status: OperationStatus) -> None:
        """Forget the lease of an operation that has ended; whoever begins it again asks again."""
        producer = self._producers.get(status.life.producer_id)
        if producer is not None and not status.live:
            producer.asked.pop(status.operation_id, None)

    # The lease.

    def _wait(self, producer: _Producer, delay: float | None = None) -> None:
        if producer.waiting:
            return
        if delay is None:
            # Of what it may still begin, too: the shortest there can be is looked at when it is due.
            leases = [status.life.lease_s for status in self._leased(producer)]
            delay = min(leases, default=producer.lease_s) / 2
        producer.waiting = True
        self._hub.scheduler.call_later(delay, partial(self._look, producer))

    def _leased(self, producer: _Producer) -> list[OperationStatus]:
        # What is queued waits for whoever begins it: the one that queued it may be gone long before.
        return [
            status
            for status in self._hub.operations.of_producer(producer.producer_id)
            if status.life.lease_s and status.state is OperationState.RUNNING
        ]

    def _look(self, producer: _Producer) -> None:
        """Raise, or end, what is due; and look again when the next is."""
        producer.waiting = False
        # A hub that drains sends its producers to the next one, where they have their lease.
        if producer.holder is not None or self._hub.closed or self._hub.draining:
            return
        elapsed = self._hub.clock.monotonic() - producer.gone_at
        leased = self._leased(producer)
        if not leased:
            if elapsed >= producer.lease_s:
                self._producers.pop(producer.producer_id, None)
            else:
                self._wait(producer, producer.lease_s - elapsed)
            return
        due: list[float] = []
        for status in leased:
            lease_s = status.life.lease_s
            if elapsed >= lease_s:
                due.append(_RETRY_S)
                self._lose(producer, status)
                continue
            if elapsed >= lease_s / 2:
                self._raise_alert(producer, status)
                due.append(lease_s - elapsed)
            else:
                due.append(lease_s / 2 - elapsed)
        self._wait(producer, max(0.001, min(due)))

    def _lose(self, producer: _Producer, status: OperationStatus) -> None:
        operation_id, lease_s = status.operation_id, status.life.lease_s
        if operation_id in self._losing:
            return
        log.warning("a producer is lost", producer_id=producer.producer_id, operation_id=operation_id)
        self._fail(
            status,
            PRODUCER_LOST,
            f"its producer has been gone for {lease_s:g} s",
            "Look at the machine it ran on; start it again, and it goes on as the next attempt.",
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
                hint=f"It has {status.life.lease_s / 2:g} s left to come back.",
            ),
            trace_id=status.life.trace_id,
        )

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

    # Silence of what has no lease.

    def _look_for_silent(self) -> None:
        hub = self._hub
        if hub.closed:
            return
        hub.scheduler.call_later(_LOOK_EVERY_S, self._look_for_silent)
        self._fail_silent([status.operation_id for status in hub.operations.live])

    def _fail_silent(self, operation_ids: list[str]) -> None:
        hub = self._hub
        before_ns = hub.now_ns() - int(hub.config.unattended_s * 1e9)
        for operation_id in operation_ids[:_AT_ONCE]:
            status = hub.operations.get(operation_id)
            if status is None or not status.live or status.heard_ns > before_ns:
                continue
            is_leased = status.life.lease_s and status.state is OperationState.RUNNING
            if not is_leased and operation_id not in self._losing:
                hours = hub.config.unattended_s / 3600
                self._fail(status, UNATTENDED, f"nobody has said anything of it for {hours:g} h", "Start it again.")
        if operation_ids[_AT_ONCE:]:
            hub.scheduler.call_soon(partial(self._fail_silent, operation_ids[_AT_ONCE:]))

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
            self._losing.discard(operation_id)

        self._losing.add(operation_id)
        publish_internal(
            self._hub, MessageType.OPERATION_FAILED, failed, trace_id=status.life.trace_id, settled=settled
        )


def _alert_id(operation_id: str) -> str:
    return f"{PRODUCER_AWAY}:{operation_id}"
