"""The hub's own events `system:status`, `system:metrics` and `system:alert` (docs/protocol/events.md).

They are appended to the log like all others, and report the hub's health to the subscribers of the system channel.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Protocol

from tidings.exceptions import LogError, TidingsError
from tidings.hub.connection_registry import ConnectionRegistry
from tidings.hub.hub import Hub
from tidings.hub.internal_events import publish_internal
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import Payload, SystemAlertData, SystemMetricsData, SystemStatusData

SOURCE = "tidings"
_OF_EACH_PROCESS = ("connections", "subscribers", "catching_up", "lanes", "staged")
"""The figures of `system:status` that are added up over all processes of a hub."""


class FigureExchange(Protocol):
    """The other processes of a hub of several."""

    @property
    def source(self) -> str:
        """The name of this process."""

    def send(self, figures: Mapping[str, float]) -> None:
        """Send the figures of this process to the others."""

    def received(self) -> Iterable[Mapping[str, float]]:
        """Return the newest figures of each other process."""


class SystemStatusPublisher:
    """Publishes the hub's own status, metrics and alerts on timers.

    In a hub of several processes, the one that leads publishes the status of the whole hub, and each publishes its own
    metrics and alerts, with its name as the source.

    Args:
        hub: The hub.
        connections: Its connections.
        exchange: The other processes; None if there are none.
    """

    def __init__(self, hub: Hub, connections: ConnectionRegistry, exchange: FigureExchange | None = None) -> None:
        self._hub = hub
        self._connections = connections
        self._exchange = exchange
        self._source = SOURCE if exchange is None else exchange.source
        self._log_error: LogError | None = None
        self._raised_code: str | None = None
        """Code of the alert that is raised now."""
        self._last_figures: tuple[float, int, int] | None = None
        """Monotonic time, accepted events and lane writes at the last `system:metrics`."""

    def start(self) -> None:
        """Start to publish."""
        config = self._hub.config
        if config.status_s:
            self._hub.jobs.start("status", config.status_s, self._publish_status, delay_s=0)
        if config.metrics_s:
            self._hub.jobs.start("metrics", config.metrics_s, self._publish_metrics)

    def _publish_status(self) -> None:
        hub = self._hub
        self._update_alert()
        delivery = hub.delivery
        statistics = hub.log.statistics()
        figures = {
            "connections": float(len(self._connections)),
            "subscribers": float(delivery.subscribers),
            "catching_up": float(len(delivery.catchup)),
            "lanes": float(len(delivery.lanes)),
            "log_events": float(statistics.durable_events),
            "log_bytes": float(statistics.disk_bytes or statistics.durable_bytes),
            "staged": float(hub.staged),
        }
        if self._exchange is not None:
            self._exchange.send(figures)
            if not hub.log.leads:
                return
            others = list(self._exchange.received())
            for name in _OF_EACH_PROCESS:
                figures[name] += sum(other.get(name, 0.0) for other in others)
        status = SystemStatusData(
            status="degraded" if self._log_error is not None or hub.jobs.overdue() else "healthy",
            uptime=int(hub.clock.monotonic() - hub.started),
            active_operations=len(hub.operations),
            metrics=figures,
            source=SOURCE,
        )
        self._publish(MessageType.SYSTEM_STATUS, status)

    def _publish_metrics(self) -> None:
        hub = self._hub
        now = hub.clock.monotonic()
        counters = hub.delivery.counters
        figures = (now, hub.counters.accepted, counters.lane_writes)
        since, accepted, writes = self._last_figures or (hub.started, 0, 0)
        self._last_figures = figures
        window = max(now - since, 1e-9)
        metrics = SystemMetricsData(
            source=self._source,
            window_s=window,
            metrics={
                "events_per_s": (hub.counters.accepted - accepted) / window,
                "writes_per_s": (counters.lane_writes - writes) / window,
                "fell_behind": float(counters.fell_behind),
                "gaps": float(counters.gaps),
                "refused": float(hub.counters.refused),
            },
        )
        self._publish(MessageType.SYSTEM_METRICS, metrics)

    def _update_alert(self) -> None:
        """Raise an alert while the log refuses events, and clear it when the log accepts them again."""
        error = self._hub.log_failure
        self._log_error = error
        if error is not None and self._raised_code != error.code:
            self._raised_code = error.code
            alert = SystemAlertData(
                alert_id=f"{self._source}:log",
                severity="critical",
                state="raised",
                code=error.code,
                message=str(error),
                recoverable=True,
                hint=error.hint or "See the hub's log.",
            )
        elif error is None and self._raised_code is not None:
            alert = SystemAlertData(
                alert_id=f"{self._source}:log",
                severity="info",
                state="cleared",
                code=self._raised_code,
                message="the log accepts events again",
                recoverable=True,
            )
            self._raised_code = None
        else:
            return
        self._publish(MessageType.SYSTEM_ALERT, alert)

    def _publish(self, type: MessageType, payload: Payload) -> None:
        publish_internal(self._hub, type, payload, settled=partial(self._settled, payload))

    def _settled(self, payload: Payload, error: TidingsError | None) -> None:
        if error is not None and isinstance(payload, SystemAlertData):
            # No subscriber has received it: it is published again when the log accepts events.
            self._raised_code = payload.code if payload.state == "cleared" else None
