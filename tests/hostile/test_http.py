"""The memory that unfinished requests and unread answers hold in the hub."""

from pathlib import Path

import pytest
from benchmarks.hostile.measure import SHORT_PAUSES, measure
from benchmarks.hostile.registry import all_attacks

pytestmark = pytest.mark.alone

MAX_PEAK_BYTES = 120 << 20
"""Over the idle hub: the budget for unfinished bodies, as much again for the parts that arrive, and some air."""


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("short-headers", 0.3),
        ("endless-head", 0.3),
        ("stalled-bodies", 0.5),
        ("pipelining-unread", 0.5),
        ("log-downloads", 1.0),  # 272 MiB where each download holds the records that its text was made of
    ],
)
def test_what_an_attack_over_http_holds_is_bounded(name: str, scale: float, tmp_path: Path) -> None:
    outcome = measure(all_attacks()[name], tmp_path, seconds=10.0, scale=scale, pauses=SHORT_PAUSES)
    assert not outcome.hub_ended
    assert outcome.waits.lost == 0
    assert outcome.peak_over_idle_bytes <= MAX_PEAK_BYTES
