"""Detects a silent hub from its signs of life (PROTOCOL.md, "Heartbeats"); the clock is an argument."""

STALE_BEATS = 2
"""Heartbeats of silence after which the client pings the hub: what it read last may be old."""
LOST_BEATS = 3
"""Heartbeats of silence after which the connection is given up; one more than `STALE_BEATS`, for the answer."""


class HeartbeatMonitor:
    """The silence of one hub, across connections."""

    def __init__(self) -> None:
        self.heartbeat_s: float | None = None
        """Interval of the hub's heartbeats, in seconds; None before its first greeting."""
        self.last_received: float | None = None
        """Time of the latest sign of life."""
        self.pinged = False
        """Whether the client has pinged the hub because of its silence."""
        # Silence counts from here: the latest sign of life, or when reading resumed.
        self._since = 0.0
        self._reading = True

    def received(self, now: float) -> None:
        """Note a sign of life."""
        self.last_received = self._since = now
        self.pinged = False

    def pause(self) -> None:
        """Note that the connection is not read: silence is this client's, not the hub's."""
        self._reading = False

    def resume(self, now: float) -> None:
        """Note that the connection is read again."""
        self._reading = True
        self._since = now
        self.pinged = False

    def silence_s(self, now: float) -> float:
        """Return how long the hub has been silent."""
        return now - self._since

    def is_stale(self, now: float) -> bool:
        """Return whether what was read last may be old."""
        stale_at = self._at(STALE_BEATS)
        return stale_at is not None and now >= stale_at

    def deadline(self, *, connected: bool) -> float | None:
        """Return when the silence changes the state; None if it does not, or the connection is not read."""
        if not self.pinged:
            return self._at(STALE_BEATS)
        return self._at(LOST_BEATS) if connected else None

    def _at(self, beats: int) -> float | None:
        if self.heartbeat_s is None or not self._reading:
            return None
        return self._since + beats * self.heartbeat_s
