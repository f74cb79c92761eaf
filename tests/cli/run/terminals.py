"""A real terminal for tests: a run whose stdin, stdout and stderr are a pseudo-terminal that the test types on."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.cli.run.runs import command_line, environment

TIMEOUT_S = 60.0


class Terminal:
    """The other end of a run's terminal."""

    def __init__(self, process: "subprocess.Popen[bytes]", master: int, slave: int) -> None:
        self.process = process
        self.master = master
        self._slave = slave
        self.shown = b""

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def resize(self, rows: int, columns: int) -> None:
        set_size(self.master, rows, columns)

    def modes(self) -> Any:
        return termios.tcgetattr(self._slave)

    def wait_for(self, text: bytes) -> bytes:
        """Read until `text` has been shown and return all that was."""
        self._read_until(lambda: text in self.shown)
        return self.shown

    def wait_for_end(self) -> int:
        """Read until the run has ended and return its exit code."""
        self._read_until(lambda: self.process.poll() is not None)
        self._drain()
        return self.process.wait()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        self._read_until(condition)

    def _read_until(self, condition: Callable[[], bool]) -> None:
        limit = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < limit, f"it has not come about; the terminal shows {self.shown!r}"
            self._read(0.02)

    def _drain(self) -> None:
        while self._read(0):
            pass

    def _read(self, timeout: float) -> bool:
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        data = os.read(self.master, 65536)
        self.shown += data
        return bool(data)


def set_size(file: int, rows: int, columns: int) -> None:
    fcntl.ioctl(file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@contextlib.contextmanager
def terminal(arguments: list[str], **streams: Any) -> Iterator[Terminal]:
    """Start a program as the session leader of a new terminal of 33 rows and 99 columns."""
    master, slave = pty.openpty()
    set_size(master, 33, 99)

    def own_the_terminal() -> None:
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        arguments,
        **{"stdin": slave, "stdout": slave, "stderr": slave, **streams},
        env=environment(TERM="xterm"),
        start_new_session=True,
        preexec_fn=own_the_terminal,
        pass_fds=[slave],
    )
    try:
        yield Terminal(process, master, slave)
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        os.close(master)
        os.close(slave)


@contextlib.contextmanager
def run_on_terminal(report: Path, *command: str, **streams: Any) -> Iterator[Terminal]:
    """Start a run on a terminal; `streams` redirect its stdin, stdout or stderr."""
    with terminal(command_line(report, *command), **streams) as started:
        yield started
