"""A recording's figures in words."""

from tidings.cli.record.session import Recorder
from tidings.cli.record.sink import STDOUT
from tidings.cli.units import clock_time, describe_size


def short_figures(recorder: Recorder, output: str, elapsed_s: float) -> str:
    """Return the line that is shown while it goes on."""
    size = describe_size(recorder.sink.written)
    where = "stdout" if output == STDOUT else output
    return f"{where}  {clock_time(elapsed_s)}  {_count(recorder)}, {size}  {recorder.state}  (Ctrl-C ends it)"


def final_figures(recorder: Recorder, output: str) -> str:
    """Return the line that is told at the end."""
    where = "" if output == STDOUT else f" in {output}, {describe_size(recorder.sink.written)}"
    return f"{_count(recorder)}{where}"


def _count(recorder: Recorder) -> str:
    parts = [f"{recorder.events:,} {'event' if recorder.events == 1 else 'events'}"]
    if recorder.gaps:
        parts.append(f"{recorder.gaps:,} {'gap' if recorder.gaps == 1 else 'gaps'}")
    if recorder.invalid:
        parts.append(f"{recorder.invalid:,} that {'was' if recorder.invalid == 1 else 'were'} no envelope")
    return ", ".join(parts)
