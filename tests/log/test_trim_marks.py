import hypothesis.strategies as st
import pytest
from hypothesis import given

from tidings.log.trim_marks import TrimMarks
from tidings.protocol.paths import Path, PathSet


def above(marks: TrimMarks, *paths: Path, after: int = 0) -> int | None:
    return marks.above(after, PathSet(paths))


def save(marks: TrimMarks, into: dict[tuple[str, str], int]) -> None:
    """Save the changed marks, like an adapter that commits a step."""
    for slot, offset in marks.changed().items():
        if offset is None:
            into.pop(slot, None)
        else:
            into[slot] = offset
    marks.commit()


def test_new_marks_report_nothing_trimmed() -> None:
    assert above(TrimMarks(), Path("data"), Path("system")) is None


def test_trimmed_channel_is_reported_to_its_readers() -> None:
    marks = TrimMarks()
    marks.mark_trimmed("data", 7)
    marks.mark_trimmed("data", 5)  # a row that was kept as the newest may be deleted later
    assert above(marks, Path("data")) == above(marks, Path("data", "a")) == 7
    assert above(marks, Path("data", "a", prefix=True)) == 7
    assert above(marks, Path("system")) is None
    assert above(marks, Path("system"), Path("data"), after=6) == 7
    assert above(marks, Path("data"), after=7) is None


def test_thinned_key_is_reported_to_its_readers() -> None:
    marks = TrimMarks()
    marks.mark_trimmed("operations", 2)
    marks.mark_thinned("operations", "ab", 9)
    marks.mark_thinned("operations", "ab", 8)
    assert above(marks, Path("operations")) == 9
    assert above(marks, Path("operations", "ab")) == 9
    assert above(marks, Path("operations", "a", prefix=True)) == 9
    assert above(marks, Path("operations", "a")) == 2
    assert above(marks, Path("operations", "b", prefix=True)) == 2
    assert above(marks, Path("data")) is None


def test_merged_key_mark_counts_for_its_channel() -> None:
    """Otherwise a reader below it would miss the gap: the range may begin above it with nothing else trimmed."""
    marks = TrimMarks()
    marks.mark_thinned("operations", "a", 5)
    marks.mark_thinned("operations", "b", 8)
    marks.merge_keys(5)
    assert above(marks, Path("operations", "a")) == 5
    assert above(marks, Path("operations", "c")) == 5
    assert above(marks, Path("operations", "b")) == 8
    marks.merge_keys(4)
    assert above(marks, Path("operations", "b")) == 8


def test_marks_of_thinned_keys_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.log.trim_marks.MAX_THINNED_KEYS", 10)
    marks, into = TrimMarks(), dict[tuple[str, str], int]()
    for number in range(1, 101):
        marks.mark_thinned("operations", f"key-{number}", number)
        save(marks, into)
        assert len(into) <= 11
        assert above(marks, Path("operations", f"key-{number}")) == number
        assert all((above(marks, Path("operations", f"key-{other}")) or 0) >= other for other in range(1, number))
    assert above(marks, Path("operations")) == 100


def test_roll_back_restores_the_marks() -> None:
    marks, into = TrimMarks(), dict[tuple[str, str], int]()
    marks.mark_trimmed("data", 3)
    marks.mark_thinned("data", "a", 4)
    save(marks, into)
    marks.mark_trimmed("data", 30)
    marks.mark_thinned("data", "a", 40)
    marks.mark_thinned("data", "b", 50)
    marks.mark_thinned("system", "c", 60)
    marks.merge_keys(40)
    marks.roll_back()
    assert marks.changed() == {}
    assert above(marks, Path("data")) == 4
    assert above(marks, Path("data", "a")) == 4
    assert above(marks, Path("data", "b")) == 3
    assert above(marks, Path("system")) is None
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
def test_saved_marks_equal_the_marks_in_memory(steps: list[tuple[str, str, str, int]]) -> None:
    marks, into = TrimMarks(), dict[tuple[str, str], int]()
    gone: dict[tuple[str, str], int] = {}
    before = dict(gone)
    for step, channel, key, offset in steps:
        match step:
            case "trim":
                marks.mark_trimmed(channel, offset)
                for other in ("a", "ab", "b"):
                    gone[channel, other] = max(offset, gone.get((channel, other), 0))
            case "thin":
                marks.mark_thinned(channel, key, offset)
                gone[channel, key] = max(offset, gone.get((channel, key), 0))
            case "forget":
                marks.merge_keys(offset)
            case "commit":
                save(marks, into)
                before = dict(gone)
            case "roll_back":
                marks.roll_back()
                gone = dict(before)
            case _:  # uncommitted marks are lost
                marks = TrimMarks()
                marks.restore((channel, key, offset) for (channel, key), offset in into.items())
                gone = dict(before)
        for (at, of), highest in gone.items():
            reported = above(marks, Path(at, of)) or 0
            assert reported >= highest, "an event is missing, but no mark reports it"
            assert (above(marks, Path(at)) or 0) >= reported
            assert (above(marks, Path(at, of[0], prefix=True)) or 0) >= reported
