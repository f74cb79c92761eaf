from tidings.cli.run.reader.bars import Bars, Lead
from tidings.cli.run.reader.patterns import ProgressReading


def bar(percent: float, label: str = "") -> ProgressReading:
    return ProgressReading(percent, label, None, None, drawn=True, certain=True)


def draw(bars: Bars, row: int, gauge: ProgressReading, *, proven: bool = True) -> Lead | None:
    return bars.update(row, gauge, caption="", logged=False, proven=proven)


def log(bars: Bars, row: int, gauge: ProgressReading) -> Lead | None:
    return bars.update(row, gauge, caption="", logged=True, proven=True)


def test_topmost_bar_leads_while_the_cursor_returns_to_it() -> None:
    bars = Bars()
    assert draw(bars, 0, bar(10, "outer")) is not None
    for share in range(0, 100, 10):
        bars.rise(0, 1)
        assert draw(bars, 1, bar(share, "inner")) is None
    lead = draw(bars, 0, bar(20, "outer"))
    assert lead is not None
    assert lead.label == "outer"


def test_abandoned_bar_gives_way_at_the_next_bars_second_drawing() -> None:
    bars = Bars()
    draw(bars, 0, bar(60, "abandoned"))
    assert draw(bars, 1, bar(0, "next")) is None
    lead = draw(bars, 1, bar(10, "next"))
    assert lead is not None
    assert lead.label == "next"


def test_full_bar_gives_way_immediately() -> None:
    bars = Bars()
    draw(bars, 0, bar(90, "first"))
    full = draw(bars, 0, bar(100, "first"))
    assert full is not None
    assert draw(bars, 1, bar(0, "second")) is not None


def test_filling_of_the_leader_is_reported_while_others_go_on() -> None:
    bars = Bars()
    draw(bars, 0, bar(90, "first"))
    bars.rise(0, 1)
    draw(bars, 1, bar(10, "second"))
    bars.rise(0, 1)
    assert draw(bars, 0, bar(100, "first")) is not None
    lead = draw(bars, 1, bar(20, "second"))
    assert lead is not None
    assert lead.label == "second"
    bars.rise(0, 1)
    assert draw(bars, 0, bar(100, "first")) is None


def test_unproven_bar_keeps_its_row_until_the_cursor_rises_over_it() -> None:
    bars = Bars()
    assert draw(bars, 0, bar(0, "outer"), proven=False) is None
    lead = bars.rise(0, 1)
    assert lead is not None
    assert lead.label == "outer"
    assert bars.rise(0, 1) is None


def test_row_with_other_text_is_no_longer_a_bar() -> None:
    bars = Bars()
    draw(bars, 0, bar(10, "gone"))
    bars.vacate(0)
    assert draw(bars, 1, bar(5, "next")) is not None


def test_progress_in_a_log_is_one_bar_on_many_rows() -> None:
    bars = Bars()
    numbers = [lead.bar for row in range(5) if (lead := log(bars, row, bar(row * 10.0, "Progress"))) is not None]
    assert numbers == [1] * 5


def test_log_progress_ranks_between_earlier_and_later_bars() -> None:
    bars = Bars()
    log(bars, 0, bar(10, "tests"))
    assert draw(bars, 1, bar(50, "a bar in a test")) is None
    assert draw(bars, 1, bar(60, "a bar in a test")) is None
    other = Bars()
    draw(other, 5, bar(10, "display"))
    assert log(other, 3, bar(50, "printed above it")) is None


def test_full_percentage_in_a_log_is_not_a_bar() -> None:
    bars = Bars()
    assert log(bars, 0, bar(100, "download")) is None
    assert draw(bars, 1, bar(10)) is not None


def test_new_unnamed_bar_takes_the_caption() -> None:
    bars = Bars()
    lead = bars.update(3, bar(10), caption="alpha.whl", logged=False, proven=True)
    assert lead is not None
    assert (lead.label, lead.caption) == ("", "alpha.whl")
    assert not bars.is_new(3)
    assert bars.is_new(4)


def test_memory_is_bounded() -> None:
    bars = Bars()
    for row in range(10_000):
        draw(bars, row, bar(10))
    assert len(bars._bars) <= 64


def test_bars_of_one_form_drawn_in_turns_are_parts() -> None:
    bars = Bars()
    first = draw(bars, 0, bar(10, "worker 1"))
    draw(bars, 1, bar(10, "worker 2"))
    second = draw(bars, 0, bar(20, "worker 1"))
    assert first is not None
    assert second is not None
    assert (first.part, second.part) == (False, True)


def test_bar_is_the_same_after_another_text_on_its_row() -> None:
    bars = Bars()
    first = draw(bars, 0, bar(10))
    bars.vacate(0)
    second = draw(bars, 0, bar(20))
    assert first is not None
    assert second is not None
    assert first.bar == second.bar


def test_bar_that_ends_one_row_higher_moves_and_pushes_the_outer_down() -> None:
    bars = Bars()
    outer = draw(bars, 0, bar(0, "all"))
    draw(bars, 1, bar(50, "a.json"))
    assert draw(bars, 0, bar(100, "a.json")) is None
    lead = draw(bars, 1, bar(20, "all"))
    assert outer is not None
    assert lead is not None
    assert (lead.bar, lead.label) == (outer.bar, "all")
