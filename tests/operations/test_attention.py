from hypothesis import given
from hypothesis import strategies as st

from tidings.operations.attention import Attention, Candidate, Place, arrange, attention_order


def candidate(
    id: str, attention: Attention = Attention.NONE, began_s: float = 0, parent: str | None = None
) -> Candidate:
    return Candidate(id, attention, began_s, parent)


def test_order_is_failed_away_stalled_silent_then_newest() -> None:
    found = [candidate(str(each), each) for each in reversed(Attention)]
    newest = candidate("newest", began_s=9)
    ids = [each.operation_id for each in sorted([*found, newest], key=attention_order)]
    assert ids == ["0", "1", "2", "3", "newest", "4"]


def test_operations_that_need_attention_stay_if_not_all_fit() -> None:
    busy = [candidate(f"busy-{number}", began_s=number) for number in range(200)]
    stuck = [candidate("stuck", Attention.STALLED, began_s=-100), candidate("dead", Attention.AWAY, began_s=-200)]
    assert [place.operation_id for place in arrange([*busy, *stuck], 4)] == ["dead", "stuck", "busy-199", "busy-198"]


def test_children_are_below_their_parent_in_the_order_of_their_need() -> None:
    found = [
        candidate("root"),
        candidate("other", began_s=5),
        candidate("well", began_s=9, parent="root"),
        candidate("stuck", Attention.STALLED, began_s=1, parent="root"),
        candidate("deep", parent="well"),
    ]
    assert arrange(found, 10) == [
        Place("root", 0),
        Place("stuck", 1),
        Place("well", 1),
        Place("deep", 2),
        Place("other", 0),
    ]


def test_stuck_child_is_chosen_with_its_parent() -> None:
    found = [candidate(f"busy-{number}", began_s=number) for number in range(9)]
    found += [candidate("root", began_s=-9), candidate("stuck", Attention.STALLED, parent="root", began_s=-8)]
    assert arrange(found, 3) == [Place("root", 0), Place("stuck", 1), Place("busy-8", 0)]
    assert arrange(found, 1) == [Place("stuck", 0)]


def test_cycle_of_parents_hides_no_operation() -> None:
    found = [
        candidate("a", parent="b"),
        candidate("b", parent="a"),
        candidate("c", parent="c"),
        candidate("d", parent="a"),
    ]
    assert sorted(place.operation_id for place in arrange(found, 10)) == ["a", "b", "c", "d"]


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.sampled_from(Attention), st.floats(0, 9), st.none() | st.integers(0, 12)),
        unique_by=lambda each: each[0],
    ),
    st.integers(0, 14),
)
def test_arrangement_fills_the_lines_and_repeats_nothing(
    drawn: list[tuple[int, Attention, float, int | None]], lines: int
) -> None:
    found = [
        candidate(str(id), attention, began_s, None if parent is None else str(parent))
        for id, attention, began_s, parent in drawn
    ]
    ids = [place.operation_id for place in arrange(found, lines)]
    assert len(ids) == len(set(ids)) == min(lines, len(found))
    if ids:
        assert min(found, key=attention_order).operation_id in ids
