"""Runs a command as `tidings run` does and writes what is reported to a file: `driver.py FILE [--broken] COMMAND…`."""

import json
import os
import sys
import threading
from pathlib import Path

from tidings.cli.run import run_command


class FileReporter:
    """A reporter that appends each call to a file as one line of JSON."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def _write(self, call: str, **facts: object) -> None:
        os.write(self._file, json.dumps({"call": call, **facts}).encode() + b"\n")

    def started(self, name: str, host: str, pid: int, command: str, user: str, total_steps: int | None = None) -> None:
        self._write("started", name=name, host=host, pid=pid, command=command, user=user)

    def progress(self, percent: float | None, current_step: str, total_steps: int, message: str) -> None:
        self._write("progress", percent=percent, step=current_step, total=total_steps, message=message)

    def completed(self, duration_ms: int) -> None:
        self._write("completed", duration_ms=duration_ms)

    def failed(self, code: str, message: str, details: str, hint: str) -> None:
        self._write("failed", code=code, message=message, details=details, hint=hint)

    def cancelled(self, reason: str, cancelled_by: str = "") -> None:
        self._write("cancelled", reason=reason, cancelled_by=cancelled_by)


class BrokenReporter(FileReporter):
    """A reporter whose every call fails."""

    def _write(self, call: str, **facts: object) -> None:
        raise ConnectionRefusedError(f"no hub for {call}")


class StuckReporter(FileReporter):
    """A reporter that breaks its contract: its calls never return."""

    def _write(self, call: str, **facts: object) -> None:
        threading.Event().wait()


REPORTERS = {"--file": FileReporter, "--broken": BrokenReporter, "--stuck": StuckReporter}

if __name__ == "__main__":
    path, kind, *command = sys.argv[1:]
    # A stuck reporter leaves its thread behind; the process must end all the same.
    sys.exit(run_command(command, REPORTERS[kind](Path(path))))
