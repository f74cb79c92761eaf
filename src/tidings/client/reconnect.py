"""Reconnect backoff: exponential with full jitter, honouring the hub's `retry_after_ms`."""

from collections.abc import Callable

import msgspec
from msgspec import Struct


class Reconnect(Struct, frozen=True, kw_only=True):
    """Policy for the delay before reconnecting."""

    base_s: float = 0.5
    """First window, in seconds. Drawing from all of it spreads clients that lost their hub at the same moment."""
    cap_s: float = 15.0
    """Widest window, in seconds: the longest that a person who restarts the hub waits."""
    settled_s: float = 10.0
    """Seconds that a connection must last to reset the window to `base_s`; one that is accepted and immediately
    dropped, over and over, must not reset it."""


class Backoff:
    """The delays of one link.

    Args:
        policy: Their bounds.
        random: Returns a number from 0 up to, not including, 1.
    """

    def __init__(self, policy: Reconnect, random: Callable[[], float]) -> None:
        self._policy = policy
        self._random = random
        self._window_s = policy.base_s

    def stay_short(self) -> None:
        """Wait no longer than the first window from now on, because the process is about to end."""
        self._policy = msgspec.structs.replace(self._policy, cap_s=min(self._policy.base_s, self._policy.cap_s))

    def next_delay(self, *, lasted_s: float = 0.0, retry_after_s: float = 0.0) -> float:
        """Return how many seconds to wait before the next connection.

        Args:
            lasted_s: Duration of the connection that has ended; 0 if none was established.
            retry_after_s: Delay requested by the hub in `connection:closed`. The jitter is added to it, so that clients
                with the same request do not return at the same moment.
        """
        policy = self._policy
        if lasted_s >= policy.settled_s:
            self._window_s = policy.base_s
        window_s = min(self._window_s, policy.cap_s)
        self._window_s = min(window_s * 2, policy.cap_s)
        return retry_after_s + self._random() * window_s
