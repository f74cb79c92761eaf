from datetime import UTC

import pytest
from tests.cli.watch.event_likes import away, complete, failed, progress, start

from tidings.cli.watch.plain_view import PlainView
from tidings.client.events import Gap, Live


@pytest.fixture
def plain() -> PlainView:
    return PlainView(zone=UTC)


def test_start_line_names_host_user_and_pid(plain: PlainView) -> None:
    line = plain.apply(start("a", name="import", host="db1", pid=7, user="ada"))
    assert line == "12:00:00 ▶ import started  on db1  by ada  pid 7"
    assert plain.apply(start("b", queued=True)) == "12:00:00 ▶ b queued"


def test_progress_is_printed_at_each_tenth_and_each_step(plain: PlainView) -> None:
    plain.apply(start("a"))
    told = [plain.apply(progress("a", percent, 1, current_step="load")) for percent in range(0, 101)]
    assert [line for line in told if line][:3] == [
        "12:00:01   a  0%  load",
        "12:00:01   a  10%  load",
        "12:00:01   a  20%  load",
    ]
    assert len([line for line in told if line]) == 11
    assert plain.apply(progress("a", 100, 2, current_step="save", message="x")) == "12:00:02   a  100%  save  x"


def test_progress_after_an_end_is_printed_again(plain: PlainView) -> None:
    assert plain.apply(progress("a", 50)) is not None
    assert plain.apply(progress("a", 51)) is None
    assert plain.apply(complete("a", 5)) == "12:00:05 ✔ a complete in 5.0 s"
    assert plain.apply(progress("a", 51, 6)) is not None


def test_gap_leaves_a_line_and_live_does_not(plain: PlainView) -> None:
    assert plain.apply(Gap(after="x:1", until="x:2", reason="trimmed")) == "… some events are missing here (trimmed)"
    assert plain.apply(Live(position="x:2", outcome="gap")) is None


def test_next_attempt_is_marked(plain: PlainView) -> None:
    plain.apply(failed("a", 1))
    assert plain.apply(start("a", 5, name="import", host="db1")) == "12:00:05 ▶ import started  2nd attempt  on db1"


def test_producers_absence_and_return_are_printed(plain: PlainView) -> None:
    plain.apply(start("a", name="import"))
    assert plain.apply(away("a", 15)) == "12:00:15 ! import  its producer is away"
    back = plain.apply(away("a", 20, state="cleared", message="the producer is back"))
    assert back == "12:00:20   import  the producer is back"
