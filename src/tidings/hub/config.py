"""What a hub can be told, with the reasons for the values it has when nobody says."""

from msgspec import Struct

from tidings.log.base import Retention

PACES_MS = (50, 100, 250, 500, 1000, 5000)
"""Paces there are: few, so that subscribers share lanes. A pace asked for is rounded up to one of them."""


class HubConfig(Struct, frozen=True, kw_only=True):
    """The limits and rhythms of one hub."""

    heartbeat_s: float = 25.0
    """Below the 30 s and 60 s at which common proxies cut idle connections."""
    status_s: float = 10.0
    """How often the hub publishes its own `system:status`; 0 is never."""
    metrics_s: float = 60.0
    """How often it publishes its own `system:metrics`; 0 is never."""
    estimate_s: float = 5.0
    """How often it looks at running operations, and publishes an `operation:estimate` of what has changed; 0 is never.
    Often enough that a remaining time seems to run down."""
    lease_s: float = 30.0
    """How long an operation outlives its producer's connection, where the producer asks for no other: a restart of the
    hub, or of a network, is shorter; a person who waits notices hardly more."""
    unattended_s: float = 86_400.0
    """After which an operation without a lease that nobody speaks of has failed; 0 is never."""
    max_connections: int = 50_000
    unacknowledged_events: int = 1_000
    """Of one connection: beyond either of these the hub stops reading from it (CONTRACT §6)."""
    unacknowledged_bytes: int = 4 << 20
    batch_events: int = 2_000
    """One transaction at most: with SQLite about 20 ms, the longest a tick may keep others waiting."""
    staged_events: int = 20_000
    """Of all publishers together, waiting for the log: beyond it, HTTP is answered `log_busy`."""
    high_water: int = 192 << 10
    """Bytes a live subscriber's socket may owe before it leaves the live set: several large ticks (200 events of 250
    bytes are 50 KB), so that a burst alone sends nobody away, and little enough that a 200 KB/s reader reads what is
    under 3 s old: the kernel holds up to 320 KB more, its own 128 KiB and both ends' buffers."""
    ring_bytes: int = 32 << 20
    """Recent events and their encoded frames, for those a little behind: after a restart everyone comes at once."""
    catchup_bytes: int = 64 << 10
    """One read of a subscriber that is catching up."""
    catchup_budget_s: float = 0.004
    """Time a round of the loop gives to catching up before live delivery has its turn again."""
    future_wait_s: float = 5.0
    """How long a position from the future waits for the tail before it is a gap (CONTRACT §6)."""
    maintain_s: float = 0.25
    """How often retention looks for work when it has none."""
    drain_retry_ms: int = 1_000
    """What clients are told to wait before they come back after a drain, spread by their own jitter."""
    retention: Retention = Retention()

    @property
    def quiet_s(self) -> float:
        """How long a connection must have been silent to be due a heartbeat, in seconds.

        Short, because the next chance is a whole heartbeat away: with the defaults no connection is silent for more
        than 30 s. (A whole heartbeat here would make it 50.)
        """
        return self.heartbeat_s / 5


def rounded_pace(pace_ms: int) -> int:
    """Return the pace for `pace_ms`: 0 for none, else the next one of `PACES_MS`, at most its last."""
    if pace_ms <= 0:
        return 0
    return next((pace for pace in PACES_MS if pace >= pace_ms), PACES_MS[-1])
