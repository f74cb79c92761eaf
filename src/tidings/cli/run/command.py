"""Runs one command as an operation, from its start to its exit code, and cancels it on request."""

import getpass
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from tidings.cli.run.child import Child, CommandEnd, CommandNotStarted
from tidings.cli.run.nesting import RUN_VARIABLE, NestedRuns, OuterRun
from tidings.cli.run.piped_child import PipedChild
from tidings.cli.run.reader.patterns import MAX_LABEL, cut
from tidings.cli.run.reader.worker import ReaderThread
from tidings.cli.run.reporter import Mention, NullReporter, Reporter, write_remark
from tidings.cli.run.signals import Signals
from tidings.printable import decode_argument
from tidings.redaction import Redactor

GRACE_S = 10.0
"""Default time between SIGTERM and SIGKILL, as long as that of `docker stop`."""
_POLL_S = 0.05
"""Interval of checks for remaining descendants: the OS does not notify us of the end of another process's children."""
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class EndRequest:
    """A request to end the command."""

    reason: str
    """Why, in words; may be empty."""
    cancelled_by: str
    """Requesting user; may be empty."""


class Cancellation:
    """Sends SIGTERM to the command and its descendants on request, and SIGKILL after a grace period.

    Any thread may call `request`; all other methods belong to the thread that waits for the command.

    Args:
        grace_s: Seconds between the two signals.
        clock: Seconds from a monotonic clock.
    """

    def __init__(self, grace_s: float = GRACE_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._grace_s = grace_s
        self._clock = clock
        self._notify: Callable[[], None] | None = None
        self._request: EndRequest | None = None
        self._killing_at: float | None = None
        self._killed = False

    def request(self, reason: str = "", cancelled_by: str = "") -> None:
        """Request the end of the command; the first of several requests is reported."""
        if self._request is None:
            self._request = EndRequest(reason, cancelled_by)
        notify = self._notify
        if notify is not None:
            notify()

    def on_request(self, notify: Callable[[], None]) -> None:
        """Call `notify` in the requesting thread on the first request; immediately if there was one already."""
        self._notify = notify
        if self._request is not None:
            notify()

    @property
    def fulfilled(self) -> EndRequest | None:
        """The request, if the command still ran when it got SIGTERM."""
        return self._request if self._killing_at is not None else None

    @property
    def reason(self) -> str:
        """Why the command ended, in words."""
        reason = (self._request.reason if self._request is not None else "") or "cancellation was requested"
        return f"{reason} (killed: it ignored SIGTERM for {self._grace_s:g} s)" if self._killed else reason

    def send_due_signal(self, child: Child) -> None:
        """Send the running command the signal that is due, if there is one."""
        if self._request is None:
            return
        if self._killing_at is None:
            self._killing_at = self._clock() + self._grace_s
            child.end(signal.SIGTERM)
        elif not self._killed and self._clock() >= self._killing_at:
            self._killed = True
            child.end(_KILL)

    def due_in(self) -> float | None:
        """Return the seconds until SIGKILL is due; None before SIGTERM and after SIGKILL."""
        if self._killing_at is None or self._killed:
            return None
        return max(0.0, self._killing_at - self._clock())

    def is_complete(self, child: Child) -> bool:
        """Return whether no descendant of an ended command is left; kill them at the end of the grace period.

        A command that was not cancelled may leave processes running.
        """
        if self._killing_at is None or self._killed:
            return True
        if not child.end(0):
            return True
        self.send_due_signal(child)
        return self._killed

    def poll_in(self) -> float | None:
        """Return the seconds until `is_complete` should be called again; None if it need not be."""
        due = self.due_in()
        return None if due is None else min(due, _POLL_S)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Limits on the content of a run's report."""

    redactor: Redactor = field(default_factory=Redactor)
    """Applied to the command line, to texts of the output, and to errors."""
    command: bool = True
    """Whether it contains the command line; if not, only the name of the program."""
    output: bool = True
    """Whether it contains texts of the output; if not, only percentages and numbers of steps."""


_MAX_COMMAND = 2_000
"""Characters of the reported command line: it is for reading, not for running again, and arguments may be long."""


def run_command(
    command: Sequence[str],
    reporter: Reporter,
    *,
    name: str | None = None,
    cancellation: Cancellation | None = None,
    disclosure: Disclosure | None = None,
) -> int:
    """Run a command, pass its output through, report its progress, and return its exit code.

    The command gets a terminal if stdout is one, and pipes otherwise. Call it in the main thread, where signals arrive.

    Args:
        command: Program and arguments, at least the program.
        reporter: Receiver of the run's events; its exceptions are mentioned once on stderr and change nothing else.
        name: Name of the operation; by default the program and its arguments, shortened.
        cancellation: Through which others end the command.
        disclosure: What the report may contain; by default everything, with what looks like a secret redacted.

    Returns:
        The command's exit code; 128 + the signal's number if it was killed; 127 if it was not found and 126 if it
        could not be executed, with a sentence on stderr.
    """
    mention = Mention(line_end="\r\n" if os.isatty(2) else "\n")
    disclosure = disclosure or Disclosure()
    outer = OuterRun(os.environ.get(RUN_VARIABLE), reports=not isinstance(reporter, NullReporter))
    nested = NestedRuns()
    reader = ReaderThread(
        reporter,
        mention,
        redact=disclosure.redactor.text,
        with_text=disclosure.output,
        is_foreign=nested.wrote,
    )
    start = _start_of(command, name, disclosure)
    cancellation = cancellation or Cancellation()
    with nested, Signals() as signals:
        began = time.monotonic()
        try:
            child = _start(command, reader, signals)
        except CommandNotStarted as error:
            return _report_not_started(start, error, reader, reporter, disclosure.redactor)
        try:
            reader.start()
            reader.post(lambda: start.report(reporter, child.pid))
            child.start()
            signals.direct(child.send)
            cancellation.on_request(signals.notify)
            end = CommandEnd(signals.wait_for(lambda: _ended(child, cancellation), cancellation.due_in))
            duration_ms = round((time.monotonic() - began) * 1000)
            signals.wait_for(lambda: cancellation.is_complete(child) or None, cancellation.poll_in)
            # No process is left to signal; from here a signal ends the wait for the reader of our output.
            signals.direct(lambda _: child.abandon_output())
            child.end_output()
            signals.wait_for(lambda: child.drained or None)
        finally:
            child.close()
        stop = signals.stop or nested.last_stop()
        if stop is not None:
            signals.stop_asked(*stop)
        stopped = signals.explain(end.status)
        if stop is not None and stopped is not None:
            outer.record_stop(*stop)
        reader.finish(lambda tail: _report_end(reporter, end, cancellation, stopped, duration_ms, tail))
        return end.exit_code


def _ended(child: Child, cancellation: Cancellation) -> int | None:
    """Return the command's exit status if it has ended, else send it the signal that is due."""
    status = child.poll()
    if status is None:
        cancellation.send_due_signal(child)
    return status


def _start(command: Sequence[str], reader: ReaderThread, signals: Signals) -> Child:
    if sys.platform != "win32" and os.isatty(1):
        # This module cannot be imported where there are no pseudo-terminals.
        from tidings.cli.run.pty_child import TerminalChild

        child = TerminalChild(command, reader.offer, signals.stop_asked, signals.notify)
        signals.handle(signal.SIGWINCH, lambda *_: child.copy_size())
        signals.handle(signal.SIGCONT, lambda *_: child.resume())
        return child
    return PipedChild(command, reader.offer, signals.notify)


def _report_not_started(
    start: "_Start", error: CommandNotStarted, reader: ReaderThread, reporter: Reporter, redactor: Redactor
) -> int:
    write_remark(f"{error}. {error.hint}")
    reader.start()
    reader.post(lambda: start.report(reporter, os.getpid()))
    reader.finish(lambda _: reporter.failed(error.code, redactor.text(str(error)), "", error.hint))
    return error.exit_code


@dataclass(frozen=True, slots=True)
class _Start:
    """The start of a run, as it is reported."""

    name: str
    command: str

    def report(self, reporter: Reporter, pid: int) -> None:
        reporter.started(self.name, socket.gethostname(), pid, self.command, _user())


def _start_of(command: Sequence[str], name: str | None, disclosure: Disclosure) -> _Start:
    # Redacted before it is shortened: the first half of a secret may not look like one.
    program, *arguments = map(decode_argument, disclosure.redactor.command(command))
    short = PurePath(program).name or program
    if not disclosure.command:
        return _Start(name or short, "")
    return _Start(
        name or cut(shlex.join([short, *arguments]), MAX_LABEL), cut(shlex.join([program, *arguments]), _MAX_COMMAND)
    )


def _report_end(
    reporter: Reporter, end: CommandEnd, cancellation: Cancellation, stopped: str | None, duration_ms: int, tail: str
) -> None:
    request = cancellation.fulfilled
    if request is not None:
        # Even with exit code 0: a service that ends cleanly on SIGTERM has not completed a job.
        reporter.cancelled(cancellation.reason, request.cancelled_by)
    elif stopped is not None:
        reporter.cancelled(stopped)
    elif end.status == 0:
        reporter.completed(duration_ms)
    else:
        reporter.failed(end.code, end.sentence, tail, end.hint(has_output=bool(tail.strip())))


def _user() -> str:
    try:
        return decode_argument(getpass.getuser())
    except (KeyError, OSError):
        # A container may run under a user id without an entry in the user database.
        return "" if sys.platform == "win32" else str(os.getuid())
