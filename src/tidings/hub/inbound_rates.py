"""How much connections, subjects and addresses may send each second: buckets of tokens, off by default.

A bucket takes one subtraction for each message; the clock is read only when it is empty.
"""

import math
from collections.abc import Callable, Iterator
from typing import Final, Literal

from tidings.access.subjects import Subject
from tidings.exceptions import RateLimited
from tidings.hub.clock import Clock
from tidings.hub.config import HubConfig

BURST_S: Final = 5.0
"""Size of a bucket, in seconds of its rate: a client that was silent may send as much at a time, as one that reconnects
does."""
MAX_DEBT_S: Final = 60.0
"""Time in which a sender pays back at most what it took too much at several processes of a hub, in seconds."""
_UNREPORTED: Final = 0.1
"""Part of a burst that a sender may take at the other processes before they report it to this one."""
MAX_SENDERS: Final = 10_000
"""Subjects, and addresses, whose buckets are kept; beyond it, the one that was added first begins with a full bucket
again."""

RateKind = Literal["events", "commands", "posted"]
"""Events and commands of a subject, and events that an address posts."""
_OF_SUBJECT: Final[tuple[RateKind, ...]] = ("events", "commands")
_OF_ADDRESS: Final[tuple[RateKind, ...]] = ("posted",)


class TokenBucket:
    """The allowance of one sender.

    Args:
        per_s: Tokens that are added each second.
        thing: What a token is for, in the plural, and whose it is: `events of this connection`.
        clock: The hub's clock.
    """

    __slots__ = ("_added", "_burst", "_clock", "_filled_at", "_left", "_per_s", "_reported", "_thing")

    def __init__(self, per_s: float, thing: str, clock: Clock) -> None:
        self._per_s = per_s
        self._thing = thing
        self._clock = clock
        self._burst = max(1.0, per_s * BURST_S)
        self._left = self._added = self._burst
        self._reported = 0.0
        """Tokens that `report_taken` has returned."""
        self._filled_at = clock.monotonic()

    def take(self) -> None:
        """Take a token.

        Raises:
            RateLimited: There is none; the error has the time until the next one.
        """
        self._left -= 1
        if self._left >= 0:
            return
        self._left += 1
        self._fill()
        if self._left >= 1:
            self._left -= 1
            return
        retry_after_ms = max(1, math.ceil((1 - self._left) / self._per_s * 1000))
        raise RateLimited(
            f"too many {self._thing}: {self._per_s:g} per second are allowed",
            retry_after_ms=retry_after_ms,
            hint=f"Send it again in {retry_after_ms:,} ms, or fewer in one message less often.",
        )

    def _fill(self) -> None:
        now = self._clock.monotonic()
        left = min(self._burst, self._left + max(0.0, now - self._filled_at) * self._per_s)
        self._added += left - self._left
        self._left = left
        self._filled_at = now

    # The other processes of the hub.

    def report_taken(self, processes: int) -> float:
        """Return the tokens that were taken since the last report; 0 while they are few.

        Args:
            processes: Number of other processes: all of them together never leave out more than a tenth of a burst.
        """
        taken = self._added - self._left - self._reported
        if taken < max(1.0, self._burst * _UNREPORTED / max(1, processes)):
            return 0.0
        self._reported += taken
        return taken

    def debit(self, tokens: float) -> None:
        """Take tokens that the sender took at another process, also more than there are."""
        self._fill()
        left = max(self._left - tokens, min(self._left, -MAX_DEBT_S * self._per_s))
        self._added -= self._left - left
        self._left = left


class SenderRates:
    """The buckets of one connection or subject; a limit of 0 has none."""

    __slots__ = ("_owner", "commands", "events")

    def __init__(self, owner: "InboundRates", who: str, events_per_s: float, commands_per_s: float) -> None:
        clock = owner.clock
        self._owner = owner
        self.events = TokenBucket(events_per_s, f"events of {who}", clock) if events_per_s else None
        self.commands = TokenBucket(commands_per_s, f"commands of {who}", clock) if commands_per_s else None

    def check_event(self) -> None:
        """Count one event.

        Raises:
            RateLimited: It is one too many.
        """
        if self.events is not None:
            try:
                self.events.take()
            except RateLimited:
                self._owner.refused_events += 1
                raise

    def check_command(self) -> None:
        """Count one command.

        Raises:
            RateLimited: It is one too many.
        """
        if self.commands is not None:
            try:
                self.commands.take()
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
            self._of_address(address).check_event()

    def check_command(self, subject: Subject) -> None:
        """Count one command of a subject.

        Raises:
            RateLimited: It is one too many.
        """
        if self._config.subject_commands_per_s:
            self._of_subject(subject.name).check_command()

    # The other processes of the hub.

    @property
    def are_shared(self) -> bool:
        """Whether there are limits that hold for all processes of a hub together."""
        config = self._config
        return bool(config.subject_events_per_s or config.subject_commands_per_s or config.posted_events_per_s)

    def report_taken(self, processes: int) -> Iterator[tuple[RateKind, str, float]]:
        """Yield what senders have taken since the last report, if it is not little: kind, sender, and tokens.

        Args:
            processes: See `TokenBucket.report_taken`.
        """
        for senders, kinds in ((self._subjects, _OF_SUBJECT), (self._addresses, _OF_ADDRESS)):
            for sender, rates in senders.items():
                for kind, bucket in zip(kinds, (rates.events, rates.commands), strict=False):
                    taken = 0.0 if bucket is None else bucket.report_taken(processes)
                    if taken:
                        yield kind, sender, taken

    def debit(self, kind: RateKind, sender: str, tokens: float) -> None:
        """Count what a sender has taken at another process."""
        rates = self._of_address(sender) if kind == "posted" else self._of_subject(sender)
        bucket = rates.commands if kind == "commands" else rates.events
        if bucket is not None:
            bucket.debit(tokens)

    def _of_address(self, address: str) -> SenderRates:
        limit = self._config.posted_events_per_s
        return _of_sender(self._addresses, address, lambda: SenderRates(self, "this address", limit, 0))

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
