"""The part of the hub that leases, cancellation and estimates depend on."""

from collections.abc import Callable
from typing import Protocol

from tidings.hub.clock import Clock
from tidings.hub.config import HubConfig
from tidings.hub.recurring_jobs import RecurringJobs
from tidings.hub.staging import PublishCallback
from tidings.log.base import OnControl, Scheduler
from tidings.log.journal.controls import HubControl
from tidings.log.producers import ProducerTable
from tidings.operations.status import OperationStatus
from tidings.operations.table import OperationTable
from tidings.protocol.envelope import Envelope, Event
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import CancelPush

LICENSE_EXPIRED_CLOSE = 4051
"""Close code of connections when the grace of an expired license has passed."""


class HubLicense(Protocol):
    """The license of a hub as publishing and connections see it."""

    @property
    def expires_ns(self) -> int:
        """Time of expiry, nanoseconds since 1970."""

    def check_publish(self) -> None:
        """Check that clients may publish.

        Raises:
            LicenseExpired: The license has expired.
        """

    def check_read(self) -> None:
        """Check that clients may read.

        Raises:
            LicenseExpired: The license has expired, and its grace has passed.
        """

    def notice(self) -> bytes | None:
        """Return the message `license:expired` for a client that joins now; None while the license is valid."""


class LeaseHolder(Protocol):
    """The connection of an attached producer."""

    def push_cancel(self, push_id: str, push: CancelPush) -> None:
        """Send a push that asks the producer to end an operation."""

    def close(self, code: int, reason: str) -> None:
        """Send `connection:closed` with the reason, and close."""


class HubCore(Protocol):
    """The hub as leases, cancellation and estimates see it: it publishes events and has the state of all operations.

    They also read its configuration, clock and timers, and `draining` and `closed`, and record controls; they have no
    other access to the log, and none to delivery and connections. All calls and callbacks happen on the thread of the
    hub's event loop.
    """

    config: HubConfig
    scheduler: Scheduler
    clock: Clock
    operations: OperationTable
    """The log's operations, without the events that are staged."""
    on_operation: list[Callable[[OperationStatus], None]]
    """Called with each operation that began or ended, after the event was appended and delivered."""
    producers: ProducerTable
    """The log's producers."""
    on_control: list[OnControl]
    """Called with each control of any hub of the log, after the events before it were delivered."""
    mint: Callable[[], str]
    """Makes ids: 32 lower-case hex digits, a W3C trace id."""
    draining: bool
    """Whether the hub refuses new events, except its own."""
    jobs: RecurringJobs
    closed: bool
    """Whether the hub has stopped; timers that fire later do nothing."""

    @property
    def session(self) -> str:
        """See `tidings.log.base.Log.session`."""

    @property
    def leads(self) -> bool:
        """See `tidings.log.base.Log.leads`."""

    def record(self, control: HubControl) -> None:
        """See `tidings.log.base.Log.record`."""

    @property
    def staged(self) -> int:
        """Number of events that wait for the log."""

    def now_ns(self) -> int:
        """Return nanoseconds since 1970, from a clock that does not jump."""

    def silence_s(self, status: OperationStatus) -> float:
        """Return the time since the last event of an operation, in seconds; jumps of the clock do not count."""

    def at_present(self, status: OperationStatus) -> OperationStatus:
        """Return an operation with its times by the present clock."""

    def by_age(self, status: OperationStatus) -> OperationStatus:
        """Return an operation with the times from which its ages count: none while its machine was off."""

    def has_event(self, type: MessageType, key: str) -> bool:
        """Return whether the log holds an event of a declared type and a key."""

    def event_keys(self, type: MessageType) -> list[str]:
        """Return the keys of which the log holds an event of a declared type."""

    def publish(
        self,
        envelope: Envelope,
        settled: PublishCallback,
        *,
        by_hub: bool = False,
        running_attempt: int = 0,
        holder_sign: int | None = None,
    ) -> Event:
        """Check an envelope and stage its event; see `tidings.hub.hub.Hub.publish`."""
