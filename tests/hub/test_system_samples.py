"""Samples of the hub's figures: rates since the sample before, and the worst delay of the event loop."""

from tidings.exceptions import LogFull
from tidings.hub.config import HubConfig
from tidings.hub.system_samples import SystemSamples
from tidings.log.memory import MemoryLog
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryHub

QUIET = HubConfig(status_s=0, metrics_s=0)


def start() -> tuple[InMemoryHub, FaultyLog, SystemSamples]:
    log = FaultyLog(MemoryLog(EPOCH))
    hub = InMemoryHub(QUIET, log=log)
    samples = SystemSamples(hub.hub, hub.connections)
    samples.start()
    return hub, log, samples


def test_delay_of_the_loop_is_the_longest_since_the_sample_before() -> None:
    hub, _, samples = start()
    hub.loop.advance(30)
    hub.clock.advance(2.5)  # the loop does not run
    hub.loop.advance(31)
    [sample] = samples.newest(10)
    assert 1_500 <= sample.loop_delay_ms <= 2_500
    hub.loop.advance(60)
    assert samples.newest(1)[0].loop_delay_ms < 1


def test_refused_events_are_a_rate() -> None:
    hub, log, samples = start()
    client = hub.connect("channels=none")
    for _ in range(60):
        log.fail_append(LogFull("the disk is full"))
        client.send("data:update", {"dataset": "a"})
        hub.loop.advance(1)
    sample = samples.newest(1)[0]
    assert 0.9 <= sample.refused_per_s <= 1.1
    assert sample.events_per_s == 0
