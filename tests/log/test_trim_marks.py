import hypothesis.strategies as st
import pytest
from hypothesis import given

from tidings.log.trim_marks import TrimMarks
from tidings.protocol.paths import Path, PathSet


def above(floors: TrimMarks, *paths: Path, after: int = 0) -> int | None:
    return floors.above(after, PathSet(paths))


def saved(floors: TrimMarks, into: dict[tuple[str, str], int]) -> None:
    """Do what an adapter does when a step is committed."""
    for slot, offset in floors.changed().items():
        if offset is None:
            into.pop(slot, None)
        else:
            into[slot] = offset
    floors.settle()


def test_nothing_is_gone_at_first() -> None:
    assert above(TrimMarks(), Path("data"), Path("system")) is None


def test_what_was_trimmed_of_a_channel_is_told_to_its_readers() -> None:
    floors = TrimMarks()
    floors.trim("data", 7)
    floors.trim("data", 5)  # a row that was kept for long may go late
    assert above(floors, Path("data")) == above(floors, Path("data", "a")) == 7
    assert above(floors, Path("data", "a", prefix=True)) == 7
    assert above(floors, Path("system")) is None
    assert above(floors, Path("system"), Path("data"), after=6) == 7
    assert above(floors, Path("data"), after=7) is None


def test_what_was_thinned_out_is_told_to_readers_of_that_key() -> None:
    floors = TrimMarks()
    floors.trim("operations", 2)
    floors.thin("operations", "ab", 9)
    floors.thin("operations", "ab", 8)
    assert above(floors, Path("operations")) == 9
    assert above(floors, Path("operations", "ab")) == 9
    assert above(floors, Path("operations", "a", prefix=True)) == 9
    assert above(floors, Path("operations", "a")) == 2
    assert above(floors, Path("operations", "b", prefix=True)) == 2
    assert above(floors, Path("data")) is None


def test_a_key_that_is_forgotten_counts_for_its_channel() -> None:
    """Else a reader that was below it would not be told: the range may begin above it with nothing else trimmed."""
    floors = TrimMarks()
    floors.thin("operations", "a", 5)
    floors.thin("operations", "b", 8)
    floors.forget(5)
    assert above(floors, Path("operations", "a")) == 5
    assert above(floors, Path("operations", "c")) == 5
    assert above(floors, Path("operations", "b")) == 8
    floors.forget(4)
    assert above(floors, Path("operations", "b")) == 8


def test_many_thinned_keys_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.log.trim_marks._MOST_KEYS", 10)
    floors, into = TrimMarks(), dict[tuple[str, str], int]()
    for number in range(1, 101):
        floors.thin("operations", f"key-{number}", number)
        saved(floors, into)
        assert len(into) <= 11
        assert above(floors, Path("operations", f"key-{number}")) == number
        assert all((above(floors, Path("operations", f"key-{other}")) or 0) >= other for other in range(1, number))
    assert above(floors, Path("operations")) == 100


def test_a_step_that_is_rolled_back_leaves_no_trace() -> None:
    floors, into = TrimMarks(), dict[tuple[str, str], int]()
    floors.trim("data", 3)
    floors.thin("data", "a", 4)
    saved(floors, into)
    floors.trim("data", 30)
    floors.thin("data", "a", 40)
    floors.thin("data", "b", 50)
    floors.thin("system", "c", 60)
    floors.forget(40)
    floors.roll_back()
    assert floors.changed() == {}
    assert above(floors, Path("data")) == 4
    assert above(floors, Path("data", "a")) == 4
    assert above(floors, Path("data", "b")) == 3
    assert above(floors, Path("system")) is None
    assert into == {("data", ""): 3, ("data", "a"): 4}


_steps = st.lists(
    st.tuples(
        st.sampled_from(["trim", "thin", "forget", "commit", "roll_back", "restart"]),
        st.sampled_from(["data", "system"]),
        st.sampled_from(["a", "ab", "b"]),
        st.integers(1, 30),
    )
)


@given(_steps)
def test_what_is_saved_is_what_there_is(steps: list[tuple[str, str, str, int]]) -> None:
    floors, into = TrimMarks(), dict[tuple[str, str], int]()
    gone: dict[tuple[str, str], int] = {}
    before = dict(gone)
    for step, channel, key, offset in steps:
        match step:
            case "trim":
                floors.trim(channel, offset)
                for other in ("a", "ab", "b"):
                    gone[channel, other] = max(offset, gone.get((channel, other), 0))
            case "thin":
                floors.thin(channel, key, offset)
                gone[channel, key] = max(offset, gone.get((channel, key), 0))
            case "forget":
                floors.forget(offset)
            case "commit":
                saved(floors, into)
                before = dict(gone)
            case "roll_back":
                floors.roll_back()
                gone = dict(before)
            case _:  # what was not committed is lost
                floors = TrimMarks()
                floors.restore((channel, key, offset) for (channel, key), offset in into.items())
                gone = dict(before)
        for (at, of), highest in gone.items():
            told = above(floors, Path(at, of)) or 0
            assert told >= highest, "something is gone, and its reader is not told"
            assert (above(floors, Path(at)) or 0) >= told
            assert (above(floors, Path(at, of[0], prefix=True)) or 0) >= told
