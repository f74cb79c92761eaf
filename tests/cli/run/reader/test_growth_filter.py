from tidings.cli.run.reader.bars import GrowthFilter
from tidings.cli.run.reader.patterns import read_progress


def believed(*lines: str, redrawn: bool = False) -> list[bool]:
    evidence = GrowthFilter()
    answers = []
    for line in lines:
        gauge = read_progress(line, redrawn=redrawn)
        assert gauge is not None
        answers.append(evidence.confirms(line, gauge, redrawn=redrawn))
    return answers


def test_three_rising_lines_of_one_form_are_progress() -> None:
    assert believed("cooking 10%", "cooking 20%", "cooking 30%", "cooking 5%") == [False, False, True, True]


def test_the_item_of_a_counter_may_change() -> None:
    assert believed("shard 1/10", "shard 2/10", "shard 3/10") == [False, False, True]


def test_table_of_results_is_not_progress() -> None:
    table = ("a.py  120  6  95%", "b.py  80  0  100%", "c.py  10  1  90%", "TOTAL  210  7  97%")
    assert not any(believed(*table))


def test_falling_or_constant_values_are_not_progress() -> None:
    assert not any(believed("load: at 40%", "load: at 41%", "load: at 38%", "load: at 39%", "load: at 39%"))


def test_display_needs_one_rise() -> None:
    assert believed("files 1/10 x", "files 2/10 y", redrawn=True) == [False, True]


def test_memory_is_bounded() -> None:
    evidence = GrowthFilter()
    for number in range(1_000):
        line = f"item{chr(97 + number % 26)}{'x' * (number // 26)} 5%"
        gauge = read_progress(line, redrawn=False)
        assert gauge is not None
        evidence.confirms(line, gauge, redrawn=False)
    assert len(evidence._seen) == 64
