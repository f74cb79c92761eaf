"""How a command says that it failed: two lines on stderr and an exit code, never a traceback."""

import sys

from tidings.exceptions import CommandRefused, ConfigError, ContractError, InvalidContract, TidingsError
from tidings.protocol.codes import error_data

FAILED = 1
USAGE = 2
"""What was written on the command line, in a variable, in the configuration or in a contract cannot be used."""
INTERRUPTED = 130
"""Ctrl-C, as shells count it: 128 + SIGINT."""


def exit_code(error: TidingsError) -> int:
    """Return the exit code for `error`."""
    return USAGE if isinstance(error, ConfigError | InvalidContract) else FAILED


def show_failure(error: TidingsError, *, prefix: str = "") -> None:
    """Write `error: …` and `hint: …` to stderr, with the code where a program sent what was refused."""
    data = error_data(error)
    code = error.refusal if isinstance(error, CommandRefused) else data.code
    told = f" ({code})" if isinstance(error, CommandRefused | ContractError) else ""
    write_lines(f"error: {prefix}{data.message}{told}", data.details, f"hint: {data.hint}" if data.hint else None)


def write_lines(*lines: str | None) -> None:
    """Write the lines that there are to stderr; nobody reading it is no error."""
    text = "".join(f"{line}\n" for line in lines if line)
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        return
