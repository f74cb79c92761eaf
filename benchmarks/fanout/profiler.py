"""Profiles of the hub while it is measured, by whichever profiler is installed."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAMPLES_PER_S = 499  # a prime, so that it never keeps step with a timer of the hub's
STOP_TIMEOUT_S = 30.0


def _find(program: str) -> str | None:
    """Find a program on the PATH or beside this interpreter, where pip puts py-spy."""
    return shutil.which(program) or shutil.which(program, path=str(Path(sys.executable).parent))


def _recorder(pid: int, stem: Path) -> list[str] | None:
    if spy := _find("py-spy"):
        output = str(stem.with_suffix(".speedscope.json"))
        return [spy, "record", "-p", str(pid), "-r", str(SAMPLES_PER_S), "-f", "speedscope", "-o", output, "-d", "3600"]
    if perf := _find("perf"):
        return [
            perf,
            "record",
            "-q",
            "-g",
            "-F",
            str(SAMPLES_PER_S),
            "-p",
            str(pid),
            "-o",
            str(stem.with_suffix(".perf")),
        ]
    return None


def _write_perf_summary(stem: Path) -> None:
    data, perf = stem.with_suffix(".perf"), _find("perf")
    if perf is None or not data.exists():
        return
    command = [perf, "report", "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.5", "-i", str(data)]
    done = subprocess.run(command, capture_output=True, check=False)
    stem.with_suffix(".txt").write_bytes(done.stdout)


@contextmanager
def profiled(pid: int, name: str, folder: Path | None) -> Iterator[None]:
    """Profile a process for the length of a `with` block, into files named after `name`.

    Prefers `py-spy` (Python frames) to `perf` (native frames, and a summary as text). A profiler
    takes CPU of its own: figures of a profiled run are not for comparison.

    Args:
        pid: the process.
        name: the stem of the files.
        folder: where they go; None profiles nothing.
    """
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    stem = folder / name
    command = _recorder(pid, stem)
    if command is None:
        print("no profile: neither py-spy nor perf is installed", file=sys.stderr)
        yield
        return
    recorder = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        recorder.send_signal(signal.SIGINT)  # both write their file on Ctrl-C
        try:
            recorder.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            recorder.kill()
            recorder.wait()
        _write_perf_summary(stem)
