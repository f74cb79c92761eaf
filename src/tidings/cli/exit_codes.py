"""What the commands about operations say with their exit codes: one table, so that no code means two things."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from tidings.cli.failure import show_failure
from tidings.exceptions import HubUnreachable, OperationUnknown


class ExitCode(IntEnum):
    """An exit code, beside 1 (another error), 2 (a wrong command line) and 130 (Ctrl-C)."""

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        """Make a member of a code and what it means."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    meaning: str

    WELL = 0, "it is as you asked"
    FAILED = 3, "the operation failed"
    CANCELLED = 4, "the operation was cancelled"
    NEVER_EXISTED = 5, "the hub knows no such operation"
    FINISHED_FIRST = 6, "the operation had ended before it could be cancelled"
    REFUSED = 7, "whoever runs the operation refuses to end it"
    PENDING = 8, "it is stopping, and has not ended in time"
    UNREACHABLE = 9, "nobody could be asked to end it"
    NO_HUB = 69, "no hub answers"
    CANCEL_WANTED = 75, "somebody wants the operation to end: stop, and say `tidings operation cancelled`"
    TIMED_OUT = 124, "the time was over first"


@contextmanager
def telling_errors() -> Iterator[None]:
    """Tell of an operation or a hub that is not there, and exit with its code.

    Raises:
        typer.Exit: With that code.
    """
    try:
        yield
    except OperationUnknown as error:
        show_failure(error)
        raise typer.Exit(ExitCode.NEVER_EXISTED) from error
    except HubUnreachable as error:
        show_failure(error)
        raise typer.Exit(ExitCode.NO_HUB) from error


def epilog(*codes: ExitCode) -> str:
    """Return what `--help` says about exit codes."""
    listed = "; ".join(f"{int(code)}: {code.meaning}" for code in codes)
    return f"Exit codes: {listed}."
