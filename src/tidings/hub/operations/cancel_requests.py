"""The requests to cancel that are open, and who waits for their outcomes."""

from collections.abc import Callable

import structlog

from tidings.access.grants import Grants
from tidings.hub.interfaces import LeaseHolder
from tidings.protocol.messages import CancelAnswer, CancelOutcome, CancelPush

OutcomeCallback = Callable[[CancelOutcome], None]

log = structlog.get_logger("tidings.hub.operations.cancel_requests")


class OpenCancellation:
    """The cancellation of one attempt."""

    __slots__ = (
        "answer",
        "children",
        "is_due",
        "push",
        "push_id",
        "pushed_to",
        "pushing",
        "requested_ns",
        "requesters",
        "session",
        "timed_out",
    )

    def __init__(self, push_id: str, push: CancelPush, requested_ns: int) -> None:
        self.push_id = push_id
        self.push = push
        self.requested_ns = requested_ns
        """Time of the first request, nanoseconds since 1970."""
        self.is_due = False
        """Whether the holder is asked; not before its descendants were."""
        self.session = ""
        """The session of the hub that was asked; see `Log.session`."""
        self.pushed_to: LeaseHolder | None = None
        """The connection to this hub that the push was sent to."""
        self.answer: CancelAnswer | None = None
        self.requesters: dict[CancelRequester, None] = {}
        self.pushing: list[Grants | None] = []
        """Grants with which it is being passed on to the descendants now; None for all descendants."""
        self.timed_out: list[CancelRequester] = []
        """Requesters that are about to be answered, because they wait no longer."""
        self.children: dict[OpenCancellation, None] = {}
        """Cancellations of the operation's children."""

    def join(self, other: "OpenCancellation") -> None:
        """Take over those who wait for the outcome of a later request."""
        for requester in other.requesters:
            requester.cancellation = self
        self.requesters |= other.requesters
        other.requesters = {}
        self.pushing += [grants for grants in other.pushing if grants not in self.pushing]


class CancelRequester:
    """A request that waits for an outcome; it gets one only.

    Its timer outlives it, and keeps nothing but this object alive.
    """

    __slots__ = ("_callback", "_on_drain", "cancellation", "due_at", "owner")

    def __init__(self, callback: OutcomeCallback, on_drain: Callable[[], None] | None, owner: object) -> None:
        self._callback: OutcomeCallback | None = callback
        self._on_drain = on_drain
        self.owner = owner
        """The connection that asked, or None."""
        self.cancellation: OpenCancellation | None = None
        self.due_at = 0.0
        """When it is answered in any case, in seconds of the monotonic clock."""

    @property
    def reported(self) -> bool:
        """Whether it was answered, or has been withdrawn."""
        return self._callback is None

    def withdraw(self) -> OutcomeCallback | None:
        """Return the callback, which is called by no one else from now on; None if it was called."""
        callback = self._callback
        self._callback = self._on_drain = None
        return callback

    def drain(self) -> None:
        """Report that no outcome will come, because the hub shuts down."""
        on_drain = self._on_drain
        if on_drain is not None:
            self.withdraw()
            on_drain()

    def report(self, outcome: CancelOutcome) -> None:
        """Report the outcome, unless one was reported before."""
        callback = self.withdraw()
        if callback is None:
            return
        try:
            callback(outcome)
        except Exception:  # one requester's fault must not keep the outcome from the others
            log.exception("a requester's callback for a cancellation failed")
