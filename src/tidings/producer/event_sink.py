"""Interface between operations and the outbox, and an implementation that drops everything."""

from collections.abc import Callable
from typing import Protocol

from tidings.client.drafts import PayloadLike
from tidings.protocol.messages import CancelAnswer, CancelPush

OnCancel = Callable[[CancelPush], CancelAnswer]


class EventSink(Protocol):
    """Sends events to the hub; never blocks, never raises, and may be used by many threads."""

    def put_nowait(
        self,
        type: str,
        payload: PayloadLike = None,
        *,
        trace_id: str | None = None,
        channel: str | None = None,
        event_id: str | None = None,
    ) -> bool:
        """Take an event; return whether it was taken."""

    def hold(
        self,
        operation_id: str,
        *,
        lease_s: float | None = None,
        trace_id: str | None = None,
        on_cancel: OnCancel | None = None,
    ) -> None:
        """Hold an operation; `on_cancel`, which must not block, is called on the sink's own thread."""

    def release(self, operation_id: str) -> None:
        """Hold an operation only until the hub has its end."""

    def answer_unclaimed(self, on_cancel: OnCancel | None) -> None:
        """Answer cancel requests for operations that were started here and are held no longer with `on_cancel`.

        Such are operations that this process has queued for others. It is called on the sink's own thread.
        """

    def flush(self, timeout_s: float) -> int:
        """Wait until the hub has all events; return the number of events that it does not have."""

    def close(self, timeout_s: float = 2.0, *, patient: bool = False) -> int:
        """Wait like `flush`, and end.

        Args:
            timeout_s: Maximum wait, in seconds.
            patient: Whether to wait for a hub that has never answered as long as for others.
        """


class NullSink:
    """An `EventSink` that drops everything: reporting is disabled, or the address of the hub is invalid."""

    def put_nowait(
        self,
        type: str,
        payload: PayloadLike = None,
        *,
        trace_id: str | None = None,
        channel: str | None = None,
        event_id: str | None = None,
    ) -> bool:
        """See `EventSink.put_nowait`."""
        return True

    def hold(
        self,
        operation_id: str,
        *,
        lease_s: float | None = None,
        trace_id: str | None = None,
        on_cancel: OnCancel | None = None,
    ) -> None:
        """See `EventSink.hold`."""

    def release(self, operation_id: str) -> None:
        """See `EventSink.release`."""

    def answer_unclaimed(self, on_cancel: OnCancel | None) -> None:
        """See `EventSink.answer_unclaimed`."""

    def flush(self, timeout_s: float) -> int:
        """See `EventSink.flush`."""
        return 0

    def close(self, timeout_s: float = 2.0, *, patient: bool = False) -> int:
        """See `EventSink.close`."""
        return 0
