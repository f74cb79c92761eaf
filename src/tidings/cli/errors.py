"""Errors and exit codes of the command line.

An error is two lines on stderr and an exit code, never a traceback. The exit codes of the commands about operations are
one table, so that no code has two meanings.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from tidings.exceptions import (
    AccessError,
    CommandRefused,
    ConfigError,
    ContractError,
    Forbidden,
    HubUnreachable,
    InvalidContract,
    LogForeign,
    OperationUnknown,
    ReservedName,
    SignedOut,
    TidingsError,
    TokenUnavailable,
    Unauthenticated,
)
from tidings.printable import escape_lines
from tidings.protocol.codes import CODES, error_data, row_of

FAILED = 1
"""Exit code of any other error."""
USAGE = 2
"""Exit code of an invalid command line, variable, configuration or contract."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it: 128 + SIGINT."""
READER_GONE = 141
"""Exit code when the reader of our output has exited, as shells count it: 128 + SIGPIPE."""


class ExitCode(IntEnum):
    """An exit code, beside 1 (another error), 2 (an invalid command line) and 130 (Ctrl-C)."""

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        """Make a member of a code and its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    meaning: str

    SUCCESS = 0, "success"
    FAILED = 3, "the operation failed"
    CANCELLED = 4, "the operation was cancelled"
    UNKNOWN_OPERATION = 5, "the hub has no such operation"
    FINISHED_FIRST = 6, "the operation ended before it could be cancelled"
    REFUSED = 7, "the producer refuses to cancel the operation"
    PENDING = 8, "the operation is stopping, but did not end in time"
    UNREACHABLE = 9, "no producer to ask"
    NO_HUB = 69, "no hub answers"
    CANCEL_REQUESTED = 75, "cancellation requested: stop, then run `tidings report cancelled`"
    NOT_ALLOWED = 77, "not signed in, or not allowed"
    TIMED_OUT = 124, "timed out"


_ARGUMENT_CODES = frozenset({"invalid_parameter", "invalid_path", "invalid_position", "unknown_channel"})
"""Codes with which a hub rejects the value of an option or a path, and nothing that is read from a file or a pipe."""


_NO_TOKEN_HINT = "Set TIDINGS_TOKEN, pass --token-file FILE, or run `tidings login`."


def exit_code(error: TidingsError) -> int:
    """Return the exit code for `error`."""
    code = error.refusal if isinstance(error, CommandRefused) else error.code
    if is_about_access(error):
        return ExitCode.NOT_ALLOWED
    if isinstance(error, HubUnreachable):
        return ExitCode.NO_HUB
    if isinstance(error.__cause__, PermissionError):
        return USAGE  # as for a path that does not exist: another must be named, or opened to this user
    return USAGE if isinstance(error, ConfigError | InvalidContract) or code in _ARGUMENT_CODES else FAILED


def is_about_access(error: TidingsError) -> bool:
    """Return whether the hub does not let this user in, or do something, until a person changes that."""
    if isinstance(error, CommandRefused):
        row = CODES.get(error.refusal)
        return row is not None and issubclass(row.exception, AccessError) and not row.recoverable
    return isinstance(error, SignedOut) or (isinstance(error, AccessError) and not row_of(error).recoverable)


def is_about_token(error: TidingsError) -> bool:
    """Return whether the hub refuses the token, and not what was sent: with another one the same may be accepted."""
    if isinstance(error, AccessError):
        return not isinstance(error, Forbidden | ReservedName)
    return isinstance(error, SignedOut | TokenUnavailable)


def path_hint(path: str | Path) -> str:
    """Return the hint for a path that cannot be used; it names the folder that is closed to this user, if one is."""
    try:
        for folder in reversed(Path(path).expanduser().absolute().parents):
            if folder.is_dir() and not os.access(folder, os.X_OK):
                return f"You may not open the folder {folder}, which belongs to {folder.owner()}. Name another path."
    except (KeyError, OSError, RuntimeError, NotImplementedError):  # an owner without a name; no working directory
        pass
    return "Check the path, and who may use it."


def _is_lost(error: TidingsError) -> bool:
    """Return whether a path was not found because the working directory of this process has been deleted."""
    if not isinstance(error, LogForeign) and not isinstance(error.__cause__, FileNotFoundError):
        return False
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def exit_codes_epilog(*codes: ExitCode, failed: str = "another error") -> str:
    """Return the line of `--help` that lists the exit codes of a command: `codes`, and those of every command.

    Args:
        codes: Codes of this command besides 0, 1 and 2.
        failed: Meaning of 1.
    """
    meanings = {0: "success", FAILED: failed, USAGE: "an invalid command line"}
    meanings |= {int(code): code.meaning for code in codes}
    if ExitCode.NO_HUB in codes:  # of a command that connects to a hub
        meanings[int(ExitCode.NOT_ALLOWED)] = ExitCode.NOT_ALLOWED.meaning
    return f"Exit codes: {'; '.join(f'{code}: {meanings[code]}' for code in sorted(meanings))}."


def print_error(error: TidingsError, *, prefix: str = "") -> None:
    """Write `error: …` and `hint: …` to stderr, with the code if a program sent what was refused."""
    data = error_data(error)
    code = error.refusal if isinstance(error, CommandRefused) else data.code
    suffix = f" ({code})" if isinstance(error, CommandRefused | ContractError | AccessError) else ""
    # The hub names its headers and messages; a person at a terminal has variables and a command.
    hint = _NO_TOKEN_HINT if code == Unauthenticated.code else data.hint
    if _is_lost(error):
        hint = "The working directory was deleted: change to another with `cd`, or name a path from the root."
    print_stderr(f"error: {prefix}{data.message}{suffix}", data.details, f"hint: {hint}" if hint else None)


def print_stderr(*lines: str | None) -> None:
    """Write lines to stderr, without those that are empty or None; a closed stderr is not an error.

    The lines may hold text of whatever answers at the hub's address: unprintable characters are escaped.
    """
    text = "".join(f"{escape_lines(line)}\n" for line in lines if line)
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        return


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Print the error of an unknown operation or an unreachable hub, and exit with its code.

    Raises:
        typer.Exit: With that code.
    """
    import typer  # `tidings.cli.main` reports a missing typer through this module

    try:
        yield
    except OperationUnknown as error:
        # The hub names its HTTP route; a person at a terminal has a command.
        error.hint = error.hint.replace("`GET /v1/operations`", "`tidings ls`")
        print_error(error)
        raise typer.Exit(ExitCode.UNKNOWN_OPERATION) from error
    except HubUnreachable as error:
        print_error(error)
        raise typer.Exit(ExitCode.NO_HUB) from error
