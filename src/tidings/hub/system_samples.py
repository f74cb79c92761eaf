"""The hub's figures of the last day, one sample a minute: a page that is opened after an incident shows it."""

from collections import deque

from msgspec import Struct

from tidings.hub.connection_registry import ConnectionRegistry
from tidings.hub.hub import Hub

PROBE_S = 1.0
"""Time between two probes of the event loop, in seconds."""
MAX_SAMPLES = 1_440
"""Samples that are kept: a day of minutes, in about 200 KB. They end with the process."""


class SystemSample(Struct, frozen=True, kw_only=True, gc=False):
    """Figures at one time, and rates since the sample before."""

    taken_ns: int
    """Nanoseconds since 1970."""
    events_per_s: float
    """Events appended to the log."""
    writes_per_s: float
    """Writes to live subscribers."""
    refused_per_s: float
    """Events that the log refused, or that were beyond a client's rate."""
    bytes_per_s: float
    """Bytes written to live subscribers."""
    connections: int
    """Open WebSockets and event streams."""
    catching_up: int
    """Subscribers behind the head of the log."""
    live_operations: int
    log_bytes: int
    """Size of the log: of its files, or in memory."""
    waiting_bytes: int
    """Bytes that wait for slow clients."""
    loop_delay_ms: float
    """How late the event loop was at most since the sample before, in milliseconds."""


class SystemSamples:
    """Takes the samples of one hub.

    Args:
        hub: The hub.
        connections: Its connections.
    """

    def __init__(self, hub: Hub, connections: ConnectionRegistry) -> None:
        self._hub = hub
        self._connections = connections
        self._samples: deque[SystemSample] = deque(maxlen=MAX_SAMPLES)
        self._before = self._counts()
        self._probed_s = 0.0
        self._loop_delay_s = 0.0
        self.interval_s = hub.config.sample_s
        """Time between two samples, in seconds; 0 where none are taken."""

    def start(self) -> None:
        """Take a sample again and again."""
        if self.interval_s:
            self._probed_s = self._hub.clock.monotonic()
            self._hub.jobs.start("samples", self.interval_s, self._take)
            self._hub.jobs.start("probe of the event loop", PROBE_S, self._probe)

    def newest(self, count: int) -> list[SystemSample]:
        """Return the newest samples, oldest first."""
        samples = list(self._samples)
        return samples[len(samples) - min(count, len(samples)) :]

    def _probe(self) -> None:
        now_s = self._hub.clock.monotonic()
        self._loop_delay_s = max(self._loop_delay_s, now_s - self._probed_s - PROBE_S)
        self._probed_s = now_s

    def _counts(self) -> tuple[float, int, int, int, int]:
        hub = self._hub
        counters = hub.delivery.counters
        refused = hub.counters.refused + hub.rates.refused_events
        return hub.clock.monotonic(), hub.counters.accepted, counters.lane_writes, counters.lane_bytes, refused

    def _take(self) -> None:
        hub, before, now = self._hub, self._before, self._counts()
        self._before = now
        window_s = max(now[0] - before[0], 1e-9)
        statistics = hub.log.statistics()
        self._samples.append(
            SystemSample(
                taken_ns=hub.now_ns(),
                events_per_s=(now[1] - before[1]) / window_s,
                writes_per_s=(now[2] - before[2]) / window_s,
                bytes_per_s=(now[3] - before[3]) / window_s,
                refused_per_s=(now[4] - before[4]) / window_s,
                connections=len(self._connections),
                catching_up=len(hub.delivery.catchup),
                live_operations=len(hub.operations),
                log_bytes=statistics.disk_bytes or statistics.durable_bytes,
                waiting_bytes=hub.delivery.outbound.waiting_bytes,
                loop_delay_ms=self._loop_delay_s * 1_000,
            )
        )
        self._loop_delay_s = 0.0
