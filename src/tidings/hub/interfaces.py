"""What the parts of a hub that look after operations may ask of it."""

from collections.abc import Callable
from typing import Protocol

from tidings.hub.clock import Clock
from tidings.hub.config import HubConfig
from tidings.hub.staging import PublishCallback
from tidings.log.base import Scheduler
from tidings.operations.lifecycle import OperationLife
from tidings.operations.status import OperationStatus
from tidings.operations.table import OperationTable
from tidings.protocol.envelope import Envelope, Event


class HubCore(Protocol):
    """The core of a hub: it publishes, and knows what operations are at. Everything happens on its loop's thread."""

    config: HubConfig
    scheduler: Scheduler
    clock: Clock
    operations: OperationTable
    """What the log knows of operations."""
    on_operation: list[Callable[[OperationStatus], None]]
    """Called with each operation that has begun or ended, once it is in the log and was delivered."""
    mint: Callable[[], str]
    """Makes ids."""
    draining: bool
    closed: bool

    @property
    def staged(self) -> int:
        """Events that wait for the log."""
        ...

    def now_ns(self) -> int:
        """Return nanoseconds since 1970, by a clock that does not jump."""
        ...

    def life(self, operation_id: str) -> OperationLife | None:
        """Return the life of an operation, what is staged included, or None."""
        ...

    def hold(self, operation_id: str, producer_id: str, lease_s: float) -> None:
        """Let a producer hold a live operation from now on."""
        ...

    def publish(self, envelope: Envelope, settled: PublishCallback, *, by_hub: bool = False) -> Event:
        """Check an envelope and stage the event it is; see `tidings.hub.hub.Hub.publish`."""
        ...
