"""A hub in a test does not write its log lines into the test's own output."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.typing import WrappedLogger

_lock = threading.Lock()
_blocks = 0


class _Mute:
    """A logger that writes nothing."""

    def msg(self, message: str) -> None:
        """Write nothing."""

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


def _mute_ours(*names: Any) -> WrappedLogger:
    if names and str(names[0]).startswith("tidings."):
        return _Mute()
    return structlog.PrintLogger()


@contextmanager
def silenced() -> Iterator[None]:
    """Keep the hub quiet for the length of a block, where nobody has said what becomes of structlog's log lines.

    An application that has configured structlog decides itself.
    """
    global _blocks
    with _lock:
        _blocks += 1
        if _blocks == 1 and not structlog.is_configured():
            structlog.configure(logger_factory=_mute_ours)
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if _blocks == 0 and structlog.get_config()["logger_factory"] is _mute_ours:
                structlog.reset_defaults()
