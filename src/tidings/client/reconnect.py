"""When to come back: full jitter over a growing window, and never before the hub said."""

from collections.abc import Callable

from msgspec import Struct


class Reconnect(Struct, frozen=True, kw_only=True):
    """How soon a lost connection is tried again."""

    base_s: float = 0.5
    """The first window. Drawing from all of it spreads a crowd that lost its hub at one moment."""
    cap_s: float = 15.0
    """The widest window: a person who watches the hub come back waits no longer."""
    settled_s: float = 10.0
    """A connection that lasted so long begins anew at `base_s`: one that is accepted and dropped again at once, over
    and over, must not."""


class Backoff:
    """The waits of one link.

    Args:
        policy: How long they are.
        random: Returns a number from 0 up to, not including, 1.
    """

    def __init__(self, policy: Reconnect, random: Callable[[], float]) -> None:
        self._policy = policy
        self._random = random
        self._window_s = policy.base_s

    def next_delay(self, *, lasted_s: float = 0.0, retry_after_s: float = 0.0) -> float:
        """Return how many seconds to wait before the next connection.

        Args:
            lasted_s: How long the connection lived that has ended; 0 for one that never came to be.
            retry_after_s: What the hub asked for in `connection:closed`; the jitter comes on top of it, so that those
                who were told the same do not come at the same moment.
        """
        policy = self._policy
        if lasted_s >= policy.settled_s:
            self._window_s = policy.base_s
        window_s = min(self._window_s, policy.cap_s)
        self._window_s = min(window_s * 2, policy.cap_s)
        return retry_after_s + self._random() * window_s
