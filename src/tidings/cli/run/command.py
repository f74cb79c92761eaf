"""Running of one command as an operation, from its start to its exit code.

A wish from elsewhere that the command ends, and how it is fulfilled.
"""

import getpass
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from tidings.cli.run.child import Child, CommandEnd, CommandNotStarted
from tidings.cli.run.piped_child import PipedChild
from tidings.cli.run.reader.patterns import MAX_LABEL, cut
from tidings.cli.run.reader.worker import ReaderThread
from tidings.cli.run.reporter import Mention, Reporter, write_remark
from tidings.cli.run.signals import Signals

GRACE_S = 10.0
"""Between SIGTERM and SIGKILL: as long as `docker stop` gives."""
_LOOK_S = 0.05
"""Between two looks at what the command has left behind: nobody tells of the end of another's children."""
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Wish:
    """That the command ends."""

    reason: str
    """May be empty."""
    cancelled_by: str
    """Who wants it, may be empty."""


class Cancellation:
    """SIGTERM to the command and what it has started, once it is asked for, and SIGKILL after a grace.

    `ask` may be called in any thread; everything else is the thread's that waits for the command.

    Args:
        grace_s: Seconds between the two.
        clock: Seconds from a monotonic clock.
    """

    def __init__(self, grace_s: float = GRACE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace_s = grace_s
        self._clock = clock
        self._notify: Callable[[], None] | None = None
        self._wish: Wish | None = None
        self._killing_at: float | None = None
        self._killed = False

    def ask(self, reason: str = "", cancelled_by: str = "") -> None:
        """Want the end; of several wishes the first is the one that is told."""
        if self._wish is None:
            self._wish = Wish(reason, cancelled_by)
        notify = self._notify
        if notify is not None:
            notify()

    def on_ask(self, notify: Callable[[], None]) -> None:
        """Have `notify` called, in the asking thread, when there is a wish; at once where there is one already."""
        self._notify = notify
        if self._wish is not None:
            notify()

    @property
    def fulfilled(self) -> Wish | None:
        """The wish, if the command still ran when it was told to end."""
        return self._wish if self._killing_at is not None else None

    @property
    def reason(self) -> str:
        """Why the command ended, in words."""
        said = self._wish.reason if self._wish is not None else ""
        said = said or "it was asked to end"
        return f"{said} (killed: it had not heeded SIGTERM for {self._grace_s:g} s)" if self._killed else said

    def pursue(self, child: Child) -> None:
        """Send the running command what is due."""
        if self._wish is None:
            return
        if self._killing_at is None:
            self._killing_at = self._clock() + self._grace_s
            child.end(signal.SIGTERM)
        elif not self._killed and self._clock() >= self._killing_at:
            self._killed = True
            child.end(_KILL)

    def due_in(self) -> float | None:
        """Return after how many seconds something is due; None where nothing is but a wish."""
        if self._killing_at is None or self._killed:
            return None
        return max(0.0, self._killing_at - self._clock())

    def is_complete(self, child: Child) -> bool:
        """Return whether nothing of a command that has ended is left; at the end of the grace it is killed.

        A command that was not told to end may leave behind what it likes.
        """
        if self._killing_at is None or self._killed:
            return True
        if not child.end(0):
            return True
        self.pursue(child)
        return self._killed

    def look_in(self) -> float | None:
        """Return after how many seconds `is_complete` is to be asked again."""
        due = self.due_in()
        return None if due is None else min(due, _LOOK_S)


# A command line is for reading, not for running again; arguments may be very long.
_MAX_COMMAND = 2_000


def run_command(
    command: Sequence[str],
    reporter: Reporter,
    *,
    name: str | None = None,
    cancellation: Cancellation | None = None,
) -> int:
    """Run a command with its output passed through and its progress reported, and return its exit code.

    On a terminal the command gets one, elsewhere pipes. Must be called in the main thread, where signals arrive.

    Args:
        command: Program and arguments, at least the program.
        reporter: Receiver of what happens; an exception in it is mentioned once on stderr and changes nothing else.
        name: Name of the operation; by default the program and its arguments, cut.
        cancellation: How somebody else has the command end.

    Returns:
        The command's exit code; 128 + the signal's number if it was killed; 127 if it was not found and 126 if it
        could not be executed, with a sentence on stderr.
    """
    mention = Mention(line_end="\r\n" if os.isatty(2) else "\n")
    listener = ReaderThread(reporter, mention)
    cancellation = cancellation or Cancellation()
    with Signals() as signals:
        began = time.monotonic()
        try:
            child = _start(command, listener, signals)
        except CommandNotStarted as error:
            return _report_not_started(command, name, error, listener, reporter)
        try:
            listener.start()
            listener.post(lambda: _report_start(reporter, command, name, child.pid))
            child.start()
            signals.direct(child.send)
            cancellation.on_ask(signals.notify)
            ending = CommandEnd(signals.wait_for(lambda: _ended(child, cancellation), cancellation.due_in))
            signals.wait_for(lambda: cancellation.is_complete(child) or None, cancellation.look_in)
            # Nothing is left to pass a signal on to; what it can still end is the wait for whoever reads our output.
            signals.direct(lambda _: child.abandon_output())
            child.end_output()
            signals.wait_for(lambda: child.drained or None)
        finally:
            child.close()
        duration_ms = round((time.monotonic() - began) * 1000)
        stopped = signals.explain(ending.status)
        listener.finish(lambda tail: _report_end(reporter, ending, cancellation, stopped, duration_ms, tail))
        return ending.exit_code


def _ended(child: Child, cancellation: Cancellation) -> int | None:
    """Return the command's exit status if it has ended, else send it what is due."""
    status = child.poll()
    if status is None:
        cancellation.pursue(child)
    return status


def _start(command: Sequence[str], listener: ReaderThread, signals: Signals) -> Child:
    if sys.platform != "win32" and os.isatty(1):
        # Not to be imported where there are no pseudo-terminals.
        from tidings.cli.run.pty_child import TerminalChild

        child = TerminalChild(command, listener.offer, signals.stop_asked, signals.notify)
        signals.handle(signal.SIGWINCH, lambda *_: child.copy_size())
        signals.handle(signal.SIGCONT, lambda *_: child.resume())
        return child
    return PipedChild(command, listener.offer, signals.notify)


def _report_not_started(
    command: Sequence[str], name: str | None, error: CommandNotStarted, listener: ReaderThread, reporter: Reporter
) -> int:
    write_remark(f"{error}. {error.hint}")
    listener.start()
    listener.post(lambda: _report_start(reporter, command, name, os.getpid()))
    listener.finish(lambda _: reporter.failed(error.code, str(error), "", error.hint))
    return error.exit_code


def _report_start(reporter: Reporter, command: Sequence[str], name: str | None, pid: int) -> None:
    line = shlex.join(command)
    short = shlex.join([PurePath(command[0]).name, *command[1:]])
    reporter.started(name or cut(short, MAX_LABEL), socket.gethostname(), pid, cut(line, _MAX_COMMAND), _user())


def _report_end(
    reporter: Reporter, ending: CommandEnd, cancellation: Cancellation, stopped: str | None, duration_ms: int, tail: str
) -> None:
    wish = cancellation.fulfilled
    if wish is not None:
        # Whatever its exit code: a service that is told to end and does so well is no job that was done.
        reporter.cancelled(cancellation.reason, wish.cancelled_by)
    elif stopped is not None:
        reporter.cancelled(stopped)
    elif ending.status == 0:
        reporter.completed(duration_ms)
    else:
        reporter.failed(ending.code, ending.sentence, tail, ending.hint)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that no user has.
        return "" if sys.platform == "win32" else str(os.getuid())
