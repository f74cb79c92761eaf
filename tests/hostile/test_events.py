"""Events that are meant to break a real hub: it goes on, its memory is bounded, and its data folder is whole."""

from pathlib import Path

import pytest
from benchmarks.hostile.measure import SHORT_PAUSES, measure
from benchmarks.hostile.registry import all_attacks

from tidings.log.base import Retention
from tidings.log.sqlite.inspect import verify
from tidings.log.sqlite.state import open_log

pytestmark = pytest.mark.alone

MAX_PEAK_BYTES = 240 << 20
"""Over the idle hub, however fast the events come: of long texts that came for 30 s, a hub held 224 MiB at most. Of
these, 64 are ended operations, 32 the ring, and up to 64 pages of the log."""


@pytest.mark.parametrize(("name", "scale"), [("absurd-events", 1.0), ("long-texts", 1.0)])
def test_accepted_events_break_neither_the_hub_nor_its_folder(name: str, scale: float, tmp_path: Path) -> None:
    outcome = measure(all_attacks()[name], tmp_path, seconds=4.0, scale=scale, pauses=SHORT_PAUSES)
    assert not outcome.hub_ended
    assert outcome.waits.lost == 0
    assert outcome.peak_over_idle_bytes <= MAX_PEAK_BYTES
    assert verify(tmp_path / "data").faults == ()
    state = open_log(tmp_path / "data" / "log.db", lambda: "00000000", Retention(), save_every=1_000)
    assert len(state.operations.names) > 0
    state.close()
    stderr = (tmp_path / "stderr").read_text()
    assert "Traceback" not in stderr
    assert "a recurring job failed" not in stderr
