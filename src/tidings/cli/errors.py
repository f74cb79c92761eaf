"""How a command says that it failed: two lines on stderr and an exit code, never a traceback.

What the commands about operations say with their exit codes: one table, so that no code means two things.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

from tidings.exceptions import (
    CommandRefused,
    ConfigError,
    ContractError,
    HubUnreachable,
    InvalidContract,
    OperationUnknown,
    TidingsError,
)
from tidings.protocol.codes import error_data

FAILED = 1
USAGE = 2
"""What was written on the command line, in a variable, in the configuration or in a contract cannot be used."""
INTERRUPTED = 130
"""Ctrl-C, as shells count it: 128 + SIGINT."""


def exit_code(error: TidingsError) -> int:
    """Return the exit code for `error`."""
    return USAGE if isinstance(error, ConfigError | InvalidContract) else FAILED


def print_error(error: TidingsError, *, prefix: str = "") -> None:
    """Write `error: …` and `hint: …` to stderr, with the code where a program sent what was refused."""
    data = error_data(error)
    code = error.refusal if isinstance(error, CommandRefused) else data.code
    told = f" ({code})" if isinstance(error, CommandRefused | ContractError) else ""
    print_stderr(f"error: {prefix}{data.message}{told}", data.details, f"hint: {data.hint}" if data.hint else None)


def print_stderr(*lines: str | None) -> None:
    """Write the lines that there are to stderr; nobody reading it is no error."""
    text = "".join(f"{line}\n" for line in lines if line)
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        return


class ExitCode(IntEnum):
    """An exit code, beside 1 (another error), 2 (a wrong command line) and 130 (Ctrl-C)."""

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        """Make a member of a code and what it means."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    meaning: str

    SUCCESS = 0, "it is as you asked"
    FAILED = 3, "the operation failed"
    CANCELLED = 4, "the operation was cancelled"
    UNKNOWN_OPERATION = 5, "the hub knows no such operation"
    FINISHED_FIRST = 6, "the operation had ended before it could be cancelled"
    REFUSED = 7, "whoever runs the operation refuses to end it"
    PENDING = 8, "it is stopping, and has not ended in time"
    UNREACHABLE = 9, "nobody could be asked to end it"
    NO_HUB = 69, "no hub answers"
    CANCEL_REQUESTED = 75, "somebody wants the operation to end: stop, and say `tidings operation cancelled`"
    TIMED_OUT = 124, "the time was over first"


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Tell of an operation or a hub that is not there, and exit with its code.

    Raises:
        typer.Exit: With that code.
    """
    import typer  # `tidings.cli.main` reports a missing typer through this module

    try:
        yield
    except OperationUnknown as error:
        print_error(error)
        raise typer.Exit(ExitCode.UNKNOWN_OPERATION) from error
    except HubUnreachable as error:
        print_error(error)
        raise typer.Exit(ExitCode.NO_HUB) from error


def exit_codes_epilog(*codes: ExitCode) -> str:
    """Return what `--help` says about exit codes."""
    listed = "; ".join(f"{int(code)}: {code.meaning}" for code in codes)
    return f"Exit codes: {listed}."
