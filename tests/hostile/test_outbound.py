"""Readers that read nothing, against a real hub: what they cost, and that innocent clients lose nothing."""

from pathlib import Path

import pytest
from benchmarks.hostile.measure import SHORT_PAUSES, measure
from benchmarks.hostile.registry import all_attacks

pytestmark = pytest.mark.alone

MIB = 1 << 20


@pytest.mark.parametrize(
    ("name", "scale", "most"),
    [
        # 50 readers and 12 posts of 3.9 MB, which also fill the ring: 246 MiB where each reader has a copy of a tick.
        ("unread-ticks", 0.5, 120 * MIB),
        # 1,000 readers: 208 MiB where each has its own copy of the events that wait for it.
        ("unread-large-event", 0.25, 50 * MIB),
    ],
)
def test_readers_that_read_nothing_cost_no_copies(tmp_path: Path, name: str, scale: float, most: int) -> None:
    outcome = measure(all_attacks()[name], tmp_path, seconds=10.0, scale=scale, pauses=SHORT_PAUSES)
    assert outcome.peak_over_idle_bytes < most
    assert outcome.waits.lost == 0
    assert not outcome.hub_ended
