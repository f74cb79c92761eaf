from collections.abc import Sequence
from itertools import count

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.log.journal.base import JournalEntry
from tidings.log.journal.controls import Begin, Control, Heartbeat, NodeGone
from tidings.log.journal.entries import RULES, NodeBatch
from tidings.log.journal.sessions import GONE_S, LIVE_S, MAX_BEGIN_DELAY, Sessions

_NS = 1_000_000_000


class Fold:
    """Sessions, and entries for them in one order."""

    def __init__(self) -> None:
        self.sessions = Sessions()
        self.now_ns = 1_000 * _NS
        self.seqs = count(1)
        self.ended: list[str] = []

    def entry(self, session: str, number: int, *controls: Control, seq: int | None = None) -> bool:
        entry = JournalEntry(next(self.seqs) if seq is None else seq, self.now_ns, b"")
        batch = NodeBatch(rules=RULES, session=session, number=number, events=[], controls=controls)
        if not self.sessions.take(entry, batch):
            return False
        self.ended += [each.name for each in self.sessions.apply(entry, batch)]
        return True

    def begin(self, session: str, node: str = "", *, after: int = 0, seq: int | None = None) -> bool:
        return self.entry(session, 1, Begin(node=node or session, after=after, rules=RULES, version="1"), seq=seq)

    def gone(self, by: str, number: int, session: str, last: int) -> bool:
        return self.entry(by, number, NodeGone(session=session, number=last))

    @property
    def names(self) -> list[str]:
        return [session.name for session in self.sessions.live]


def test_numbers_of_a_session_are_taken_once_and_in_order() -> None:
    fold = Fold()
    assert fold.begin("a")
    assert [fold.entry("a", number) for number in (1, 3, 2, 2, 3, 5, 4, 1)] == [
        False, False, True, False, True, False, True, False,
    ]  # fmt: skip
    assert fold.sessions.live[0].number == 4


@pytest.mark.parametrize("controls", [[Heartbeat(seq=0, crc=0)], [NodeGone(session="b", number=0)]])
def test_session_begins_with_its_begin_only(controls: Sequence[Control]) -> None:
    fold = Fold()
    begin = Begin(node="a", after=0, rules=1, version="1")
    assert not fold.entry("a", 1)
    assert not fold.entry("a", 1, *controls)
    assert not fold.entry("a", 1, *controls, begin)
    assert not fold.entry("a", 2, begin)
    assert fold.names == []
    assert fold.entry("a", 1, begin, *controls)


def test_begin_of_a_node_ends_its_earlier_session() -> None:
    fold = Fold()
    for session in ("a-1", "b-1", "a-2"):
        fold.begin(session, session[0])
    assert fold.names == ["b-1", "a-2"]
    assert fold.ended == ["a-1"]
    assert not fold.entry("a-1", 2)
    assert not fold.begin("a-1", "a"), "a late copy"
    assert fold.names == ["b-1", "a-2"]


def test_begin_within_a_session_changes_nothing() -> None:
    fold = Fold()
    fold.begin("a")
    fold.begin("b")
    assert fold.entry("b", 2, Begin(node="a", after=0, rules=1, version="1"))
    assert fold.names == ["a", "b"]


def test_gone_counts_only_for_the_newest_number() -> None:
    fold = Fold()
    fold.begin("a")
    fold.begin("b")
    fold.entry("b", 2)
    fold.gone("a", 2, "b", 1)
    fold.gone("a", 3, "c", 0)
    assert fold.names == ["a", "b"]
    fold.gone("a", 4, "b", 2)
    assert fold.names == ["a"]
    assert fold.ended == ["b"]
    assert not fold.entry("b", 3), "it was under way"
    fold.entry("a", 5, NodeGone(session="a", number=5), NodeGone(session="a", number=5))
    assert (fold.names, fold.ended) == ([], ["b", "a"])


def test_late_copy_never_begins_an_ended_session_again() -> None:
    fold = Fold()
    fold.begin("lead", after=0, seq=1)
    fold.begin("a", after=10, seq=20)
    fold.gone("lead", 2, "a", 1)
    for seq in (30, 10 + MAX_BEGIN_DELAY, 11 + MAX_BEGIN_DELAY, 10 + 3 * MAX_BEGIN_DELAY):
        assert not fold.begin("a", after=10, seq=seq)
    for number in range(3, 100):  # many sessions begin and end: the old ones are forgotten
        seq = MAX_BEGIN_DELAY * number
        fold.begin(f"s{number}", after=seq - 5, seq=seq)
        fold.entry("lead", number, NodeGone(session=f"s{number}", number=1), seq=seq + 1)
        assert not fold.begin("a", after=10, seq=seq + 2)
        assert not fold.begin(f"s{number}", after=seq - 5, seq=seq + 3)
    assert fold.names == ["lead"]
    assert len(msgspec.msgpack.decode(fold.sessions.save())[2]) == 1


@pytest.mark.parametrize(("after", "seq", "begins"), [(0, MAX_BEGIN_DELAY, True), (0, MAX_BEGIN_DELAY + 1, False),
                                                      (7, 7, False), (2**63 - 1, 8, False)])  # fmt: skip
def test_begin_that_comes_too_late_or_from_the_future_does_not_count(after: int, seq: int, begins: bool) -> None:
    assert Fold().begin("a", after=after, seq=seq) == begins


def test_oldest_live_session_leads() -> None:
    fold = Fold()
    assert fold.sessions.lead is None
    for session in ("a", "b"):
        fold.begin(session)
    numbers = {"a": 1, "b": 1}

    def sign(session: str, seconds: float) -> str | None:
        fold.now_ns += round(seconds * _NS)
        numbers[session] += 1
        assert fold.entry(session, numbers[session])
        lead = fold.sessions.lead
        return None if lead is None else lead.name

    assert sign("b", LIVE_S) == "a"
    assert sign("b", 0.001) == "b"
    assert fold.sessions.gone() == []
    assert sign("a", 0) == "a"
    assert sign("b", -100) == "a", "the clock of the fold does not go back"
    assert sign("b", GONE_S + 100.001) == "b"
    assert fold.sessions.gone() == [NodeGone(session="a", number=numbers["a"])]


def test_rules_are_those_that_every_node_supports() -> None:
    fold = Fold()
    assert fold.sessions.rules() == 0
    for node, rules in (("a", 3), ("b", 2), ("c", 5)):
        fold.entry(node, 1, Begin(node=node, after=0, rules=rules, version="1"))
    assert fold.sessions.rules() == 2


ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["begin", "next", "next", "copy", "skip", "gone", "false gone"]),
        st.integers(0, 5),
        st.integers(0, 5),
        st.integers(-3 * _NS, 6 * _NS),
    ),
    max_size=60,
)


@given(ENTRIES, st.integers(0, 60))
@settings(max_examples=200)
def test_fold_is_the_same_when_it_is_stored_and_loaded_anywhere(
    steps: list[tuple[str, int, int, int]], stored_at: int
) -> None:
    def run(*, load: bool) -> tuple[bytes, list[bool], list[str], str | None]:
        fold, numbers, taken = Fold(), [0] * 6, []
        for place, (action, one, other, passed_ns) in enumerate(steps):
            if load and place == stored_at:
                fold.sessions = Sessions.load(fold.sessions.save())
            fold.now_ns += passed_ns
            name = f"s{one}"
            match action:
                case "begin":
                    was_taken = fold.begin(name, f"n{other % 3}", after=place // 2)
                case "next":
                    was_taken = fold.entry(name, numbers[one] + 1)
                case "copy":
                    was_taken = fold.entry(name, numbers[one])
                    assert not was_taken
                case "skip":
                    was_taken = fold.entry(name, numbers[one] + 2)
                    assert not was_taken
                case "gone":
                    was_taken = fold.gone(name, numbers[one] + 1, f"s{other}", numbers[other] + (one == other))
                case _:
                    was_taken = fold.gone(name, numbers[one] + 1, f"s{other}", numbers[other] + 7)
            numbers[one] += was_taken
            taken.append(was_taken)
        assert len(set(fold.ended)) == len(fold.ended)
        assert not set(fold.ended) & set(fold.names)
        nodes = [session.node for session in fold.sessions.live]
        assert len(set(nodes)) == len(nodes)
        lead = fold.sessions.lead
        return fold.sessions.save(), taken, fold.ended, None if lead is None else lead.name

    assert run(load=True) == run(load=False)
