"""A running hub with the parts that the server adds to it."""

from dataclasses import dataclass
from typing import Protocol

from tidings.access.audit_feed import AuditFeed
from tidings.hub.connection_registry import ConnectionRegistry
from tidings.hub.hub import Hub
from tidings.hub.system_samples import SystemSamples
from tidings.server.http.limits import HttpLimits
from tidings.server.http.long_poll import LongPolls
from tidings.server.operation_metrics import OperationMetrics
from tidings.server.websocket.hub_handler import HubWebSocketApp
from tidings.server.workers.link import WorkerLink
from tidings.server.workers.sharing import SharedFigures


@dataclass(frozen=True, slots=True)
class RunningHub:
    """The parts of a started `HubApp`."""

    hub: Hub
    connections: ConnectionRegistry
    websocket_app: HubWebSocketApp
    long_polls: LongPolls
    limits: HttpLimits
    audit: AuditFeed
    operation_metrics: OperationMetrics
    samples: SystemSamples
    figures: SharedFigures | None = None
    """The figures of other processes; None where there are none."""


class HubHost(Protocol):
    """The owner of a hub, from which endpoints get it: `HubApp`."""

    @property
    def identifies(self) -> bool:
        """Whether the hub identifies its clients."""

    @property
    def started(self) -> bool:
        """Whether the hub runs."""

    @property
    def siblings(self) -> WorkerLink | None:
        """The other workers of this hub; None if this process is the whole hub."""

    async def wait_for_opening(self) -> None:
        """Start the hub if it never was, and wait for its log; return immediately if another than a request started it.

        Raises:
            LogError: The log cannot be opened.
        """

    def running(self) -> RunningHub:
        """Return the hub; it is started if it never was.

        Raises:
            Draining: The hub was stopped.
            LogError: The log cannot be opened.
            LogOpening: It is being opened.
        """
