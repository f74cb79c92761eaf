"""The entry point of the `tidings` script, which answers even where an extra is missing.

Which extra a library that is not installed belongs to.
"""

import sys
from collections.abc import Mapping

from tidings.cli.errors import FAILED, INTERRUPTED, exit_code, print_error
from tidings.exceptions import MissingExtra, TidingsError

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
"""The libraries of pyproject.toml's extras, by the name they are imported by."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """Return what to tell of `error`; None where the module that was not found is no library of ours."""
    library = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(library)
    if extra is None:
        return None
    return MissingExtra(f"this needs {library}, which is not installed", extra=extra)


def main() -> None:
    """Run the command line, and exit.

    Whatever we raise on purpose becomes two lines and an exit code: 1, or 2 where the command line itself cannot be
    used. Ctrl-C is 130, except in `tidings serve`, whose ordinary end it is.
    """
    try:
        from tidings.cli.app import app

        app()
    except TidingsError as error:
        print_error(error)
        sys.exit(exit_code(error))
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        print_error(missing)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
