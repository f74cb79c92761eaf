"""Running the load generator and reading what it found."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from benchmarks.fanout.servers import Server

# Added to the seconds asked for: opening 10,000 connections, and draining what is in flight.
PATIENCE_S = 240.0


class LoadError(Exception):
    """The load generator did not run; the message holds what it said."""


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """Publish-to-receive times (fan-out), or request-to-answer times (publishing), in microseconds."""

    p50: float
    p99: float
    max: float
    readings: int


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the load generator, as it printed it."""

    mode: str
    seconds: float = 0.0
    """Length of the measured window."""
    events: int = 0
    """Published in the window; in the publishing modes, acknowledged in it."""
    deliveries: int = 0
    bytes: int = 0
    """Of delivered JSON, frame headers not counted."""
    posts: int = 0
    latency_us: Latency | None = None
    server_cpu_s: float = 0.0
    server_core_busy_s: float = 0.0
    """Everything the server's core did in the window, from /proc/stat: a check on `server_cpu_s`."""
    load_cpu_s: float = 0.0
    resident_kib_before: int = 0
    resident_kib_after: int = 0
    stalled: bool = False
    subscribers: int = 0
    connections: int = 0
    batch: int = 0
    missing: int = 0
    """Deliveries that never came, over the whole run, warm-up included."""
    late: int = 0
    """Deliveries that came twice or out of order."""
    replies_missing: int = 0
    refused: int = 0
    other_frames: int = 0
    links_gone: int = 0
    complaint: str = ""

    @property
    def fault(self) -> str | None:
        """What makes this run invalid, or None."""
        counts = {
            "missing": self.missing,
            "late": self.late,
            "replies missing": self.replies_missing,
            "refused": self.refused,
            "connections lost": self.links_gone,
            "stalled": int(self.stalled),
        }
        wrong = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        if self.complaint:
            wrong += f" ({self.complaint[:300]})"
        return wrong or None


OptionValue = str | int | float | bool


def run_load(
    binary: Path, mode: str, server: Server, options: Mapping[str, OptionValue], *, core: int | None = None
) -> LoadResult:
    """Run the load generator against a server until it stops by itself.

    Args:
        binary: the compiled program.
        mode: one of its modes.
        server: the server under test, whose CPU time and memory it reads.
        options: its long options without the dashes; `True` gives a bare flag, `False` leaves it out.
        core: the only core it may use.

    Raises:
        LoadError: it ended without a result, or ran far over its time.
    """
    command = [str(binary), mode, "--host", server.host, "--port", str(server.port), "--server-pid", str(server.pid)]
    for name, value in options.items():
        if value is True:
            command.append(f"--{name}")
        elif value is not False:
            command += [f"--{name}", str(value)]

    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    limit = float(options.get("seconds", 5)) + float(options.get("warm-up", 0)) + PATIENCE_S
    try:
        done = subprocess.run(command, capture_output=True, timeout=limit, preexec_fn=pin, check=False)
    except subprocess.TimeoutExpired as error:
        raise LoadError(f"{' '.join(command)} ran over {limit:.0f} s") from error
    try:
        return msgspec.json.decode(done.stdout, type=LoadResult)
    except msgspec.DecodeError as error:
        said = done.stderr.decode(errors="replace")
        raise LoadError(f"{' '.join(command)} ended with {done.returncode} and no result: {said}") from error
