from datetime import UTC
from itertools import permutations, product

import pytest
from tests.cli.watch.event_likes import NOON, at, away, complete, estimate, failed, progress, sight, start

from tidings.cli.watch.plain_view import PlainView
from tidings.cli.watch.state import EventLike, seconds
from tidings.cli.watch.view import EventFilter, WatchView
from tidings.client.events import Gap, Live


@pytest.fixture
def plain() -> PlainView:
    return PlainView(WatchView(zone=UTC), zone=UTC)


def apply(plain: PlainView, event: EventLike) -> str | None:
    return plain.apply(event, seconds(event))


def test_start_line_names_host_user_and_pid(plain: PlainView) -> None:
    line = apply(plain, start("a", name="import", host="db1", pid=7, user="ada"))
    assert line == "12:00:00 ▶ import started  on db1  by ada  pid 7"
    assert apply(plain, start("b", queued=True)) == "12:00:00 ▶ b queued"


def test_progress_is_printed_at_each_tenth_and_each_step(plain: PlainView) -> None:
    apply(plain, start("a"))
    told = [apply(plain, progress("a", percent, 1, current_step="load")) for percent in range(0, 101)]
    assert [line for line in told if line][:3] == [
        "12:00:01   a  0%  load",
        "12:00:01   a  10%  load",
        "12:00:01   a  20%  load",
    ]
    assert len([line for line in told if line]) == 11
    assert apply(plain, progress("a", 100, 2, current_step="save", message="x")) == "12:00:02   a  100%  save  x"


def test_progress_after_an_end_is_printed_again(plain: PlainView) -> None:
    assert apply(plain, progress("a", 50)) is not None
    assert apply(plain, progress("a", 51)) is None
    assert apply(plain, complete("a", 5)) == "12:00:05 ✔ a complete in 5.0 s"
    assert apply(plain, progress("a", 51, 6)) is not None


def test_progress_without_any_figure_or_text_leaves_no_line(plain: PlainView) -> None:
    apply(plain, start("a"))
    assert apply(plain, progress("a", 0, 1, indeterminate=True)) is None
    assert apply(plain, progress("a", 0, 2, indeterminate=True, message="row 7")) == "12:00:02   a  row 7"
    assert apply(plain, progress("a", 0, 3)) == "12:00:03   a  0%"


def test_gap_leaves_a_line_and_live_does_not(plain: PlainView) -> None:
    assert (
        plain.apply(Gap(after="x:1", until="x:2", reason="trimmed"), NOON) == "… some events are missing here (trimmed)"
    )
    assert plain.apply(Live(position="x:2", outcome="gap"), NOON) is None


def test_next_attempt_is_marked(plain: PlainView) -> None:
    apply(plain, failed("a", 1))
    assert apply(plain, start("a", 5, name="import", host="db1")) == "12:00:05 ▶ import started  2nd attempt  on db1"


def test_producers_absence_and_return_are_printed(plain: PlainView) -> None:
    apply(plain, start("a", name="import"))
    assert apply(plain, away("a", 15)) == "12:00:15 ! import  its producer is away"
    back = apply(plain, away("a", 20, state="cleared", message="the producer is back"))
    assert back == "12:00:20   import  its producer is back"


@pytest.mark.parametrize("orders", list(product(permutations(range(3)), permutations(range(2)))))
def test_absence_leaves_one_line_whatever_reports_it_first(
    plain: PlainView, orders: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    going = [away("a", 15), estimate("a", 15, away_since=at(0)), estimate("a", 15, away_since=at(0), remaining_s=9)]
    coming = [away("a", 20, state="cleared", message="the producer is back"), estimate("a", 20)]
    apply(plain, start("a", name="import"))
    told = [apply(plain, going[index]) for index in orders[0]] + [apply(plain, coming[index]) for index in orders[1]]
    assert [line for line in told if line] == [
        "12:00:15 ! import  its producer is away",
        "12:00:20   import  its producer is back",
    ]


def test_cleared_alert_after_the_end_leaves_no_line(plain: PlainView) -> None:
    apply(plain, start("a", name="import"))
    apply(plain, away("a", 15))
    assert apply(plain, failed("a", 30)) is not None
    assert apply(plain, away("a", 30, state="cleared", message="the operation has failed")) is None


def test_alert_about_a_selected_name_leaves_its_line() -> None:
    plain = PlainView(WatchView(zone=UTC, selection=EventFilter(name="import")), zone=UTC)
    for event in (start("a", name="import"), start("b", name="backup")):
        apply(plain, event)
    assert apply(plain, away("b", 15)) is None
    assert apply(plain, away("a", 15)) == "12:00:15 ! import  its producer is away"
    assert apply(plain, estimate("a", 16, away_since=at(0))) is None


def test_estimate_that_brings_a_stall_and_a_cancel_leaves_both(plain: PlainView) -> None:
    apply(plain, start("a", name="import"))
    both = {"cancel_requested_at": at(90), "cancelled_by": "ada"}
    line = apply(plain, estimate("a", 95, stalled=True, stalled_since=at(20), **both))
    assert line == "12:01:35 ! import  stalled for 75 s  stopping, asked by ada"
    assert apply(plain, estimate("a", 96, stalled=True, stalled_since=at(20), **both)) is None
    assert apply(plain, estimate("a", 99, **both)) == "12:01:39   import  it advances again"


def test_concerns_of_the_hub_are_printed_as_they_begin_and_end(plain: PlainView) -> None:
    apply(plain, start("a", name="import"))
    assert apply(plain, estimate("a", 20, away_since=at(15))) == "12:00:20 ! import  its producer is away"
    assert apply(plain, away("a", 30)) is None, "it was reported"
    assert apply(plain, estimate("a", 40)) == "12:00:40   import  its producer is back"
    assert apply(plain, estimate("a", 200, stalled=True, stalled_since=at(80))) == (
        "12:03:20 ! import  stalled for 2 min"
    )
    assert apply(plain, estimate("a", 205, stalled=True, stalled_since=at(80))) is None
    assert apply(plain, estimate("a", 210)) == "12:03:30   import  it advances again"
    cancel = estimate("a", 300, cancel_requested_at=at(300), cancelled_by="ada")
    assert apply(plain, cancel) == "12:05:00 ! import  stopping, asked by ada"


def test_description_of_a_running_operation_is_no_second_start(plain: PlainView) -> None:
    apply(plain, start("a", name="import"))
    apply(plain, progress("a", 40, 1))
    assert apply(plain, start("a", 2, name="import prices")) is None
    assert plain.view.operations.running["a"].percent == 40


def test_selected_name_leaves_the_lines_of_its_operations_only() -> None:
    plain = PlainView(WatchView(zone=UTC, selection=EventFilter(name="import*")), zone=UTC)
    events = [
        start("a", name="import prices"),
        start("b", name="backup"),
        start("c", name="unzip", parent_id="a"),
        sight("data:update", 1, dataset="x"),
        progress("b", 10, 1),
        complete("b", 2),
        failed("c", 3),
    ]
    assert [line for event in events if (line := apply(plain, event))] == [
        "12:00:00 ▶ import prices started",
        "12:00:00 ▶ unzip started",
        "12:00:03 ✘ unzip failed after 3.0 s  exit_3  exit code 3",
    ]
    assert (plain.view.operations.complete, plain.view.operations.failed) == (0, 1)


def test_failed_selection_leaves_failures_only() -> None:
    plain = PlainView(WatchView(zone=UTC, selection=EventFilter(failed=True)), zone=UTC)
    events = [start("a"), progress("a", 1, 1), complete("a", 2), start("b"), failed("b", 3)]
    assert [line[:20] for event in events if (line := apply(plain, event))] == ["12:00:03 ✘ b failed "]


def test_concern_in_history_has_its_age_at_that_time(plain: PlainView) -> None:
    apply(plain, start("a", name="import"))
    now_s = NOON + 600
    stalled = estimate("a", 95, stalled=True, stalled_since=at(20))
    assert plain.apply(stalled, now_s) == "12:01:35 ! import  stalled for 75 s"
