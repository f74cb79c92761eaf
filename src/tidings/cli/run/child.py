"""Starts commands, signals them, and explains their exit status."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Protocol

NOT_FOUND = 127
NOT_EXECUTABLE = 126
_SIGNAL_BASE = 128


class CommandNotStarted(Exception):
    """The command could not be started.

    Args:
        exit_code: 127 or 126, as shells use them.
        code: Code for the report.
        reason: What is wrong, in words.
        hint: What to do.
    """

    def __init__(self, exit_code: int, code: str, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.exit_code = exit_code
        self.code = code
        self.reason = reason
        self.hint = hint

    def __str__(self) -> str:
        return self.reason


class Child(Protocol):
    """A running command."""

    @property
    def pid(self) -> int:
        """Process id of the command."""

    def start(self) -> None:
        """Start to pass output on."""

    def poll(self) -> int | None:
        """Return the exit status if the command has ended: the code, or minus the signal that killed it."""

    def send(self, number: int) -> None:
        """Pass a signal on, as if it had been sent to the command alone."""

    def end(self, number: int) -> bool:
        """Send a signal to the command and its descendants, 0 to check only; return whether any is left."""

    def end_output(self) -> None:
        """End the copying of output soon; call it after the end of the command."""

    @property
    def drained(self) -> bool:
        """Whether all output has been passed on."""

    def abandon_output(self) -> None:
        """Count the output as passed on."""

    def close(self) -> None:
        """Release everything held for the command and restore the terminal."""


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """The end of a command."""

    status: int
    """Exit code, or minus the number of the signal that killed it."""

    @property
    def exit_code(self) -> int:
        """The code a shell would give: 128 + the signal's number for a killed command."""
        return self.status if self.status >= 0 else _SIGNAL_BASE - self.status

    @property
    def sentence(self) -> str:
        """The end in one sentence."""
        if self.status < 0:
            return f"The command was killed by {signal_name(-self.status)}."
        return f"The command ended with exit code {self.status}."

    @property
    def code(self) -> str:
        """Code for the report of a failure: `exit_3`, `signal_SIGKILL`."""
        return f"signal_{signal_name(-self.status)}".replace(" ", "_") if self.status < 0 else f"exit_{self.status}"

    def hint(self, *, has_output: bool) -> str:
        """Return advice for a failure; empty if there is none.

        Args:
            has_output: Whether the details contain output.
        """
        if -self.status == getattr(signal, "SIGKILL", None):
            return "If you did not kill it, the machine may have run out of memory: look for 'oom' in the kernel log."
        if -self.status == getattr(signal, "SIGPIPE", None):
            return "The reader of its output exited before the command did."
        return "See the last lines of its output in the details." if has_output else ""


def signal_name(number: int) -> str:
    """Return the name of a signal, such as `SIGTERM`; `signal 40` if it has none."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def spawn(
    command: Sequence[str],
    *,
    stdin: int | None,
    stdout: int,
    stderr: int,
    env: Mapping[str, str] | None = None,
    process_group: int | None = None,
    new_session: bool = False,
    preexec: Callable[[], None] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a command as `execvp` does: look it up on PATH, and let the shell run a script without `#!`.

    Raises:
        CommandNotStarted: It does not exist or cannot be executed.
    """

    def start(arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            arguments,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            process_group=process_group,
            start_new_session=new_session,
            preexec_fn=preexec,
        )

    try:
        return start(command)
    except OSError as error:
        script = shutil.which(command[0])
        if error.errno == errno.ENOEXEC and script is not None and os.name == "posix":
            return start(["/bin/sh", script, *command[1:]])
        raise _not_started(command[0], error) from error
    except ValueError as error:
        # A NUL character in an argument.
        hint = "Remove the NUL character from its arguments."
        raise CommandNotStarted(NOT_EXECUTABLE, "command_not_executable", f"{command[0]!r}: {error}", hint) from error


def _not_started(program: str, error: OSError) -> CommandNotStarted:
    if isinstance(error, FileNotFoundError):
        if shutil.which(program) is not None:
            reason = f"{program}: the interpreter named in its first line does not exist"
            hint = "Correct the line that begins with #!, or install that interpreter."
            return CommandNotStarted(NOT_EXECUTABLE, "command_not_executable", reason, hint)
        if os.sep in program:
            hint = "Check the path; a relative path starts at the current folder."
            return CommandNotStarted(NOT_FOUND, "command_not_found", f"{program}: no such file", hint)
        hint = "Check its spelling, and that its folder is on PATH; a shell's builtins and aliases need `sh -c '…'`."
        return CommandNotStarted(NOT_FOUND, "command_not_found", f"{program}: command not found", hint)
    reason = f"{program}: {(error.strerror or str(error)).lower()}"
    hint = "Check that it is a program and that you may execute it (chmod +x)."
    return CommandNotStarted(NOT_EXECUTABLE, "command_not_executable", reason, hint)


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group, 0 to check only; return whether any of it is left."""
    if sys.platform == "win32":
        return False
    try:
        os.killpg(group, number)
        if number in (signal.SIGTERM, signal.SIGHUP):
            # A stopped process handles the signal only after it continues.
            os.killpg(group, signal.SIGCONT)
    except ProcessLookupError:
        return False
    except PermissionError:
        # macOS raises it for zombies; elsewhere the processes belong to another user.
        return sys.platform != "darwin"
    return True


def descriptor(stream: IO[bytes] | None) -> int:
    """Return a duplicate descriptor of a child's stream, which the caller closes."""
    if stream is None:
        raise ValueError("the stream was not opened as a pipe")
    file = os.dup(stream.fileno())
    stream.close()
    return file
