"""The receiver of one run's events, and remarks on stderr."""

import os
from collections.abc import Callable
from typing import Any, Protocol

from tidings.printable import escape_unprintable
from tidings.producer.diagnostics import is_quiet


class Reporter(Protocol):
    """Receiver of one run's events.

    Calls come from one thread, in the order `started`, any number of `progress`, then exactly one of `completed`,
    `failed` and `cancelled`. No call may block: a reporter queues what the network has to wait for. The child is
    started before the first call, so a reporter that needs a thread starts it in `started`: a process that has only one
    thread forks safely.
    """

    def started(self, name: str, host: str, pid: int, command: str, user: str, total_steps: int | None = None) -> None:
        """Report that the command has started.

        Args:
            name: Short name for the operation.
            host: Host name of this machine.
            pid: Process id of the command, or of this process if the command could not be started.
            command: The command line, redacted and quoted as a shell would need it; may be empty.
            user: User that the command runs as.
            total_steps: Number of steps, if known beforehand.
        """

    def progress(self, percent: float | None, current_step: str, total_steps: int, message: str) -> None:
        """Report the command's progress.

        Args:
            percent: Percentage of the whole run, 0 to 100; it never falls. None if unknown.
            current_step: Name of the current step, empty if unknown.
            total_steps: Number of steps, 0 if unknown.
            message: The last line of output.
        """

    def completed(self, duration_ms: int) -> None:
        """Report that the command ended with exit code 0."""

    def failed(self, code: str, message: str, details: str, hint: str) -> None:
        """Report that the command failed or could not be started.

        Args:
            code: `exit_<n>`, `signal_<NAME>`, `command_not_found` or `command_not_executable`.
            message: One sentence with the exit code or the signal.
            details: The last lines of output.
            hint: What to do about it.
        """

    def cancelled(self, reason: str, cancelled_by: str = "") -> None:
        """Report that the command ended because of a cancel request or a signal.

        Args:
            reason: Why, in words.
            cancelled_by: Requesting user, if known.
        """


class NullReporter:
    """Reports nothing: reporting is switched off, or the hub's URL is invalid."""

    def _ignore(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    started = progress = completed = failed = cancelled = close = _ignore


class Mention:
    r"""Writes one remark to stderr, however often its cause recurs.

    Args:
        file: Descriptor to write to.
        line_end: `\r\n` while the terminal is in raw mode.
    """

    def __init__(self, file: int = 2, line_end: str = "\n") -> None:
        self._file = file
        self._line_end = line_end
        self._made = False

    def __call__(self, text: str) -> None:
        """Write `tidings: text` on a line of its own, unless a remark was written before."""
        if self._made:
            return
        self._made = True
        write_remark(text, self._file, self._line_end)


def write_remark(text: str, file: int = 2, line_end: str = "\n") -> None:
    """Write one line to stderr, prefixed with `tidings: `, unless TIDINGS_QUIET is set; ignore a closed stderr."""
    if is_quiet():
        return
    try:
        os.write(file, f"tidings: {escape_unprintable(text)}{line_end}".encode(errors="replace"))
    except OSError:
        return


def guarded(call: Callable[[], None], mention: Callable[[str], None]) -> None:
    """Call a reporter; mention and swallow its exceptions, because the command matters more."""
    try:
        call()
    except Exception as error:
        reason = str(error) or type(error).__name__
        mention(f"this run is no longer reported: {reason}. The command goes on.")
