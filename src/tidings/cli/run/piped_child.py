"""A command whose output we copy through pipes, for use where our own stdout is not a terminal."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

import psutil

from tidings.cli.run.child import descriptor, signal_group, spawn
from tidings.cli.run.copy import CopiedOutput, OutputCopier
from tidings.cli.run.reader.output import Source

STDOUT, STDERR = 1, 2


class ProcessTree:
    """A process and the descendants that `refresh` has found, which may share a process group with other processes.

    psutil identifies a process by its id and its start time, so a later process with a reused id gets no signal.

    Args:
        pid: Id of the root process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        # Parents before children: a parent whose child a signal ended first may end by that, and with another status.
        self._members: dict[psutil.Process, None] = {}

    def refresh(self) -> None:
        """Add the present descendants. Call it only before the root process has been waited for."""
        with contextlib.suppress(psutil.NoSuchProcess):
            root = psutil.Process(self._pid)
            self._members.update(dict.fromkeys((root, *root.children(recursive=True))))

    def send(self, number: int) -> bool:
        """Send a signal to the members that still run, 0 to check only; return whether there was one."""
        alive = False
        for process in self._members:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                # A zombie has ended; only its parent has not waited for it yet.
                if process.status() != psutil.STATUS_ZOMBIE:
                    process.send_signal(number)
                    alive = True
        return alive


class PipedChild(CopiedOutput):
    """A command with separate pipes for stdout and stderr, and our stdin.

    While we are in the foreground of a terminal (`tidings run -- make | tee log`), the command stays in our process
    group: the kernel sends it the keyboard's signals, and it may read the terminal. SIGINT and SIGQUIT then count as
    sent by the keyboard and are not passed on a second time. Otherwise the command gets a process group of its own,
    and every signal is passed on to that group.

    Args:
        command: Program and arguments.
        read: Called with each chunk of output.
        notify: Called when the end of an output stream has been passed on.

    Raises:
        CommandNotStarted: The command could not be started.
    """

    def __init__(
        self, command: Sequence[str], read: Callable[[bytes, Source], None], notify: Callable[[], None]
    ) -> None:
        # Python buffers output to a pipe; this makes a script's lines arrive as they are written. A value that the user
        # has set, even an empty one, takes precedence.
        env = {"PYTHONUNBUFFERED": "1", **os.environ}
        self._shares_group = _in_foreground()
        self._process = spawn(
            command,
            stdin=None,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            process_group=None if self._shares_group or sys.platform == "win32" else 0,
        )
        self._tree = ProcessTree(self._process.pid)
        self.copiers = [
            OutputCopier(descriptor(self._process.stdout), STDOUT, lambda data: read(data, Source.STDOUT), notify),
            OutputCopier(descriptor(self._process.stderr), STDERR, lambda data: read(data, Source.STDERR), notify),
        ]

    @property
    def pid(self) -> int:
        """Process id of the command."""
        return self._process.pid

    def start(self) -> None:
        """Start to pass output on."""
        if sys.platform == "win32":
            import msvcrt

            for file in (STDOUT, STDERR):
                # The C library would turn each LF into CR LF.
                msvcrt.setmode(file, os.O_BINARY)
        self.start_copying()

    def poll(self) -> int | None:
        """Return the exit status if the command has ended: the code, or minus the signal that killed it."""
        return self._process.poll()

    def send(self, number: int) -> None:
        """Pass a signal on, except those that the terminal has also sent to the command."""
        if sys.platform == "win32":
            # The console sends Ctrl-C to both processes.
            if number == signal.SIGTERM:
                self._process.terminate()
            return
        if not self._shares_group:
            signal_group(self._process.pid, number)
        elif number not in (signal.SIGINT, signal.SIGQUIT):
            self._process.send_signal(number)

    def end(self, number: int) -> bool:
        """Send a signal to the command and its descendants, 0 to check only; return whether any is left.

        If the command shares our process group, other processes of the group get no signal.
        """
        if sys.platform == "win32":
            if number:
                self._process.terminate()
            return self._process.poll() is None
        if not self._shares_group:
            return signal_group(self._process.pid, number)
        if number and self._process.poll() is None:
            self._tree.refresh()
        left = self._tree.send(number)
        if number == signal.SIGTERM:
            self._tree.send(signal.SIGCONT)
        return left


def _in_foreground() -> bool:
    """Return whether our process group is in the foreground of its terminal, which sends it the keyboard's signals."""
    if sys.platform == "win32":
        return True
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)
