"""Diagnostics on stderr and in the logger `tidings`: brief, marked with a prefix, and harmless to the job.

An error in reporting is logged once and swallowed.
"""

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import ParamSpec, TypeVar

from tidings.client.url import authority
from tidings.exceptions import ConfigError, HandshakeRefused, HubUnreachable, NotAHub, OperationCancelled, TidingsError
from tidings.printable import escape_unprintable
from tidings.producer.sanitize import class_name, read, text
from tidings.protocol.codes import error_data

P = ParamSpec("P")
R = TypeVar("R")

QUIET_VARIABLE = "TIDINGS_QUIET"
"""Environment variable that silences the lines on stderr, unless it is 0; the logger `tidings` still gets them."""
_MIN_ANNOUNCEMENT_INTERVAL_S = 1.0
"""Shortest time between two announcements, in seconds: a loop of a thousand operations must not fill a screen."""

logger = logging.getLogger("tidings")


def is_quiet() -> bool:
    """Return whether the environment silences the lines on stderr."""
    return os.environ.get(QUIET_VARIABLE, "0") not in ("", "0")


def write_line(line: str) -> None:
    """Write `tidings: line` to stderr, unless TIDINGS_QUIET is set. A closed or full stderr is ignored."""
    if is_quiet():
        return

    def write() -> None:
        sys.stderr.write(f"tidings: {escape_unprintable(line)}\n")
        sys.stderr.flush()

    read(write, None)  # there is no other place to report to


class Diagnostics:
    """Writes diagnostics, each kind once."""

    def __init__(self) -> None:
        self._reported: set[str] = set()
        self._spools = True
        """Whether events can be kept on disk, as far as is known."""
        self._announced_at_s = -_MIN_ANNOUNCEMENT_INTERVAL_S

    def announce(self, name: str, trace_id: str, url: str) -> None:
        """Write where to watch an operation, its trace id and hub, if stderr is a terminal."""
        now_s = time.monotonic()
        if now_s - self._announced_at_s < _MIN_ANNOUNCEMENT_INTERVAL_S or not _is_terminal():
            return
        self._announced_at_s = now_s
        write_line(f"{name} · trace {trace_id} · {url}")

    def report_error(self, error: TidingsError, url: str) -> None:
        """Report that events do not reach the hub, once for each kind of error."""
        away = _is_away(error)
        self._spools = self._spools and not is_about_spool(error)
        if not self._is_first("away" if away else getattr(error, "refusal", error.code)):
            return
        logger.info("%s: %s", url, error)
        if away:
            fate = "kept and sent later" if self._spools else "sent if it answers before the job ends"
            write_line(f"no hub answers at {authority(url)}; the job continues, events are {fate}")
        else:
            hint = error_data(error).hint or ""
            write_line(f"{authority(url)}: {error}. The job continues. {hint}".rstrip())

    def report_misconfiguration(self, error: TidingsError) -> None:
        """Report that the settings name no usable hub, once for each error."""
        if self._is_first(f"misconfigured {error}"):
            logger.info("nothing is reported: %s", error)
            write_line(f"nothing is reported: {error}. The job continues. {error.hint}".rstrip())

    def report_inherited(self, name: str) -> None:
        """Report, once, that a forked process reports on an operation of its parent process."""
        if self._is_first("inherited"):
            note = f"{name} runs in another process, and reports on it from this one are not sent"
            logger.info("%s", note)
            write_line(f"{note}. Pass op.id to this process, and use tidings.operation(…, parent=id) here.")

    def log_fault(self, what: str, error: BaseException) -> None:
        """Log an error in reporting itself: as a warning the first time, as a debug record after that."""
        first = self._is_first(f"{what} {class_name(error)}")
        level = logging.WARNING if first else logging.DEBUG

        def log() -> None:
            if logger.isEnabledFor(level):
                # A traceback that cannot be formatted would fail in the handlers of the job.
                formatted = read(lambda: traceback.format_exception(error), None)
                logger.log(level, "%s failed: %s", what, text(error), exc_info=error if formatted else None)

        read(log, None)  # a handler or filter of the job may raise, too

    def _is_first(self, kind: str) -> bool:
        if kind in self._reported:
            return False
        self._reported.add(kind)
        return True


def is_about_spool(error: TidingsError) -> bool:
    """Return whether events cannot be kept on disk, which keeps none from a hub that answers."""
    return isinstance(error, ConfigError) and error.option == "spool"


def _is_away(error: TidingsError) -> bool:
    if isinstance(error, HandshakeRefused):
        return error.status >= 500  # a proxy in front of a hub that is down
    return isinstance(error, HubUnreachable) and not isinstance(error, NotAHub)


def _is_terminal() -> bool:
    return read(lambda: bool(sys.stderr.isatty()), False)


DIAGNOSTICS = Diagnostics()
"""Diagnostics of this process."""


def call_hook(what: str, hook: Callable[P, R], *arguments: P.args, **options: P.kwargs) -> R | None:
    """Call a function of the job, and return its result; log an error of it under `what`, and return None.

    In the main thread, SystemExit and the like pass: the handler of a signal may have raised them. On other threads,
    which are those of tidings, they would end the reporting.
    """
    try:
        return hook(*arguments, **options)
    except BaseException as error:
        if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
            raise
        DIAGNOSTICS.log_fault(what, error)
        return None


def log_errors(report: Callable[P, None]) -> Callable[P, None]:
    """Decorate `report` so that its errors are logged once and swallowed, and never reach the job.

    OperationCancelled passes: it is meant for the job.
    """

    @wraps(report)
    def guarded(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            report(*arguments, **options)
        except OperationCancelled:
            raise
        except Exception as error:
            # At the limit of recursion or memory, not even this line may work.
            with suppress(Exception):
                DIAGNOSTICS.log_fault(f"reporting ({report.__qualname__})", error)

    return guarded
