"""Configuration of a hub, with the reasons for the default values."""

from msgspec import Struct

from tidings.log.base import Retention

PACES_MS = (50, 100, 250, 500, 1000, 5000)
"""The possible paces, in milliseconds: few, so that subscribers share lanes. A requested pace is rounded up."""

DEFAULT_LICENSE_GRACE_S = 7 * 86_400.0
"""How long an expired license still allows reading, in seconds: a week has working days for the renewal."""


class HubConfig(Struct, frozen=True, kw_only=True):
    """The limits and intervals of one hub."""

    heartbeat_s: float = 25.0
    """Heartbeat interval, below the 30 s and 60 s after which common proxies close idle connections."""
    status_s: float = 10.0
    """Interval at which the hub publishes its `system:status`; 0 disables."""
    metrics_s: float = 60.0
    """Interval at which the hub publishes its `system:metrics`; 0 disables."""
    estimate_s: float = 5.0
    """Interval at which the hub estimates the remaining time of running operations and publishes the changed ones as
    `operation:estimate`; 0 disables. Short enough that a remaining time seems to run down."""
    lease_s: float = 30.0
    """Default lease: how long an operation outlives its producer's connection. A restart of the hub or of a network is
    shorter, and a person who waits hardly notices it."""
    unattended_s: float = 86_400.0
    """Silence after which the hub fails an operation without a lease; 0 disables."""
    max_connections: int = 50_000
    """Open WebSockets and event streams; also the limit of requests that wait for an operation."""
    connections_of_address: int = 10_000
    """Open WebSockets and event streams of one IP address, or of one /64 network with IPv6; 0 for no limit. A fifth of
    all: an office behind one address has less, and one machine has 28,000 ports. The hub's own machine has no limit,
    because a proxy on it that is not listed (`--trusted-proxy`) stands for all clients."""
    connections_of_subject: int = 10_000
    """Open WebSockets, event streams and waiting requests of one subject; 0 for no limit. A service that all pages of a
    site share has thousands."""
    events_per_s: float = 0
    """Events of one connection each second; 0 for no limit, as in EMQX (`messages_rate`,
    https://docs.emqx.com/en/emqx/latest/configuration/limiter.html): a busy hub holds publishers back by itself."""
    commands_per_s: float = 0
    """Commands of one connection each second; 0 for no limit."""
    subject_events_per_s: float = 0
    """Events of one subject each second, over all its connections and posts; 0 for no limit."""
    subject_commands_per_s: float = 0
    """Commands of one subject each second, over all its connections; 0 for no limit."""
    posted_events_per_s: float = 0
    """Events that one IP address posts each second, where the hub identifies no one; 0 for no limit. The hub's own
    machine has none, as with `connections_of_address`."""
    paths_of_connection: int = 5_000
    """Paths of one connection. Each change of them costs time in proportion to their number: 30 ms for all of these."""
    reads_of_client: int = 32
    """Reads of history, snapshots, operations and names of one subject at a time, or of one address where the hub
    identifies no one; 0 for no limit. A browser has 6 connections to a host with HTTP/1.1, so five pages."""
    waits_of_client: int = 1_000
    """Requests of one subject that wait for operations, or of one address where the hub identifies no one; 0 for no
    limit. A fifth of all that may wait."""
    live_operations: int = 100_000
    """Operations of all subjects that have not ended; 0 for no limit. Each takes about 3 KB of memory until it ends, or
    until `unattended_s`: 300 MB. One subject may have `MAX_LIVE_OF_OWNER` of them."""
    unacknowledged_events: int = 1_000
    """Unacknowledged events of one connection beyond which the hub stops reading from it (PROTOCOL.md,
    "Publishing")."""
    unacknowledged_bytes: int = 4 << 20
    """Bytes of unacknowledged events beyond which the hub stops reading from a connection."""
    batch_events: int = 2_000
    """Events in one transaction: with SQLite about 20 ms, the longest that a tick may keep others waiting."""
    batch_bytes: int = 2 << 20
    """Bytes of data in one transaction, for ticks of large events: they are written to the disk and to every subscriber
    before anyone else has a turn."""
    staged_events: int = 20_000
    """Events that may wait for the log. A program that embeds the hub gets `log_busy` beyond it; the hub's clients are
    held back earlier, at twice `batch_events`: one batch that the log appends, and one that gathers."""
    staged_bytes: int = 16 << 20
    """Size of the `data` that may wait for the log, beyond which the hub's clients are held back."""
    room_wait_s: float = 5.0
    """How long a post waits for room in the stage before it is answered with `log_busy`."""
    high_water: int = 192 << 10
    """Bytes that a live subscriber may be behind before it leaves the live set: several large ticks (200 events of 250
    bytes are 50 KB), so that a burst alone removes no subscriber, and little enough that a 200 KB/s reader reads events
    that are under 3 s old: the kernel holds up to 320 KB more, its own 128 KiB and the buffers of both ends."""
    outbound_bytes: int = 128 << 20
    """Bytes that may wait for all clients together, outside the kernel. Beyond it, slow live subscribers leave the live
    set, and then clients that have read nothing for 5 s are disconnected. A client that does not read costs a few
    kilobytes, so only replies that are not read, or thousands of clients that stop inside large events, come near."""
    ring_bytes: int = 32 << 20
    """Size of the ring of recent events and their encoded frames, for subscribers a little behind: after a restart all
    clients reconnect together."""
    catchup_bytes: int = 64 << 10
    """Size of one read of a subscriber that catches up."""
    catchup_budget_s: float = 0.004
    """Time per round of the event loop for catching up, before live delivery has its turn again."""
    future_wait_s: float = 5.0
    """How long a subscription from a future position waits for the tail before it is a gap (PROTOCOL.md,
    "Resuming")."""
    maintain_s: float = 0.25
    """Interval at which retention looks for work when it has none."""
    sample_s: float = 60.0
    """Interval of the samples for charts of the hub; see `SystemSamples`. 0 takes none."""
    drain_retry_ms: int = 1_000
    """Delay after which the first clients reconnect after a drain: a hub restarts in less."""
    license_retry_ms: int = 30_000
    """Delay after which clients reconnect that the hub closes because its license has expired: all are back within a
    minute of the renewal, and until then 1,000 clients cost the hub 30 handshakes each second."""
    reconnect_rate: float = 1_000.0
    """Connections per second that a hub accepts, and that a drain asks to return. One costs up to half a millisecond
    with what it reads first, so that half of a core is left for live delivery."""
    retention: Retention = Retention()

    @property
    def quiet_s(self) -> float:
        """Silence of a connection after which its heartbeat is sent, in seconds.

        Short, because the next chance is a whole heartbeat interval away: with the defaults no connection is silent
        for more than 30 s. (A whole interval here would make it 50 s.)
        """
        return self.heartbeat_s / 5


def round_pace(pace_ms: int) -> int:
    """Return the pace for a requested `pace_ms`: 0 for no pace, else the next of `PACES_MS`, at most the last."""
    if pace_ms <= 0:
        return 0
    return next((pace for pace in PACES_MS if pace >= pace_ms), PACES_MS[-1])
