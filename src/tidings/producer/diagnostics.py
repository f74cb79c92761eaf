"""What tidings says on stderr: little, marked as its own, and never in the job's way.

Reporting must not hurt the job: what goes wrong in it is noted once, and goes no further.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from tidings.client.url import authority
from tidings.exceptions import HandshakeRefused, HubUnreachable, NotAHub, OperationCancelled, TidingsError
from tidings.protocol.codes import error_data

VARIABLE = "TIDINGS_QUIET"
"""Set to anything but 0, it silences these lines; the logger `tidings` still gets them."""
_BETWEEN_STARTS_S = 1.0
"""Between two lines about starts: a loop of a thousand operations must not fill a screen."""

logger = logging.getLogger("tidings")


def warn_once(line: str) -> None:
    """Write `tidings: line` to stderr, unless TIDINGS_QUIET is set; a stderr that is closed or full is no error."""
    if os.environ.get(VARIABLE, "0") not in ("", "0"):
        return
    try:
        sys.stderr.write(f"tidings: {line}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError, UnicodeError):
        return  # nobody is left to tell


class Diagnostics:
    """What was said so far, so that nothing is said twice."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._started_at = -_BETWEEN_STARTS_S

    def started(self, name: str, trace_id: str, url: str) -> None:
        """Show a person at a terminal where to look: the operation's trace id, and its hub."""
        now = time.monotonic()
        if now - self._started_at < _BETWEEN_STARTS_S or not _at_terminal():
            return
        self._started_at = now
        warn_once(f"{name} · trace {trace_id} · {url}")

    def trouble(self, error: TidingsError, url: str) -> None:
        """Say that events do not get through, once for each kind of trouble."""
        away = _is_away(error)
        if not self._first("away" if away else getattr(error, "refusal", error.code)):
            return
        logger.info("%s: %s", url, error)
        if away:
            warn_once(f"no hub answers at {authority(url)}; the job goes on, events are kept and sent later")
        else:
            hint = error_data(error).hint or ""
            warn_once(f"{authority(url)}: {error}. The job goes on. {hint}".rstrip())

    def misconfigured(self, error: TidingsError) -> None:
        """Say that there is nowhere to report to."""
        if self._first(f"misconfigured {error}"):
            logger.info("nothing is reported: %s", error)
            warn_once(f"nothing is reported: {error}. The job goes on. {error.hint}".rstrip())

    def fault(self, what: str, error: BaseException) -> None:
        """Note that reporting itself failed, which the job must not feel; once for each kind of error."""
        first = self._first(f"{what} {type(error).__name__}")
        logger.log(logging.WARNING if first else logging.DEBUG, "%s failed: %s", what, error, exc_info=error)

    def _first(self, kind: str) -> bool:
        if kind in self._said:
            return False
        self._said.add(kind)
        return True


def _is_away(error: TidingsError) -> bool:
    if isinstance(error, HandshakeRefused):
        return error.status >= 500  # a proxy before a hub that is down
    return isinstance(error, HubUnreachable) and not isinstance(error, NotAHub)


def _at_terminal() -> bool:
    try:
        return sys.stderr.isatty()
    except (OSError, ValueError, AttributeError):
        return False


P = ParamSpec("P")

DIAGNOSTICS = Diagnostics()
"""This process's."""


def log_errors(report: Callable[P, None]) -> Callable[P, None]:
    """Return `report` so that of its exceptions only OperationCancelled reaches the job, which is meant for it."""

    @wraps(report)
    def guarded(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            report(*arguments, **options)
        except OperationCancelled:
            raise
        except Exception as error:
            DIAGNOSTICS.fault(f"reporting ({report.__qualname__})", error)

    return guarded
