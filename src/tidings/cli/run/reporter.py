"""What a run tells of itself, and to whom."""

import os
from collections.abc import Callable
from typing import Protocol


class Reporter(Protocol):
    """Receiver of what happens in one run.

    Calls come from one thread, in the order `started`, any number of `progress`, then exactly one of `completed`,
    `failed` and `cancelled`. None may block: whatever has to wait for the network is queued behind it. The child is
    started before the first call, so a reporter that needs a thread starts it in `started`: a process that has only one
    thread forks safely.
    """

    def started(self, name: str, host: str, pid: int, command: str, user: str, total_steps: int | None = None) -> None:
        """Note that the command has begun.

        Args:
            name: Short name for the operation.
            host: Name of this machine.
            pid: Process id of the command; of this process where the command could not be started.
            command: The command line, quoted as a shell would need it.
            user: Name of the user it runs as.
            total_steps: Number of steps, where that is known beforehand.
        """

    def progress(self, percent: float | None, current_step: str, total_steps: int, message: str) -> None:
        """Note how far the command is.

        Args:
            percent: 0-100, of the whole run; it never falls. None where nobody knows how much is left.
            current_step: Name of the step, empty if there is none.
            total_steps: Number of steps, 0 if unknown.
            message: The last line of output.
        """

    def completed(self, duration_ms: int) -> None:
        """Note that the command ended with exit code 0."""

    def failed(self, code: str, message: str, details: str, hint: str) -> None:
        """Note that the command failed or could not be started.

        Args:
            code: `exit_<n>`, `signal_<NAME>`, `command_not_found` or `command_not_executable`.
            message: One sentence with the exit code or signal.
            details: The last lines of output.
            hint: What to do about it.
        """

    def cancelled(self, reason: str, cancelled_by: str = "") -> None:
        """Note that the command ended because it was told to.

        Args:
            reason: Why, in words.
            cancelled_by: Who wanted it, where that is known.
        """


class Mention:
    r"""A remark on stderr that is made once, however often its cause recurs.

    Args:
        file: Descriptor to write to.
        line_end: `\r\n` while the terminal is in raw mode.
    """

    def __init__(self, file: int = 2, line_end: str = "\n") -> None:
        self._file = file
        self._line_end = line_end
        self._made = False

    def __call__(self, text: str) -> None:
        """Write `tidings: text` on a line of its own, unless something was written before."""
        if self._made:
            return
        self._made = True
        write_remark(text, self._file, self._line_end)


def write_remark(text: str, file: int = 2, line_end: str = "\n") -> None:
    """Write one line of our own, marked as ours, to stderr; a closed stderr is no error."""
    try:
        os.write(file, f"tidings: {text}{line_end}".encode(errors="replace"))
    except OSError:
        # Nobody is left to tell, and the command goes on.
        return


def guarded(call: Callable[[], None], mention: Callable[[str], None]) -> None:
    """Call a reporter; an exception in it is mentioned and goes no further, because the command matters more."""
    try:
        call()
    except Exception as error:
        reason = str(error) or type(error).__name__
        mention(f"this run is not reported any more: {reason}. The command goes on.")
