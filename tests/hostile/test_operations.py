"""Operations in large numbers, against a real hub: innocent clients lose nothing, and the hub keeps little memory."""

from pathlib import Path

import pytest
from benchmarks.hostile.measure import SHORT_PAUSES, measure
from benchmarks.hostile.registry import all_attacks

pytestmark = pytest.mark.alone

MIB = 1 << 20


@pytest.mark.parametrize(
    ("name", "scale"),
    [("cancel-children", 0.1), ("cancel-waiters", 0.2), ("lost-producers", 0.05), ("lost-operations", 0.1)],
)
def test_many_operations_hurt_no_innocent_client(tmp_path: Path, name: str, scale: float) -> None:
    outcome = measure(all_attacks()[name], tmp_path, seconds=2.0, scale=scale, pauses=SHORT_PAUSES)
    assert outcome.waits.lost == 0
    assert outcome.peak_over_idle_bytes < 200 * MIB  # the ring, and what ended operations may take
    assert not outcome.hub_ended
