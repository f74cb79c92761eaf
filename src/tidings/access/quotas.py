"""Shares of what all clients use together: how much one subject or one address may use at a time, or in a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

from tidings.exceptions import TooManyRequests

_IPV6_PREFIX_BITS: Final = 64
"""Bits of an IPv6 address that distinguish networks: every host has a whole network of addresses (RFC 6177)."""
MAX_TRACKED: Final = 10_000
"""Senders of failures that are remembered at a time; beyond it, the one whose failures are oldest is forgotten."""


@lru_cache(MAX_TRACKED)  # parsing an address takes a tenth of the time of a post
def network_of(address: str) -> str:
    """Return what counts as one address: an IPv4 address, or the network of an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    shift = 128 - _IPV6_PREFIX_BITS
    return f"{IPv6Address(int(parsed) >> shift << shift)}/{_IPV6_PREFIX_BITS}"


class Quota:
    """A limit of what each user of something may have at a time.

    Args:
        limit: How many each may have; 0 for no limit.
        thing: The thing, in the plural, for the error.
        hint: How to need fewer.
        retry_after_ms: When to try again.
    """

    def __init__(self, limit: int, thing: str, *, hint: str = "", retry_after_ms: int = 1_000) -> None:
        self.limit = limit
        self._thing = thing
        self._hint = hint
        self._retry_after_ms = retry_after_ms
        self._used: dict[str, int] = {}
        self._changed: dict[str, None] | None = None
        """Users whose number has changed; None where no one asks."""
        self.used_elsewhere: Mapping[str, int] = {}
        """How many each user has at the other processes of the hub, which count, too."""
        self.refused = 0
        """Refusals since the hub started."""

    def take_changed(self, *, everyone: bool = False) -> Iterable[str]:
        """Return the users whose number has changed since the last call; all users at the first one, or if asked."""
        changed = self._used if everyone or self._changed is None else self._changed
        self._changed = {}
        return list(changed)

    def used(self, user: str) -> int:
        """Return how many `user` has."""
        return self._used.get(user, 0)

    def check(self, user: str) -> None:
        """Check that `user` may have one more; "" has no limit, and is not counted.

        Raises:
            TooManyRequests: It has as many as it may.
        """
        if self.limit and self._used.get(user, 0) + self.used_elsewhere.get(user, 0) >= self.limit:
            self.refused += 1
            raise TooManyRequests(
                f"too many {self._thing} at a time: {self.limit:,} are allowed",
                retry_after_ms=self._retry_after_ms,
                hint=self._hint,
            )

    def count(self, user: str) -> None:
        """Count one more of `user`, which has it already."""
        if user:
            self._used[user] = self._used.get(user, 0) + 1
            if self._changed is not None:
                self._changed[user] = None

    def take(self, user: str) -> None:
        """Give one more to `user`.

        Raises:
            TooManyRequests: It has as many as it may.
        """
        self.check(user)
        self.count(user)

    def release(self, user: str) -> None:
        """Take one back from `user`."""
        used = self._used.get(user, 0)
        if used > 1:
            self._used[user] = used - 1
        else:
            self._used.pop(user, None)
        if self._changed is not None and used:
            self._changed[user] = None

    def hold(self, user: str) -> Callable[[], None]:
        """Give one more to `user`, and return the function that takes it back, once.

        Raises:
            TooManyRequests: It has as many as it may.
        """
        self.take(user)
        held = [user]

        def release() -> None:
            if held:
                self.release(held.pop())

        return release

    @contextmanager
    def taken(self, user: str) -> Iterator[None]:
        """Give one more to `user` during a `with` block.

        Raises:
            TooManyRequests: It has as many as it may.
        """
        self.take(user)
        try:
            yield
        finally:
            self.release(user)


class FailureLimit:
    """Limits what a sender may do wrong in a time: a bucket of tokens for each sender that fills with time.

    Args:
        burst: Failures that a sender may have at a time; 0 for no limit.
        per_s: How many more it may have each second.
        now_s: A clock in seconds; one that jumps ahead forgives early.
    """

    def __init__(self, burst: int, per_s: float, now_s: Callable[[], float]) -> None:
        self._burst = burst
        self._per_s = per_s
        self._now_s = now_s
        self._failures: dict[str, tuple[float, float]] = {}
        """Number of failures that still count, and when they were counted; those that failed last come last."""
        self.refused = 0
        """Refusals since the hub started."""

    def __len__(self) -> int:
        return len(self._failures)

    def count(self, sender: str) -> None:
        """Count one failure of `sender`."""
        failures = self._counting(sender) + 1
        self._failures.pop(sender, None)
        self._failures[sender] = failures, self._now_s()
        if len(self._failures) > MAX_TRACKED:
            del self._failures[next(iter(self._failures))]

    def retry_after_ms(self, sender: str) -> int:
        """Return the time until `sender` may try again, in milliseconds; 0 if it may now."""
        excess = self._counting(sender) - self._burst + 1
        if excess <= 0 or not self._burst:
            return 0
        self.refused += 1
        return max(1, round(excess / self._per_s * 1_000))

    def _counting(self, sender: str) -> float:
        failures, counted = self._failures.get(sender, (0.0, 0.0))
        if not failures:
            return 0.0
        now = self._now_s()
        if now < counted:  # the clock was set back: the failures were just now, and not in the future
            self._failures[sender] = failures, now
            return failures
        left = failures - (now - counted) * self._per_s
        if left <= 0:
            del self._failures[sender]
            return 0.0
        return left
