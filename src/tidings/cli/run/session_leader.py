"""The process that leads the session of a command on a pseudo-terminal.

The kernel hangs a terminal up for every process when the leader of its session ends: they get SIGHUP, and their writes
fail. If the command were the leader, its end would end the jobs that it leaves in the background, unlike in a shell. So
a process in between leads the session, starts the command as a shell starts a job, reports its end, and waits until
nothing reads the terminal.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import termios
from collections.abc import Sequence

from tidings.cli.run.child import NOT_EXECUTABLE, CommandNotStarted, spawn

assert sys.platform != "win32"

_STDOUT = 1
_STATUS = struct.Struct("=i")
_MAX_FD = 1 << 16
"""Descriptors that the leader closes are below this number; it is started early, when few are open."""


_NO_TERMINAL = json.dumps(
    {
        "exit_code": NOT_EXECUTABLE,
        "code": "command_not_executable",
        "reason": "the command cannot get a terminal",
        "hint": "Pipe the output, as in: tidings run -- COMMAND | cat.",
    }
)
"""The start as the leader would report it if the kernel refused it the terminal."""


class SessionLeader:
    """A command in a session of its own, and the process that leads this session.

    The leader lives as long as a process holds `control`, even after `close`.

    Args:
        command: Program and arguments.
        stdin: Descriptor for the command's stdin; None for ours.
        stdout: The terminal.
        stderr: Descriptor for the command's stderr.

    Raises:
        CommandNotStarted: The command could not be started.
    """

    def __init__(self, command: Sequence[str], *, stdin: int | None, stdout: int, stderr: int) -> None:
        self._socket, theirs = socket.socketpair()
        parent = os.getpid()
        # No other thread runs yet: see `Reporter`.
        self._leader = os.fork()
        if self._leader == 0:
            _lead(command, stdin, stdout, stderr, theirs, parent)
        theirs.close()
        with self._socket.makefile("rb", buffering=0) as replies:
            start = json.loads(replies.readline() or _NO_TERMINAL)
        self._socket.setblocking(False)
        if "pid" not in start:
            self.close()
            self.wait()
            raise CommandNotStarted(**start)
        self.command_pid: int = start["pid"]
        """Process id of the command, which is also the id of its process group."""

    @property
    def control(self) -> int:
        """Descriptor that keeps the leader, and so the terminal, alive."""
        return self._socket.fileno()

    def status(self) -> int | None:
        """Return the command's next status, as `waitpid` does; None if there is none; SIGHUP if the leader is gone."""
        try:
            data = self._socket.recv(_STATUS.size)
        except BlockingIOError:
            return None
        except ConnectionError:
            data = b""
        return _STATUS.unpack(data)[0] if len(data) == _STATUS.size else signal.SIGHUP

    def close(self) -> None:
        """Let the leader end, unless another process holds `control`."""
        self._socket.close()

    def wait(self) -> None:
        """Wait for the leader's end; call it after `close`, if no other process holds `control`."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._leader, 0)


def _lead(
    command: Sequence[str], stdin: int | None, stdout: int, stderr: int, control: socket.socket, parent: int
) -> None:
    """Lead a session on the terminal `stdout`, run the command in it, and never return."""
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()
        fcntl.ioctl(stdout, termios.TIOCSCTTY, 0)
        try:
            process = spawn(
                command, stdin=stdin, stdout=stdout, stderr=stderr, process_group=0, preexec=_take_foreground
            )
        except CommandNotStarted as error:
            facts = {"exit_code": error.exit_code, "code": error.code, "reason": error.reason, "hint": error.hint}
            control.sendall(json.dumps(facts).encode() + b"\n")
            return
        control.sendall(json.dumps({"pid": process.pid}).encode() + b"\n")
        # The end of the output is seen once no process holds the terminal, which includes us.
        os.closerange(0, control.fileno())
        os.closerange(control.fileno() + 1, _MAX_FD)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals() - {signal.SIGHUP})
        _report(process.pid, control, parent)
        control.recv(1)
    except OSError:
        return
    finally:
        # Exit handlers and buffers are those of our parent.
        os.kill(os.getpid(), signal.SIGKILL)


def _report(pid: int, control: socket.socket, parent: int) -> None:
    """Send each stop of the command and its end to our parent."""
    while True:
        _, status = os.waitpid(pid, os.WUNTRACED)
        control.sendall(_STATUS.pack(status))
        if os.getppid() == parent:
            # It waits for signals, and gets none from the end of another process's child.
            os.kill(parent, signal.SIGCHLD)
        if not os.WIFSTOPPED(status):
            return


def _take_foreground() -> None:
    """Put the command's process group in the foreground of its terminal; runs in the command's process."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    os.tcsetpgrp(_STDOUT, os.getpid())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
