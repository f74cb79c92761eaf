"""What carries an operation's events: an outbox, or nothing at all."""

from collections.abc import Callable
from typing import Protocol

from tidings.client.drafts import PayloadLike
from tidings.protocol.messages import CancelAnswer, CancelPush

OnCancel = Callable[[CancelPush], CancelAnswer]


class EventSink(Protocol):
    """A way to the hub that never blocks and never raises; used by many threads."""

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
        ...

    def hold(
        self,
        operation_id: str,
        *,
        lease_s: float | None = None,
        trace_id: str | None = None,
        on_cancel: OnCancel | None = None,
    ) -> None:
        """Claim an operation; `on_cancel`, which must not block, is called on the transport's own thread."""
        ...

    def release(self, operation_id: str) -> None:
        """Claim an operation no longer than until the hub has its end."""
        ...

    def answer_strays(self, on_cancel: OnCancel | None) -> None:
        """Have wishes to cancel what was started here and is held no longer answered by `on_cancel`.

        As for operations that this process has queued for others. It is called on the transport's own thread.
        """
        ...

    def flush(self, timeout_s: float) -> int:
        """Wait until the hub has everything; return how many events it has not."""
        ...

    def close(self, timeout_s: float = 2.0) -> int:
        """Likewise, and end."""
        ...


class NullSink:
    """A `EventSink` that drops everything: reporting is switched off, or there is no address to report to."""

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

    def answer_strays(self, on_cancel: OnCancel | None) -> None:
        """See `EventSink.answer_strays`."""

    def flush(self, timeout_s: float) -> int:
        """See `EventSink.flush`."""
        return 0

    def close(self, timeout_s: float = 2.0) -> int:
        """See `EventSink.close`."""
        return 0
