"""The suite that every adapter of `tidings.log.journal.base.Journal` passes: one test per guarantee.

It needs pytest. For your own adapter, write a test module::

    class MyJournalHarness(JournalHarness):
        ...

    class TestMyJournal(JournalConformance):
        @pytest.fixture
        def harness(self):
            with MyJournalHarness() as harness:
                yield harness

The suite claims no more than the port: an append may be lost, doubled and late, so each test appends until it receives.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, TypeVar

import pytest

from tidings.exceptions import LogError
from tidings.log.journal.base import Journal, JournalEntry, JournalState, LossReason, Mark

Result = TypeVar("Result")
MAX_APPENDS = 1_000
"""Number of appends after which an entry is assumed never to be stored."""


class JournalHarness(ABC):
    """Opens one journal for the suite, several times; a context manager around a test."""

    @abstractmethod
    def open(self) -> Journal:
        """Return the journal, opened once more, as by another process."""

    @abstractmethod
    def wait_until(self, condition: Callable[[], object]) -> bool:
        """Run the loop until a condition is true, or until everything that was appended is stored or lost.

        Returns:
            Whether the condition is true.
        """

    @abstractmethod
    def run(self, call: Coroutine[Any, Any, Result]) -> Result:
        """Return the result of a call of a journal."""

    @abstractmethod
    def rewind(self, last: int) -> None:
        """Put back an older copy of the journal, which ends at a sequence."""

    @abstractmethod
    def close(self) -> None:
        """Close all journals, and remove what they stored."""

    def __enter__(self) -> "JournalHarness":
        """Return this harness."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything."""
        self.close()


class RecordingFollower:
    """Follows a journal and keeps what it receives.

    Args:
        journal: The journal.
        after: The sequence to follow after.
    """

    def __init__(self, journal: Journal, after: int = 0) -> None:
        self.journal = journal
        self.entries: list[JournalEntry] = []
        self.losses: list[LossReason] = []
        journal.follow(after, self._receive, self._lost)

    def _receive(self, entries: Sequence[JournalEntry]) -> None:
        assert entries, "at least one entry is received at a time"
        assert not self.losses, "nothing is received after a loss"
        self.entries += entries

    def _lost(self, reason: LossReason, error: LogError) -> None:
        assert str(error)
        self.losses.append(reason)

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of the entries."""
        return [entry.body for entry in self.entries]

    @property
    def seqs(self) -> list[int]:
        """The sequences of the entries."""
        return [entry.seq for entry in self.entries]


def append(harness: JournalHarness, follower: RecordingFollower, body: bytes, *, by: Journal | None = None) -> None:
    """Append `body` until `follower` receives it.

    Args:
        harness: The harness.
        follower: The follower.
        body: A body that was not appended before.
        by: The journal that appends; default: that of the follower.
    """
    for _ in range(MAX_APPENDS):
        (by or follower.journal).append(body)
        if harness.wait_until(lambda: body in follower.bodies):
            return
    raise AssertionError(f"{body[:40]!r} is never received")


def fill(harness: JournalHarness, count: int) -> RecordingFollower:
    """Return a follower that has received at least `count` entries, all that there are."""
    follower = RecordingFollower(harness.open())
    number = 0
    while len(follower.entries) < count:
        append(harness, follower, b"entry %d" % number)
        number += 1
    harness.wait_until(lambda: False)
    return follower


class JournalConformance:
    """Every guarantee of the port. Needs a fixture `harness` that provides a `JournalHarness`."""

    def test_new_journal_has_no_entries(self, harness: JournalHarness) -> None:
        journal = harness.open()
        assert harness.run(journal.look()) == JournalState(first=1, last=0)
        assert harness.run(journal.entry(1)) is None
        assert journal.failure is None
        follower = RecordingFollower(journal)
        harness.wait_until(lambda: False)
        assert (follower.entries, follower.losses) == ([], [])

    def test_all_followers_receive_the_same_entries_in_one_order(self, harness: JournalHarness) -> None:
        followers = [RecordingFollower(harness.open()) for _ in range(3)]
        for number in range(20):
            for place, follower in enumerate(followers):
                append(harness, follower, b"%d of %d" % (number, place))
        late = RecordingFollower(harness.open())
        harness.wait_until(lambda: False)
        state = harness.run(late.journal.look())
        for follower in (*followers, late):
            assert follower.entries == late.entries
        assert late.seqs == list(range(1, state.last + 1))
        assert {b"%d of %d" % (number, place) for number in range(20) for place in range(3)} == set(late.bodies)

    def test_follower_receives_the_entries_after_its_place_only(self, harness: JournalHarness) -> None:
        first = fill(harness, 6)
        later = RecordingFollower(harness.open(), 4)
        at_end = RecordingFollower(harness.open(), first.seqs[-1])
        assert harness.wait_until(lambda: later.entries == first.entries[4:])
        append(harness, at_end, b"new", by=first.journal)
        harness.wait_until(lambda: False)
        assert later.entries == first.entries[4:]
        assert at_end.seqs[0] == later.seqs[-len(at_end.seqs)]
        assert at_end.entries == later.entries[-len(at_end.entries) :]

    def test_nothing_is_received_within_the_call(self, harness: JournalHarness) -> None:
        follower = RecordingFollower(harness.open())
        follower.journal.append(b"one")
        assert follower.entries == []
        append(harness, follower, b"two")
        again = RecordingFollower(follower.journal)
        assert again.entries == []
        assert harness.wait_until(lambda: b"two" in again.bodies)

    def test_paused_follower_receives_nothing_until_it_resumes(self, harness: JournalHarness) -> None:
        paused, other = RecordingFollower(harness.open()), RecordingFollower(harness.open())
        append(harness, other, b"before")
        harness.wait_until(lambda: False)
        received = list(paused.entries)
        paused.journal.pause()
        append(harness, other, b"meanwhile")
        paused.journal.append(b"own")
        harness.wait_until(lambda: False)
        assert paused.entries == received
        paused.journal.resume()
        assert paused.entries == received, "not within the call"
        append(harness, paused, b"after")
        harness.wait_until(lambda: False)
        assert paused.entries == other.entries

    @pytest.mark.parametrize(
        "body", [b"", bytes(range(256)), b"\0" * 70_000], ids=["empty", "every byte", "many zeros"]
    )
    def test_body_is_received_unchanged(self, harness: JournalHarness, body: bytes) -> None:
        follower = RecordingFollower(harness.open())
        append(harness, follower, body)
        entry = next(entry for entry in follower.entries if entry.body == body)
        assert harness.run(follower.journal.entry(entry.seq)) == entry
        assert Mark.of(entry) == Mark(entry.seq, entry.at_ns, Mark.of(entry).crc)

    def test_largest_body_is_stored_and_a_larger_one_is_lost(self, harness: JournalHarness) -> None:
        follower = RecordingFollower(harness.open())
        journal = follower.journal
        append(harness, follower, b"1" * journal.max_bytes)
        journal.append(b"2" * (journal.max_bytes + 1))
        assert isinstance(journal.failure, LogError)
        append(harness, follower, b"next")
        assert journal.failure is None
        assert max(map(len, follower.bodies)) == journal.max_bytes

    def test_many_entries_are_received_without_a_gap(self, harness: JournalHarness) -> None:
        writer = RecordingFollower(harness.open())
        for number in range(300):
            writer.journal.append(b"%d " % number + b"x" * (number * 97 % 30_000))
        append(harness, writer, b"end")
        late = RecordingFollower(harness.open())
        assert harness.wait_until(lambda: len(late.entries) == len(writer.entries))
        assert late.entries == writer.entries
        assert late.seqs == list(range(1, len(late.seqs) + 1))

    def test_entries_and_sequences_survive_reopening(self, harness: JournalHarness) -> None:
        first = fill(harness, 5)
        first.journal.close()
        again = RecordingFollower(harness.open())
        append(harness, again, b"after reopening")
        assert again.entries[: len(first.entries)] == first.entries
        assert again.seqs == list(range(1, len(again.seqs) + 1))

    def test_trimmed_entries_are_gone_and_sequences_go_on(self, harness: JournalHarness) -> None:
        follower = fill(harness, 50)
        journal, last = follower.journal, follower.seqs[-1]
        harness.run(journal.trim(45))
        harness.run(journal.trim(45))
        harness.run(journal.trim(3))
        assert harness.run(journal.look()) == JournalState(first=46, last=last)
        assert harness.run(journal.entry(45)) is None
        assert harness.run(journal.entry(46)) == follower.entries[45]
        harness.run(journal.trim(last + 1_000))
        assert harness.run(journal.look()) == JournalState(first=last + 1, last=last)
        at_end = RecordingFollower(harness.open(), last)
        append(harness, at_end, b"new")
        harness.wait_until(lambda: False)
        assert at_end.seqs[0] == last + 1
        assert follower.entries[-len(at_end.entries) :] == at_end.entries
        assert (follower.losses, at_end.losses) == ([], [])

    @pytest.mark.parametrize("all_trimmed", [False, True])
    def test_follower_of_trimmed_entries_loses_and_may_follow_again(
        self, harness: JournalHarness, all_trimmed: bool
    ) -> None:
        last = fill(harness, 10).seqs[-1]
        journal = harness.open()
        harness.run(journal.trim(last if all_trimmed else 5))
        behind = RecordingFollower(journal, 4)
        assert harness.wait_until(lambda: behind.losses)
        again = RecordingFollower(journal, harness.run(journal.look()).first - 1)
        append(harness, again, b"new")
        harness.wait_until(lambda: False)
        assert (behind.losses, behind.entries) == ([LossReason.TRIMMED], [])
        assert again.losses == []
        assert again.seqs[0] == (last + 1 if all_trimmed else 6)

    def test_follower_of_a_journal_that_ends_earlier_loses(self, harness: JournalHarness) -> None:
        live = fill(harness, 10)
        harness.rewind(5)
        late = RecordingFollower(harness.open(), 10)
        assert harness.wait_until(lambda: live.losses and late.losses)
        assert (live.losses, late.losses, late.entries) == ([LossReason.REWRITTEN], [LossReason.REWRITTEN], [])
        again = RecordingFollower(live.journal, 5)
        append(harness, again, b"instead")
        assert again.seqs[0] == 6

    def test_mark_recognises_an_entry_that_was_rewritten(self, harness: JournalHarness) -> None:
        marks = [Mark.of(entry) for entry in fill(harness, 8).entries]
        harness.rewind(5)
        journal = harness.open()
        follower = RecordingFollower(journal, 5)
        while len(follower.entries) < 3:
            append(harness, follower, b"instead %d" % len(follower.entries))
        for seq in (1, 5, 6, 8):
            entry = harness.run(journal.entry(seq))
            assert entry is not None
            assert (Mark.of(entry) == marks[seq - 1]) == (seq <= 5)

    def test_closed_journal_does_nothing_and_raises_nothing(self, harness: JournalHarness) -> None:
        closed, other = RecordingFollower(harness.open()), RecordingFollower(harness.open())
        append(harness, other, b"before")
        harness.wait_until(lambda: b"before" in closed.bodies)
        received = len(closed.entries)
        closed.journal.close()
        closed.journal.close()
        closed.journal.append(b"lost")
        assert isinstance(closed.journal.failure, LogError)
        append(harness, other, b"after")
        assert b"lost" not in other.bodies
        assert (len(closed.entries), closed.losses) == (received, [])


__all__ = ["JournalConformance", "JournalHarness", "RecordingFollower", "append", "fill"]
