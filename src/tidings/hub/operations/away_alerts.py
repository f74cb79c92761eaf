"""Alerts of operations whose producer is away. Each one that is raised is cleared in the end.

The log shows which alerts are raised, so a hub that starts continues with those of the last one. An alert that the log
refuses is published again until it is in the log.
"""

from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from itertools import chain

from tidings.exceptions import TidingsError
from tidings.hub.interfaces import HubCore
from tidings.hub.internal_events import publish_internal
from tidings.hub.operations.rounds import Rounds
from tidings.operations.status import OperationStatus
from tidings.protocol.message_types import MessageType
from tidings.protocol.paths import MAX_KEY_BYTES
from tidings.protocol.payloads import SystemAlertData

PRODUCER_AWAY = "producer_away"
RETRY_S = 1.0
"""Delay before an event of the hub that the log refused is published again."""
_PREFIX = f"{PRODUCER_AWAY}:"
_LONG_PREFIX = f"tidings:{PRODUCER_AWAY}:"
"""Beginning of the ids of alerts of operations whose own ids are too long to be a part of them."""


def _make_alert_id(operation_id: str) -> str:
    alert_id = _PREFIX + operation_id
    if len(alert_id.encode()) <= MAX_KEY_BYTES:
        return alert_id
    return _LONG_PREFIX + sha256(operation_id.encode()).hexdigest()


class AwayAlerts:
    """The raised alerts of one hub.

    Args:
        hub: The hub.
        rounds: Clears many alerts in slices.
    """

    def __init__(self, hub: HubCore, rounds: Rounds) -> None:
        self._hub = hub
        self._rounds = rounds
        self._raised: dict[str, str] = {}
        """The producers of operations whose alert is in the log, or on its way."""
        self._of_producer: dict[str, dict[str, None]] = {}
        """Those operations, by producer."""
        hub.on_operation.append(self._on_operation)

    def start(self) -> None:
        """Continue with the alerts that an earlier hub raised; clear those whose operation has no absent holder."""
        self._raised.clear()
        self._of_producer.clear()
        alert_ids = self._hub.event_keys(MessageType.SYSTEM_ALERT)
        long_ids = self._find_long_ids() if any(each.startswith(_LONG_PREFIX) for each in alert_ids) else {}
        for alert_id in alert_ids:
            if alert_id.startswith(_LONG_PREFIX) and alert_id not in long_ids:
                if self._hub.leads:
                    self._publish_cleared(alert_id, None, "the operation is no longer known")
            elif alert_id.startswith((_PREFIX, _LONG_PREFIX)):
                operation_id = long_ids.get(alert_id, alert_id.removeprefix(_PREFIX))
                life = self._hub.operations.life(operation_id)
                is_held = life is not None and life.live and life.producer_id
                self._add(operation_id, life.producer_id if life is not None and is_held else "")
        self.clear_producer("", "the operation has ended")

    def _find_long_ids(self) -> dict[str, str]:
        """Return the operations by the ids of their alerts, where these do not contain their own."""
        operations = self._hub.operations
        known = (status.operation_id for status in chain(operations.live, operations.ended))
        return {
            alert_id: operation_id
            for operation_id in known
            if (alert_id := _make_alert_id(operation_id)).startswith(_LONG_PREFIX)
        }

    def is_raised(self, operation_id: str) -> bool:
        """Return whether the alert of an operation is raised."""
        return operation_id in self._raised

    def raise_alert(self, status: OperationStatus, refused: Callable[[], None]) -> None:
        """Publish the alert of an operation whose holder is away.

        Args:
            status: The operation.
            refused: Called if the log refuses the alert, which is then not raised.
        """
        operation_id, life = status.operation_id, status.life
        self._add(operation_id, life.producer_id)
        half_s = life.lease_s / 2
        alert = SystemAlertData(
            alert_id=_make_alert_id(operation_id),
            severity="warning",
            state="raised",
            operation_id=operation_id,
            code=PRODUCER_AWAY,
            message=f"the producer of {status.name or operation_id!r} has been away for {half_s:g} s",
            recoverable=True,
            hint=f"The operation fails in {half_s:g} s unless it comes back.",
        )

        def settled(error: TidingsError | None) -> None:
            if error is not None:
                self._discard(operation_id)
                refused()

        publish_internal(self._hub, MessageType.SYSTEM_ALERT, alert, trace_id=life.trace_id, settled=settled)

    def clear_producer(self, producer_id: str, message: str) -> None:
        """Clear all alerts of a producer's operations."""
        operation_ids = list(self._of_producer.get(producer_id, ()))
        for operation_id in operation_ids:
            self._discard(operation_id)
        if operation_ids:
            self._rounds.add(self._clear_all(operation_ids, message))

    def _clear_all(self, operation_ids: list[str], message: str) -> Iterator[None]:
        for operation_id in operation_ids:
            self._clear(operation_id, message)
            yield

    def _on_operation(self, status: OperationStatus) -> None:
        if not status.live and status.operation_id in self._raised:
            self._discard(status.operation_id)
            self._clear(status.operation_id, f"the operation has ended: {status.state}")

    def _clear(self, operation_id: str, message: str) -> None:
        if self._hub.closed or operation_id in self._raised or not self._hub.leads:
            return  # raised again by now, or cleared by the hub that leads
        self._publish_cleared(_make_alert_id(operation_id), operation_id, message)

    def _publish_cleared(self, alert_id: str, operation_id: str | None, message: str) -> None:
        """Clear an alert. A refused one is tried again later; that of a forgotten operation, by the next hub."""
        life = None if operation_id is None else self._hub.operations.life(operation_id)
        cleared = SystemAlertData(
            alert_id=alert_id,
            severity="info",
            state="cleared",
            operation_id=operation_id,
            code=PRODUCER_AWAY,
            message=message,
            recoverable=True,
        )

        def settled(error: TidingsError | None) -> None:
            if error is not None and operation_id is not None:
                self._hub.scheduler.call_later(RETRY_S, partial(self._clear_again, operation_id, message))

        publish_internal(
            self._hub,
            MessageType.SYSTEM_ALERT,
            cleared,
            trace_id="" if life is None else life.trace_id,
            settled=settled,
        )

    def _clear_again(self, operation_id: str, message: str) -> None:
        self._rounds.add(self._clear_all([operation_id], message))

    def _add(self, operation_id: str, producer_id: str) -> None:
        self._discard(operation_id)
        self._raised[operation_id] = producer_id
        self._of_producer.setdefault(producer_id, {})[operation_id] = None

    def _discard(self, operation_id: str) -> None:
        producer_id = self._raised.pop(operation_id, None)
        if producer_id is not None:
            of_producer = self._of_producer[producer_id]
            del of_producer[operation_id]
            if not of_producer:
                del self._of_producer[producer_id]
