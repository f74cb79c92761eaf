"""How far a check has come, on a terminal."""

import time

from tidings.cli.contract.recordings import Recording
from tidings.cli.status_line import StatusLine
from tidings.contract.traffic import TrafficCheck


def progress_line(check: TrafficCheck, recording: Recording) -> StatusLine:
    """Return the line that says how far `check` has come in `recording`."""
    began = time.monotonic()
    return StatusLine(lambda: _said(check, recording, time.monotonic() - began))


def _said(check: TrafficCheck, recording: Recording, elapsed_s: float) -> str:
    rate = f", {check.events / elapsed_s:,.0f}/s" if elapsed_s >= 1 else ""
    size = recording.size
    share = f"{min(100 * recording.consumed // size, 100)} %  " if size else ""
    return f"{recording.name}  {share}{check.events:,} events{rate}, {check.refused:,} refused  (Ctrl-C ends it)"
