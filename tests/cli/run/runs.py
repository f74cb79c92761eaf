"""Real runs of `run_command` in a process of their own, for tests of what passes through."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

DRIVER = Path(__file__).parent / "driver.py"

Call = dict[str, Any]


def command_line(report: Path, *command: str, reporter: str = "--file") -> list[str]:
    """Return the command line that runs `command` and writes what is reported to a file."""
    return [sys.executable, str(DRIVER), str(report), reporter, *command]


def environment(**changes: str) -> dict[str, str]:
    """Return our environment without what would make the child's output unbuffered by itself."""
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}, **changes}


def python(source: str) -> list[str]:
    """Return a command that runs a Python program."""
    return [sys.executable, "-c", source]


def calls(report: Path) -> list[Call]:
    """Return what has been reported so far."""
    return [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []


def run(report: Path, *command: str, reporter: str = "--file", **options: Any) -> "subprocess.CompletedProcess[bytes]":
    """Run a command to its end, in a session of its own, and return its output and exit code."""
    options = {"stdin": subprocess.DEVNULL, "env": environment(), "timeout": 30, **options}
    return subprocess.run(
        command_line(report, *command, reporter=reporter),
        capture_output=True,
        start_new_session=True,
        check=False,
        **options,
    )
