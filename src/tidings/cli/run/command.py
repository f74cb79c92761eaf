"""Running of one command as an operation, from its start to its exit code."""

import getpass
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import PurePath

from tidings.cli.run.cancellation import Cancellation
from tidings.cli.run.child import Child, CommandNotStarted, Ending
from tidings.cli.run.listener import Listener
from tidings.cli.run.message import MAX_LABEL, cut
from tidings.cli.run.pipes import PipedChild
from tidings.cli.run.reporter import Mention, Reporter, write_remark
from tidings.cli.run.signals import Signals

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
    listener = Listener(reporter, mention)
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
            ending = Ending(signals.wait_for(lambda: _ended(child, cancellation), cancellation.due_in))
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


def _start(command: Sequence[str], listener: Listener, signals: Signals) -> Child:
    if sys.platform != "win32" and os.isatty(1):
        # Not to be imported where there are no pseudo-terminals.
        from tidings.cli.run.terminal import TerminalChild

        child = TerminalChild(command, listener.offer, signals.stop_asked, signals.notify)
        signals.handle(signal.SIGWINCH, lambda *_: child.copy_size())
        signals.handle(signal.SIGCONT, lambda *_: child.resume())
        return child
    return PipedChild(command, listener.offer, signals.notify)


def _report_not_started(
    command: Sequence[str], name: str | None, error: CommandNotStarted, listener: Listener, reporter: Reporter
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
    reporter: Reporter, ending: Ending, cancellation: Cancellation, stopped: str | None, duration_ms: int, tail: str
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
