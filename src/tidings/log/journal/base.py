"""The port that every journal implements, and the values that cross it (ARCHITECTURE.md, "The journal").

A journal is what hubs need of an existing engine: an order that all of them see alike. Everything else (event ids, the
lives of operations, offsets) is decided by each hub on its own, from the entries in that order.
"""

import zlib
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from tidings.exceptions import LogError


class JournalEntry(Struct, frozen=True, gc=False):
    """One entry of a journal."""

    seq: int
    """Its place. Sequences grow by exactly 1, starting at 1: a jump is a loss, and never an entry that is late."""
    at_ns: int
    """The engine's clock when the entry was stored, nanoseconds since 1970: the same for all who read it. It may go
    back between two entries."""
    body: bytes


class Mark(Struct, frozen=True):
    """Identifies one entry, to recognise a journal that was rewritten: another copy of it has another entry there."""

    seq: int
    """0 is the beginning, before the first entry."""
    at_ns: int = 0
    crc: int = 0
    """CRC-32 of the body."""

    @classmethod
    def of(cls, entry: JournalEntry) -> "Mark":
        """Return the mark of `entry`."""
        return cls(entry.seq, entry.at_ns, zlib.crc32(entry.body))


class JournalState(Struct, frozen=True):
    """The range of entries that a journal holds."""

    first: int
    """Sequence of the oldest entry; one more than `last` where there is none."""
    last: int
    """Sequence of the newest entry that was ever stored, trimmed or not; 0 in a new journal."""


class LossReason(StrEnum):
    """Why a follower receives no more entries."""

    TRIMMED = "trimmed"
    """The next entry was trimmed before the follower read it. A snapshot of the log continues later."""
    REWRITTEN = "rewritten"
    """The journal ends before the follower's place: it is another one, or an older copy."""
    FAILED = "failed"
    """The engine cannot be read, or holds what no version of tidings writes."""
    DIFFERS = "differs"
    """A node's own log differs from those of most others. No journal reports it; `tidings.log.journal.node` does."""
    DAMAGED = "damaged"
    """The file of a node's own log is damaged. No journal reports it; `tidings.log.replicated` does."""


Receive = Callable[[Sequence[JournalEntry]], None]
"""Called with the next entries, at least one."""
Lost = Callable[[LossReason, LogError], None]
"""Called when a follower receives no more entries, with the reason and with the error for a person."""


class Journal(Protocol):
    """A list of opaque entries in one order, which many processes append to and follow.

    Guarantees, which `tidings.testing.journal_conformance` checks for every adapter:

    - **Order.** All followers receive the same entries in the same order, and each follower receives every entry after
      its place once.
    - **Sequences** count from 1 without a gap, over all processes and openings. Trimming does not set them back.
    - **Durability.** An entry that one follower received stays: every other one receives it, too, however the
      processes end, unless it was trimmed first.
    - **Loss is reported.** A follower whose next entry is missing receives no later one: `Lost` is called, once.
    - **Appending never waits and never raises.** `failure` has the reason why nothing was stored.
    - **Isolation.** A process that is killed at any moment stops no other one, and leaves whole entries only.
    - **Threading.** One thread with one event loop makes all calls, and all callbacks run on it, never within the call
      that caused them.

    Not claimed: that an appended entry is stored, that it is stored only once, that it is stored soon, or that two
    entries of one process are stored in the order in which they were appended. A process that appended
    an entry receives it as a follower, or appends it again.
    """

    @property
    def max_bytes(self) -> int:
        """Maximum size of a body, in bytes."""

    @property
    def failure(self) -> LogError | None:
        """The reason why the newest append stored nothing; None after one that did, and before the first."""

    def append(self, body: bytes) -> None:
        """Append an entry of at most `max_bytes`, or lose it."""

    def follow(self, after: int, receive: Receive, lost: Lost) -> None:
        """Call `receive` with all entries after a sequence, stored and future ones.

        To be called once, or again after `lost` was called.
        """

    def pause(self) -> None:
        """Call `receive` no more until `resume`, because the entries cannot be stored as fast."""

    def resume(self) -> None:
        """Continue after `pause`."""

    async def look(self) -> JournalState:
        """Return the range of entries.

        Raises:
            LogError: The engine cannot be asked.
        """

    async def entry(self, seq: int) -> JournalEntry | None:
        """Return the entry at a sequence; None if it was trimmed or does not exist.

        Raises:
            LogError: The engine cannot be asked, or the entry is damaged.
        """

    async def trim(self, until: int) -> None:
        """Delete all entries up to and including a sequence, which may be beyond the last.

        Raises:
            LogError: The engine cannot do it now; nothing, or a part of it, was deleted.
        """

    def close(self) -> None:
        """Append and follow no more. An entry that is not stored yet is tried once more, or lost."""
