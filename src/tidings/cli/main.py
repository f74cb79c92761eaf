"""The entry point of the `tidings` script, which answers even where an extra is missing."""

import sys

from tidings.cli.extras import missing_extra
from tidings.cli.failure import FAILED, INTERRUPTED, exit_code, show_failure
from tidings.exceptions import TidingsError


def main() -> None:
    """Run the command line, and exit.

    Whatever we raise on purpose becomes two lines and an exit code: 1, or 2 where the command line itself cannot be
    used. Ctrl-C is 130, except in `tidings serve`, whose ordinary end it is.
    """
    try:
        from tidings.cli.app import app

        app()
    except TidingsError as error:
        show_failure(error)
        sys.exit(exit_code(error))
    except ModuleNotFoundError as error:
        missing = missing_extra(error)
        if missing is None:
            raise
        show_failure(missing)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
