"""What keeps events from the log: told once for each kind, however often it recurs."""

import logging
from collections.abc import Callable

from tidings.exceptions import CommandRefused, TidingsError

logger = logging.getLogger(__name__)


class Troubles:
    """Tells whoever wants to know of each kind of trouble once; never raises, and may be called by any thread.

    Args:
        tell: Called with the first error of each code.
    """

    def __init__(self, tell: Callable[[TidingsError], None] | None) -> None:
        self._tell = tell
        # Without a lock, which a forked child might inherit locked: `setdefault` is atomic.
        self._told: dict[str, TidingsError] = {}

    def __call__(self, error: TidingsError) -> None:
        """Tell of `error`, unless one of its kind was told of before."""
        code = error.refusal if isinstance(error, CommandRefused) else error.code
        if self._told.setdefault(code, error) is not error or self._tell is None:
            return
        try:
            self._tell(error)
        except Exception:
            logger.exception("an on_trouble callback failed")
