"""Records what real programs print, with timing: `python -m tests.cli.run.corpus.record [NAME …]`.

`programs.toml` lists the programs. Each is recorded on a terminal of 80 columns and through pipes; a program that is
not installed is left as it is. The format of a recording is described in `recording.py`.
"""

import fcntl
import os
import pty
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cli.run.corpus.recording import FOLDER, Chunk, Point, Recording, Truth

PROGRAMS = FOLDER / "programs.toml"
ROWS, COLUMNS = 24, 80
MAX_DURATION_S = 60
_SEQUENCE = re.compile(rb"\x1b(?:\[[ -?]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][0-9A-Z]|[=>78M])")
# Toolchains that live in the home of the person who records.
_TOOLCHAINS = ("CARGO_HOME", "RUSTUP_HOME", "GOCACHE", "GOPATH", "PYENV_ROOT")


def environment(folder: Path) -> dict[str, str]:
    """Return what the programs need and nothing that would show where they were recorded."""
    home = Path.home()
    toolchains = {
        "CARGO_HOME": f"{home}/.cargo",
        "RUSTUP_HOME": f"{home}/.rustup",
        "GOCACHE": f"{home}/.cache/go-build",
    }
    return {
        **toolchains,
        **{name: os.environ[name] for name in _TOOLCHAINS if name in os.environ},
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
        "CORPUS": str(FOLDER),
    }


def read_all(process: "subprocess.Popen[bytes]", sources: dict[int, str]) -> Iterator[Chunk]:
    began = time.monotonic()
    while sources and time.monotonic() - began < MAX_DURATION_S:
        ready, _, _ = select.select(list(sources), [], [], 1)
        for file in ready:
            try:
                data = os.read(file, 65536)
            except OSError:
                data = b""  # Linux reports the end of a terminal as an error
            if data:
                yield Chunk(round(time.monotonic() - began, 3), sources[file], data)
            else:
                del sources[file]
    process.kill()
    process.wait()


def record_on_terminal(script: str, folder: Path) -> list[Chunk]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    # The terminal must be the controlling one: programs ask /dev/tty for its size.
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", "bash", "-c", script],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=folder,
        env=environment(folder),
    )
    os.close(theirs)
    try:
        return list(read_all(process, {ours: "stdout"}))
    finally:
        os.close(ours)


def record_through_pipes(script: str, folder: Path) -> list[Chunk]:
    with subprocess.Popen(
        ["bash", "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(folder),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        return list(read_all(process, {process.stdout.fileno(): "stdout", process.stderr.fileno(): "stderr"}))


def true_progress(program: dict[str, Any], chunks: list[Chunk]) -> list[Point]:
    """Return the true progress after each chunk that states it, found by the patterns of this very program."""
    kinds = [kind for kind in ("whole", "parts", "finished", "ended") if kind in program]
    if not kinds:
        return []
    # The groups of all patterns meet in one expression, so each kind's have a prefix.
    patterns = [f"(?P<{kind}>{program[kind].replace('(?P<', f'(?P<{kind}_')})" for kind in kinds]
    expression = re.compile("|".join(patterns).encode(), re.MULTILINE)
    text, ends = b"", []
    for chunk in chunks:
        text += _SEQUENCE.sub(b"", chunk.data)
        ends.append(len(text))
    points: list[Point] = []
    index, total, finished, place = 0, 1, 0, 0
    for found in expression.finditer(text):
        while ends[place] < found.end():
            place += 1
        groups = {name: value.decode() for name, value in found.groupdict().items() if value is not None}
        percent: float | None = None
        if "parts" in groups:
            index, total = int(groups["parts_done"]), int(groups["parts_total"])
            percent = 100.0 * max(0, index - 1) / total
        elif "finished" in groups:
            finished += 1
            percent = 100.0 * finished / int(groups["finished_total"])
        elif "whole" in groups:
            percent = (100.0 * max(0, index - 1) + share_of(groups)) / total
        if not points or points[-1].percent != percent:
            points.append(Point(chunks[place].at, None if percent is None else round(percent, 2)))
    return thinned(points)


def share_of(groups: dict[str, str]) -> float:
    if "whole_percent" in groups:
        return float(groups["whole_percent"].replace(",", "."))
    if ":" in groups["whole_done"]:
        minutes, _, seconds = groups["whole_done"].partition(":")
        return 100.0 * (60 * int(minutes) + float(seconds)) / 60.0
    return 100.0 * float(groups["whole_done"].replace(",", "")) / float(groups["whole_total"].replace(",", ""))


def thinned(points: list[Point]) -> list[Point]:
    """Return the points less those that differ by under half a percent from the point before; keep the last."""
    kept: list[Point] = []
    for point in points:
        if kept and point is not points[-1] and None not in (kept[-1].percent, point.percent):
            assert kept[-1].percent is not None
            assert point.percent is not None
            if abs(point.percent - kept[-1].percent) < 0.5:
                continue
        kept.append(point)
    return kept


def record(name: str, program: dict[str, Any]) -> None:
    """Record one program in each of its ways."""
    for way in program.get("ways", ["pty", "pipe"]):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            if "setup" in program:
                subprocess.run(["bash", "-ec", program["setup"]], cwd=folder, env=environment(folder), check=True)
            recorder = record_on_terminal if way == "pty" else record_through_pipes
            chunks = recorder(program["run"], folder)
            if not chunks:
                continue  # a pipe shows nothing of some programs
            python = Path(shutil.which("python") or sys.executable).parents[1]
            redactions = [(str(private).encode(), b"/opt/python") for private in (python, python.resolve())]
            redactions.insert(0, (str(folder).encode(), b"/tmp/demo"))
            for private, public in redactions:
                chunks = [Chunk(at, source, data.replace(private, public)) for at, source, data in chunks]
            points = true_progress(program, chunks)
            made = f"written after {program['written_after']}" if "written_after" in program else version_of(program)
            truth = Truth(points, program.get("first_may_count", False))
            Recording(f"{name}.{way}", program.get("shown", program["run"].strip()), made, truth, chunks).write()
            ends = f"{points[0]} … {points[-1]}" if points else "nothing"
            size = sum(len(chunk.data) for chunk in chunks)
            sys.stdout.write(f"{name}.{way}: {size} bytes, {len(points)} points: {ends}\n")


def version_of(program: dict[str, Any]) -> str:
    done = subprocess.run(["bash", "-c", program["version"]], capture_output=True, text=True, check=False)
    return "recorded: " + (done.stdout + done.stderr).strip().splitlines()[0]


def main() -> None:
    """Record the programs named on the command line, or all."""
    programs = tomllib.loads(PROGRAMS.read_text(encoding="utf-8"))
    for name in sys.argv[1:] or programs:
        try:
            record(name, programs[name])
        except (subprocess.CalledProcessError, IndexError) as error:
            sys.stderr.write(f"{name}: not recorded: {error!r}\n")


if __name__ == "__main__":
    main()
