from datetime import UTC

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
    assert back == "12:00:20   import  the producer is back"


def test_concerns_of_the_hub_are_printed_as_they_begin_and_end(plain: PlainView) -> None:
    apply(plain, start("a", name="import"))
    assert apply(plain, estimate("a", 20, away_since=at(15))) == "12:00:20 ! import  producer away for 5 s"
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
    assert plain.apply(estimate("a", 20, away_since=at(15)), now_s) == "12:00:20 ! import  producer away for 5 s"
