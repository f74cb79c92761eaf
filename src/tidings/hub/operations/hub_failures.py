"""The ends of operations that the hub itself publishes: their producer is lost, or they are silent for too long."""

from collections.abc import Iterator

from tidings.exceptions import TidingsError
from tidings.hub.interfaces import HubCore
from tidings.hub.internal_events import publish_internal
from tidings.hub.operations.rounds import CHECKS_PER_STEP, Rounds
from tidings.log.producers import PRODUCER_LOST, UNATTENDED
from tidings.operations.lifecycle import OperationState
from tidings.operations.status import OperationStatus
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import OperationFailedData

_UNATTENDED_CHECK_S = 60.0
"""Interval at which operations without a lease are checked for silence."""


class HubFailures:
    """Fails operations, each once: the log rejects an end that another hub published before.

    Args:
        hub: The hub.
        rounds: Checks many operations in slices.
    """

    def __init__(self, hub: HubCore, rounds: Rounds) -> None:
        self._hub = hub
        self._rounds = rounds
        self._failing: set[str] = set()
        """Operations whose end is about to be appended."""

    def start(self) -> None:
        """Start the checks for silent operations."""
        if self._hub.config.unattended_s:
            self._hub.jobs.start("unattended", _UNATTENDED_CHECK_S, self._check_unattended)

    def fail_lost(self, status: OperationStatus) -> bool:
        """Fail an operation whose lease has ended, unless its producer comes back before; return whether it begins."""
        if status.operation_id in self._failing or not status.live:
            return False
        self._fail(
            status,
            PRODUCER_LOST,
            f"the producer has been away for {status.life.lease_s:g} s",
            "Check the machine that it ran on. Start it again to continue as the next attempt.",
            holder_sign=self._hub.producers.sign(status.life.producer_id),
        )
        return True

    def _check_unattended(self) -> None:
        if self._hub.leads:
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
            if number % CHECKS_PER_STEP == 0:
                yield

    def _fail(
        self, status: OperationStatus, code: str, message: str, hint: str, *, holder_sign: int | None = None
    ) -> None:
        operation_id, attempt = status.operation_id, status.life.attempt
        failed = OperationFailedData(
            operation_id=operation_id,
            attempt=attempt,
            code=code,
            message=message,
            recoverable=True,
            hint=hint,
        )

        def settled(error: TidingsError | None) -> None:
            self._failing.discard(operation_id)

        self._failing.add(operation_id)
        publish_internal(
            self._hub,
            MessageType.OPERATION_FAILED,
            failed,
            trace_id=status.life.trace_id,
            running_attempt=0 if holder_sign is None else attempt,
            holder_sign=holder_sign,
            settled=settled,
        )
