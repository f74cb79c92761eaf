import pytest

from tidings.cli.run.reader.patterns import Ordinal, Outcome, ProgressReading
from tidings.cli.run.reader.steps import Steps


def share(percent: float) -> ProgressReading:
    return ProgressReading(percent, "", None, None, drawn=True, certain=True)


def counted(done: float, total: float | None) -> ProgressReading:
    percent = 100 * done / total if total is not None else 0.0
    return ProgressReading(percent, "", done, total, drawn=True, certain=True)


def under_way(index: int, total: int, kind: str = "epoch") -> Ordinal:
    return Ordinal(kind, index, total, f"{kind} {index}/{total}", Outcome.UNDER_WAY)


def begun(index: int, total: int) -> Ordinal:
    return Ordinal("of", index, total, f"model {index}", Outcome.BEGUN)


def finished(index: int, total: int) -> Ordinal:
    return Ordinal("of", index, total, f"model {index}", Outcome.FINISHED)


def test_initial_progress_is_unknown() -> None:
    steps = Steps()
    assert (steps.serial, steps.percent, steps.name, steps.total) == (0, None, "", 0)


def test_clear_fall_begins_the_next_step() -> None:
    steps = Steps()
    steps.advance(share(70), "", bar=1)
    assert (steps.serial, steps.percent, steps.name) == (1, 70, "")
    steps.advance(share(5), "", bar=1)
    assert (steps.serial, steps.percent, steps.name) == (2, 5, "step 2")


def test_jitter_does_not_lower_the_percentage() -> None:
    steps = Steps()
    for percent in (40, 38, 41):
        steps.advance(share(percent), "", bar=1)
    assert (steps.serial, steps.percent) == (1, 41)
    steps.advance(share(39), "", bar=1)
    assert steps.percent == 41


def test_any_fall_of_a_full_bar_begins_the_next_step() -> None:
    steps = Steps()
    steps.advance(share(99.9), "", bar=1)
    steps.advance(share(100), "", bar=1)
    assert steps.percent == 99
    steps.advance(share(95), "", bar=1)
    assert (steps.serial, steps.percent) == (2, 95)


def test_new_bar_with_new_label_is_the_next_step_even_if_further() -> None:
    steps = Steps()
    steps.advance(share(10), "train", bar=1)
    steps.advance(share(50), "test", bar=2)
    assert (steps.serial, steps.percent, steps.name) == (2, 50, "test")


def test_new_label_and_total_on_one_row_is_the_next_step() -> None:
    steps = Steps()
    steps.advance(counted(3, 5), "train", bar=1)
    steps.advance(counted(4, 500), "test", bar=1)
    assert (steps.serial, steps.name) == (2, "test")


def test_new_description_of_one_bar_is_not_a_new_step() -> None:
    steps = Steps()
    steps.advance(counted(3, 50), "reading a.csv", bar=1)
    steps.advance(counted(4, 50), "reading b.csv", bar=1)
    assert (steps.serial, steps.percent, steps.name) == (1, 8, "reading b.csv")


def test_description_with_changing_numbers_keeps_its_name() -> None:
    steps = Steps()
    steps.advance(counted(3, 50), "loss 0.31", bar=1)
    steps.advance(counted(4, 50), "loss 0.29", bar=1)
    assert steps.name == "loss 0.31"


def test_growing_total_keeps_the_bar_and_its_percentage() -> None:
    steps = Steps()
    steps.advance(counted(50, 100), "", bar=1)
    steps.advance(counted(51, 200), "", bar=1)
    assert (steps.serial, steps.percent) == (1, 50)
    steps.advance(counted(150, 200), "", bar=1)
    assert (steps.serial, steps.percent) == (1, 75)


def test_new_total_after_a_full_bar_is_the_next_step() -> None:
    steps = Steps()
    steps.advance(counted(9, 10), "", bar=1)
    steps.advance(counted(10, 10), "", bar=1)
    steps.advance(counted(10, 500), "", bar=1)
    assert (steps.serial, steps.percent) == (2, 2)


def test_bytes_without_total_separate_rsyncs_estimate_and_next_file() -> None:
    steps = Steps()
    for percent, size in ((90.0, 900.0), (40.0, 1_000.0), (5.0, 100.0)):
        steps.advance(ProgressReading(percent, "", size, None, drawn=True, certain=True), "", bar=1)
        if size == 1_000.0:
            assert (steps.serial, steps.percent) == (1, 90)
    assert (steps.serial, steps.percent) == (2, 5)


def test_bar_first_seen_full_names_a_step_without_percentage() -> None:
    steps = Steps()
    steps.advance(share(100), "a step that has ended before", bar=1)
    assert (steps.serial, steps.percent, steps.name) == (0, None, "")
    steps.advance(share(50), "large.whl", bar=2)
    steps.advance(share(100), "small.whl", bar=3)
    assert (steps.serial, steps.percent, steps.name) == (2, None, "small.whl")


def test_repeated_name_is_numbered() -> None:
    steps = Steps()
    names = []
    for number, label in enumerate(("train", "test", "train", "test", "")):
        steps.advance(share(50), label, bar=number)
        names.append(steps.name)
    assert names == ["train", "test", "train (2)", "test (2)", "step 5"]


def test_numbered_parts_give_the_percentage_of_the_whole() -> None:
    steps = Steps()
    steps.enter(under_way(1, 4))
    steps.advance(share(50), "", bar=1)
    assert (steps.percent, steps.name, steps.total) == (12.5, "epoch 1/4", 4)
    steps.enter(under_way(2, 4))
    assert steps.percent == 25
    steps.advance(share(0), "", bar=2)
    steps.advance(share(100), "", bar=2)
    assert steps.percent == pytest.approx(100 * (1 + 0.99) / 4)
    assert steps.serial == 1


def test_bar_over_the_same_parts_counts_once() -> None:
    steps = Steps()
    steps.enter(under_way(3, 4))
    steps.advance(counted(2, 4), "", bar=1)
    assert steps.percent == 50


def test_batches_count_within_epochs() -> None:
    steps = Steps()
    steps.enter(under_way(2, 4))
    steps.enter(under_way(6, 10, kind="batch"))
    assert (steps.percent, steps.name, steps.total) == (37.5, "epoch 2/4", 4)


def test_parallel_parts_are_counted_as_they_finish() -> None:
    steps = Steps()
    for index in (1, 2, 3):
        steps.enter(begun(index, 4))
    assert steps.percent == 0
    steps.enter(finished(3, 4))
    assert steps.percent == 25
    steps.enter(begun(4, 4))
    steps.enter(finished(4, 4))
    assert (steps.percent, steps.name) == (50, "model 4")
    steps.enter(finished(1, 4))
    steps.enter(finished(2, 4))
    assert (steps.percent, steps.serial) == (99, 1)


def test_restarted_parts_are_the_next_step() -> None:
    steps = Steps()
    steps.enter(under_way(4, 4))
    steps.enter(under_way(1, 4))
    assert (steps.serial, steps.percent) == (2, 0)
    steps.enter(under_way(2, 7))
    assert (steps.serial, steps.total) == (3, 7)


def test_late_heading_changes_nothing() -> None:
    steps = Steps()
    steps.enter(under_way(60, 100, kind="["))
    steps.enter(under_way(58, 100, kind="["))
    assert (steps.serial, steps.percent, steps.name) == (1, 59, "[ 60/100")


def test_withdrawn_announcement_ends_its_step() -> None:
    steps = Steps()
    steps.advance(share(50), "", bar=1)
    steps.forget_bar()
    steps.advance(share(60), "", bar=1)
    assert (steps.serial, steps.percent) == (2, 60)


def test_part_of_many_has_a_name_and_no_percentage() -> None:
    steps = Steps()
    steps.advance(share(10), "worker 1", bar=1)
    steps.advance(share(20), "worker 1", bar=1, part=True)
    assert (steps.serial, steps.percent, steps.name) == (2, None, "worker 1 (2)")


def test_known_program_states_the_whole_past_a_few_points_of_jitter() -> None:
    steps = Steps()
    steps.advance_whole(share(100), "done", 0, "webpack")
    steps.advance_whole(share(99), "cache", 0, "webpack")
    assert (steps.serial, steps.percent, steps.whole, steps.whole_lasts) == (1, 99, True, True)
    steps.advance_whole(share(5), "", 0, "webpack")
    assert (steps.serial, steps.percent) == (2, 5)


def test_next_row_of_a_runner_goes_on_with_the_same_step() -> None:
    steps = Steps()
    steps.advance(share(22), "test_a.py", bar=1)
    steps.advance(share(25), "test_b.py", bar=2)
    assert (steps.serial, steps.percent, steps.name) == (1, 25, "test_b.py")
