"""Whether the hub is still there: reckoned from its signs of life, the clock given (CONTRACT §3, `heartbeat_s`)."""

STALE_BEATS = 2
"""Heartbeats of silence after which the hub's last word may be old: it is asked whether it is there."""
LOST_BEATS = 3
"""Heartbeats of silence after which the connection is given up; one more than `STALE_BEATS`, for the answer."""


class HeartbeatMonitor:
    """The silence of one hub, over any number of connections."""

    def __init__(self) -> None:
        self.heartbeat_s: float | None = None
        """How often the hub says something; None before its first greeting."""
        self.last_heard: float | None = None
        """When it last gave a sign of life."""
        self.asked = False
        """Whether it was asked, because of its silence, if it is there."""
        # Silence is reckoned from here: the last sign of life, or when we began to listen again.
        self._since = 0.0
        self._listening = True

    def heard(self, now: float) -> None:
        """Note a sign of life."""
        self.last_heard = self._since = now
        self.asked = False

    def blocked(self) -> None:
        """Note that nobody reads the connection: its silence is ours, not the hub's."""
        self._listening = False

    def listening(self, now: float) -> None:
        """Note that the connection is read again."""
        self._listening = True
        self._since = now
        self.asked = False

    def silence_s(self, now: float) -> float:
        """Return how long the hub has been silent."""
        return now - self._since

    def is_stale(self, now: float) -> bool:
        """Return whether what was read last may be old."""
        stale_at = self._at(STALE_BEATS)
        return stale_at is not None and now >= stale_at

    def deadline(self, *, connected: bool) -> float | None:
        """Return when the silence means something new; None where it does not, or nobody listens."""
        if not self.asked:
            return self._at(STALE_BEATS)
        return self._at(LOST_BEATS) if connected else None

    def _at(self, beats: int) -> float | None:
        if self.heartbeat_s is None or not self._listening:
            return None
        return self._since + beats * self.heartbeat_s
