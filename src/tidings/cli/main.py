"""The entry point of the `tidings` script, which prints an install line if an extra is missing."""

import errno
import sys
from collections.abc import Mapping

from tidings.cli.errors import FAILED, INTERRUPTED, READER_GONE, USAGE, exit_code, path_hint, print_error, print_stderr
from tidings.cli.streams import OutputFailed, prepare_streams
from tidings.exceptions import MissingExtra, TidingsError
from tidings.version import __version__

_EXTRAS: Mapping[str, str] = {
    "platformdirs": "cli",
    "psutil": "cli",
    "rich": "cli",
    "typer": "cli",
    "cryptography": "hub",
    "httptools": "hub",
    "jwt": "hub",
    "prometheus_client": "hub",
    "starlette": "hub",
    "structlog": "hub",
    "uvicorn": "hub",
}
"""Import names of the libraries of pyproject.toml's extras, with their extra."""

_PATH_ERRORS = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS})
"""Errors of a path that a command was given: even to ask whether a file exists may raise them."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtra | None:
    """Return the error that names the extra to install; None if `error` is not about a library of an extra."""
    library = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(library)
    if extra is None:
        return None
    return MissingExtra(f"{library} is not installed", extra=extra)


def main() -> None:
    """Run the command line, and exit.

    An error becomes two lines on stderr and an exit code; docs/operations.md, "Exit codes", lists them. Ctrl-C is 130,
    except in `tidings serve`, where it is the normal end.
    """
    prepare_streams()
    try:
        try:
            code = _run()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else FAILED
        sys.stdout.flush()
    except OutputFailed as failure:
        code = READER_GONE if failure.reader_gone else FAILED
        if not failure.reader_gone:
            print_stderr(f"error: cannot write to stdout: {failure}", "hint: Free space, or write elsewhere.")
    except RuntimeError as error:
        if "start new thread" not in str(error):
            raise
        print_stderr("error: too many processes or threads", "hint: Raise the limit of the user, service or container.")
        sys.exit(FAILED)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            print_stderr("error: too many open files", "hint: Raise the limit, as with `ulimit -n 4096`.")
            sys.exit(FAILED)
        if error.errno in _PATH_ERRORS and error.filename:
            print_stderr(
                f"error: cannot use '{error.filename}': {error.strerror}", f"hint: {path_hint(str(error.filename))}"
            )
            sys.exit(USAGE)
        if error.errno not in (errno.ENOSPC, errno.EPIPE):
            raise
        code = READER_GONE if error.errno == errno.EPIPE else FAILED
        print_stderr(None if code == READER_GONE else f"error: cannot write: {error.strerror}")
    sys.exit(code)


def _run() -> int:
    """Run the command line, and return its exit code."""
    try:
        from tidings.cli.app import run_app

        return run_app()
    except TidingsError as error:
        print_error(error)
        return exit_code(error)
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        if sys.argv[1:] == ["--version"]:
            print(f"tidings {__version__}")  # noqa: T201 - without typer
            return 0
        print_error(missing)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
