"""The entry point of the `tidings` script, which prints an install line if an extra is missing."""

import sys
from collections.abc import Mapping

from tidings.cli.errors import FAILED, INTERRUPTED, exit_code, print_error
from tidings.exceptions import MissingExtra, TidingsError
from tidings.version import __version__

_EXTRAS: Mapping[str, str] = {
    "platformdirs": "cli",
    "psutil": "cli",
    "rich": "cli",
    "typer": "cli",
    "httptools": "hub",
    "prometheus_client": "hub",
    "starlette": "hub",
    "structlog": "hub",
    "uvicorn": "hub",
}
"""Import names of the libraries of pyproject.toml's extras, with their extra."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """Return the error that names the extra to install; None if `error` is not about a library of an extra."""
    library = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(library)
    if extra is None:
        return None
    return MissingExtra(f"{library} is not installed", extra=extra)


def main() -> None:
    """Run the command line, and exit.

    An error becomes two lines on stderr and an exit code: 2 if the command line is invalid, else 1. Ctrl-C is 130,
    except in `tidings serve`, where it is the normal end.
    """
    try:
        from tidings.cli.app import run_app

        sys.exit(run_app())
    except TidingsError as error:
        print_error(error)
        sys.exit(exit_code(error))
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        if sys.argv[1:] == ["--version"]:
            print(f"tidings {__version__}")  # noqa: T201 - without typer
            return
        print_error(missing)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
