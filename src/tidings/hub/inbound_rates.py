"""How much connections, subjects and addresses may send each second: buckets of tokens, off by default.

A bucket takes one subtraction for each message; the clock is read only when it is empty.
"""

import math
from collections.abc import Callable
from typing import Final

from tidings.access.subjects import Subject
from tidings.exceptions import RateLimited
from tidings.hub.clock import Clock
from tidings.hub.config import HubConfig

BURST_S: Final = 5.0
"""Size of a bucket, in seconds of its rate: a client that was silent may send as much at a time, as one that reconnects
does."""
MAX_SENDERS: Final = 10_000
"""Subjects, and addresses, whose buckets are kept; beyond it, the one that was added first begins with a full bucket
again."""


class TokenBucket:
    """The allowance of one sender.

    Args:
        per_s: Tokens that are added each second.
        thing: What a token is for, in the plural, and whose it is: `events of this connection`.
        clock: The hub's clock.
    """

    __slots__ = ("_burst", "_clock", "_filled_at", "_left", "_per_s", "_thing")

    def __init__(self, per_s: float, thing: str, clock: Clock) -> None:
        self._per_s = per_s
        self._thing = thing
        self._clock = clock
        self._burst = max(1.0, per_s * BURST_S)
        self._left = self._burst
        self._filled_at = clock.monotonic()

    def take(self) -> None:
        """Take a token.

        Raises:
            RateLimited: There is none; the error has the time until the next one.
        """
        self._left -= 1
        if self._left >= 0:
            return
        now = self._clock.monotonic()
        self._left = min(self._burst, self._left + 1 + max(0.0, now - self._filled_at) * self._per_s)
        self._filled_at = now
        if self._left >= 1:
            self._left -= 1
            return
        retry_after_ms = max(1, math.ceil((1 - self._left) / self._per_s * 1000))
        raise RateLimited(
            f"too many {self._thing}: {self._per_s:g} per second are allowed",
            retry_after_ms=retry_after_ms,
            hint=f"Send it again in {retry_after_ms:,} ms, or fewer in one message less often.",
        )


class SenderRates:
    """The buckets of one connection or subject; a limit of 0 has none."""

    __slots__ = ("_commands", "_events", "_owner")

    def __init__(self, owner: "InboundRates", who: str, events_per_s: float, commands_per_s: float) -> None:
        clock = owner.clock
        self._owner = owner
        self._events = TokenBucket(events_per_s, f"events of {who}", clock) if events_per_s else None
        self._commands = TokenBucket(commands_per_s, f"commands of {who}", clock) if commands_per_s else None

    def check_event(self) -> None:
        """Count one event.

        Raises:
            RateLimited: It is one too many.
        """
        if self._events is not None:
            try:
                self._events.take()
            except RateLimited:
                self._owner.refused_events += 1
                raise

    def check_command(self) -> None:
        """Count one command.

        Raises:
            RateLimited: It is one too many.
        """
        if self._commands is not None:
            try:
                self._commands.take()
            except RateLimited:
                self._owner.refused_commands += 1
                raise


class InboundRates:
    """The limits of one hub, and the buckets of its subjects.

    Args:
        config: The limits.
        clock: The hub's clock.
    """

    def __init__(self, config: HubConfig, clock: Clock) -> None:
        self._config = config
        self.clock = clock
        self._subjects: dict[str, SenderRates] = {}
        self._addresses: dict[str, SenderRates] = {}
        self.refused_events = 0
        """Events that were refused for their rate since the hub started."""
        self.refused_commands = 0
        """Commands that were refused for their rate since the hub started."""

    def connection(self) -> SenderRates | None:
        """Return the buckets of a new connection; None without limits."""
        config = self._config
        if not (config.events_per_s or config.commands_per_s):
            return None
        return SenderRates(self, "this connection", config.events_per_s, config.commands_per_s)

    def check_event(self, subject: Subject) -> None:
        """Count one event of a subject.

        Raises:
            RateLimited: It is one too many.
        """
        self._of_subject(subject.name).check_event()

    def check_posted(self, address: str) -> None:
        """Count one event that an address has posted, where the hub identifies no one; "" has no limit.

        Raises:
            RateLimited: It is one too many.
        """
        limit = self._config.posted_events_per_s
        if limit and address:
            _of_sender(self._addresses, address, lambda: SenderRates(self, "this address", limit, 0)).check_event()

    def check_command(self, subject: Subject) -> None:
        """Count one command of a subject.

        Raises:
            RateLimited: It is one too many.
        """
        if self._config.subject_commands_per_s:
            self._of_subject(subject.name).check_command()

    def _of_subject(self, name: str) -> SenderRates:
        """Return the buckets that all connections and requests of a subject share."""
        config = self._config
        return _of_sender(
            self._subjects,
            name,
            lambda: SenderRates(self, "this subject", config.subject_events_per_s, config.subject_commands_per_s),
        )


def _of_sender(known: dict[str, SenderRates], name: str, make: Callable[[], SenderRates]) -> SenderRates:
    """Return the buckets of a sender, which `make` makes for a new one."""
    rates = known.get(name)
    if rates is None:
        if len(known) >= MAX_SENDERS:
            del known[next(iter(known))]
        rates = known[name] = make()
    return rates
