"""A command whose output we copy through pipes: our own stdout is no terminal.

What a command has started, where it shares its process group with others.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tidings.cli.run.child import descriptor, signal_group, spawn
from tidings.cli.run.copy import OutputCopier
from tidings.cli.run.reader.output import Source

_PROC = Path("/proc")


class ProcessTree:
    """A process and the descendants it was seen to have; nobody else, though they be of one group.

    A process is known by its id and its start, so that another that was given the id later is not taken for it. Where
    there is no /proc, the descendants are not found.

    Args:
        pid: The process.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._members: dict[int, str] = {}

    def look(self) -> None:
        """See who there is now; call it only while the process is not fetched by its parent."""
        self._members.update(_family(self._pid))

    def send(self, number: int) -> bool:
        """Send a signal to those that are left, 0 to look only, and return whether there were any."""
        alive = False
        for pid, start in self._members.items():
            if _start_of(pid) != start:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
                alive = True
        return alive


def _family(pid: int) -> dict[int, str]:
    """Return the starts of a process and of its descendants, by their ids."""
    children: dict[int, list[int]] = {}
    starts: dict[int, str] = {}
    for each, parent, start in _processes():
        children.setdefault(parent, []).append(each)
        starts[each] = start
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        found[each] = starts.get(each, "")
        waiting.extend(child for child in children.get(each, ()) if child not in found)
    return found


def _processes() -> Iterator[tuple[int, int, str]]:
    """Return the id, the parent and the start of each process."""
    if not (_PROC / "self" / "stat").exists():
        return
    for entry in os.scandir(_PROC):
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                yield int(entry.name), int(fields[1]), fields[19]


def _start_of(pid: int) -> str:
    fields = _stat(pid)
    # Who has ended, and is only not yet fetched by its parent, does nothing any more.
    return "gone" if fields[:1] in (["Z"], ["X"]) else fields[19] if fields else ""


def _stat(pid: int) -> list[str]:
    """Return what /proc says of a process from its state on; nothing where it is gone."""
    try:
        # The name before it, in parentheses, may hold anything.
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(") ")[2].split()
    except OSError:
        return []


STDOUT, STDERR = 1, 2


class PipedChild:
    """A command with separate pipes for stdout and stderr, and our stdin.

    While we are in the foreground of a terminal (`tidings run -- make | tee log`), the command stays in our process
    group: the keyboard's signals reach it from the kernel, and it may read the terminal. SIGINT and SIGQUIT are then
    taken to come from there and not passed on a second time. Anywhere else it gets a process group of its own, to
    which every signal is passed on.

    Args:
        command: Program and arguments.
        read: Called with each chunk of output.
        notify: Called when some output is passed on to its end.

    Raises:
        CommandNotStarted: The command could not be started.
    """

    def __init__(
        self, command: Sequence[str], read: Callable[[bytes, Source], None], notify: Callable[[], None]
    ) -> None:
        # Python buffers what it prints into a pipe; a script's lines shall arrive as they are written. Who has set
        # the variable, even to nothing, has decided.
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
        self._kin = ProcessTree(self._process.pid)
        self._relays = [
            OutputCopier(descriptor(self._process.stdout), STDOUT, lambda data: read(data, Source.STDOUT), notify),
            OutputCopier(descriptor(self._process.stderr), STDERR, lambda data: read(data, Source.STDERR), notify),
        ]

    @property
    def pid(self) -> int:
        """Process id of the command."""
        return self._process.pid

    def start(self) -> None:
        """Begin to pass its output on."""
        if sys.platform == "win32":
            import msvcrt

            for file in (STDOUT, STDERR):
                # The C library would turn each LF into CR LF.
                msvcrt.setmode(file, os.O_BINARY)
        for relay in self._relays:
            relay.start()

    def poll(self) -> int | None:
        """Return its exit status if it has ended: the code, or minus the signal that killed it."""
        return self._process.poll()

    def send(self, number: int) -> None:
        """Pass a signal on, except those that the terminal has sent to the command as well."""
        if sys.platform == "win32":
            # The console has sent Ctrl-C to both.
            if number == signal.SIGTERM:
                self._process.terminate()
            return
        if not self._shares_group:
            signal_group(self._process.pid, number)
        elif number not in (signal.SIGINT, signal.SIGQUIT):
            self._process.send_signal(number)

    def end(self, number: int) -> bool:
        """Send a signal to it and to all that it has started; return whether any of it is left. 0 looks only.

        Of a group that is also ours, and a pipeline's, only the command's own family is meant.
        """
        if sys.platform == "win32":
            if number:
                self._process.terminate()
            return self._process.poll() is None
        if not self._shares_group:
            return signal_group(self._process.pid, number)
        if number and self._process.poll() is None:
            self._kin.look()
        left = self._kin.send(number)
        if number == signal.SIGTERM:
            self._kin.send(signal.SIGCONT)
        return left

    def end_output(self) -> None:
        """Have the passing on of its output end; others who hold the pipes open are not waited for."""
        for relay in self._relays:
            relay.child_ended()

    @property
    def drained(self) -> bool:
        """Whether its output is passed on."""
        return all(relay.done for relay in self._relays)

    def abandon_output(self) -> None:
        """Have its output count as passed on, though whoever reads ours has not taken it."""
        for relay in self._relays:
            relay.abandon()

    def close(self) -> None:
        """Give back what the relays hold."""
        for relay in self._relays:
            relay.close()


def _in_foreground() -> bool:
    """Tell whether our process group is the one its terminal sends the keyboard's signals to."""
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
