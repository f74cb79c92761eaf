"""A hub that runs, with what belongs to it."""

from dataclasses import dataclass
from typing import Protocol

from tidings.hub.connection_registry import ConnectionRegistry
from tidings.hub.hub import Hub
from tidings.server.http.long_poll import LongPolls
from tidings.server.operation_metrics import OperationMetrics
from tidings.server.websocket.hub_handler import HubWebSocketApp


@dataclass(frozen=True, slots=True)
class RunningHub:
    """What a started `HubApp` consists of."""

    hub: Hub
    connections: ConnectionRegistry
    websocket_app: HubWebSocketApp
    long_polls: LongPolls
    operation_metrics: OperationMetrics


class HubHost(Protocol):
    """Where the ways in find the hub: `HubApp`."""

    def running(self) -> RunningHub:
        """Return the hub, started if it was not.

        Raises:
            Draining: It was stopped.
            LogError: Its log cannot be opened.
        """
        ...
