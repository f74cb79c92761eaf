from datetime import UTC

import pytest
from rich.cells import cell_len
from rich.console import Console
from tests.cli.watch.event_likes import NOON, at, away, cancelled, complete, estimate, failed, progress, sight, start

from tidings.cli.watch.state import seconds
from tidings.cli.watch.view import ConnectionState, EventFilter, WatchView
from tidings.client.events import Gap, Live

LIVE = Live(position="x:1", outcome="snapshot")
LINK = ConnectionState("ws://127.0.0.1:8765/ws", "live")


def drawn(
    view: WatchView, at: float = 0, *, width: int = 100, height: int = 24, link: ConnectionState = LINK
) -> list[str]:
    """Return the picture's lines, without colours."""
    console = Console(width=width, height=height, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(view.render(link, NOON + at, width, height))
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.fixture
def view() -> WatchView:
    return WatchView(zone=UTC)


def lines(view: WatchView, *events: object) -> list[str]:
    """Apply events and return the lines they left for good."""
    left = [view.apply(event, seconds(event)) for event in events]  # type: ignore[arg-type]
    return [line.plain for line in left if line is not None]


def test_view_without_operations_shows_the_status_line(view: WatchView) -> None:
    assert drawn(view) == ["● live  0 running  ws://127.0.0.1:8765/ws"]


def test_operation_shows_bar_name_percent_elapsed_step_and_message(view: WatchView) -> None:
    news = progress("a", 42.9, 60, current_step="load", message="3 of 7")
    assert lines(view, start("a", name="import prices"), news) == []
    bar, status = drawn(view, 65)
    assert bar.startswith("a import prices ━━━")
    assert bar.endswith(" 42%  1:05 load  3 of 7")
    assert "1 running" in status


def test_indeterminate_operation_pulses_without_percentage(view: WatchView) -> None:
    lines(view, start("a"), progress("a", 0, 5, indeterminate=True, message="thinking"))
    bar, _ = drawn(view, 6)
    assert "%" not in bar
    assert "━" in bar
    assert bar.endswith("0:06 thinking")


def test_queued_operation_is_marked_until_it_begins(view: WatchView) -> None:
    lines(view, start("a", queued=True))
    assert "queued" in drawn(view)[0]
    lines(view, start("a", 3))
    assert "queued" not in drawn(view, 4)[0]


def test_progress_of_an_unknown_operation_counts_as_start(view: WatchView) -> None:
    lines(view, progress("op-7", 10))
    assert drawn(view, 2)[0].startswith("op-7 ")


def test_operation_without_events_is_shown_as_silent(view: WatchView) -> None:
    lines(view, start("a"), progress("a", 10, 5, message="waiting"))
    assert "silent" not in drawn(view, 60)[0]
    assert "silent 2:00  waiting" in drawn(view, 125)[0]


def test_finished_operation_leaves_one_permanent_line(view: WatchView) -> None:
    left = lines(
        view,
        *(start(id) for id in "abc"),
        complete("a", 72, message="12 files"),
        failed("b", 80, code="exit_3", message="exit code 3", hint="Look at the last lines."),
        cancelled("c", 90, reason="Ctrl-C", cancelled_by="ada"),
    )
    assert left == [
        "12:01:12 ✔ a complete in 1:12  12 files",
        "12:01:20 ✘ b failed after 1:20  exit_3  exit code 3\n  hint: Look at the last lines.",
        "12:01:30 ⊘ c cancelled by ada after 1:30  Ctrl-C",
    ]
    assert drawn(view, 100) == [
        "b ✘ failed 20 s ago  exit_3  exit code 3",
        "● live  0 running  1 needs attention  ✔ 1  ✘ 1  ⊘ 1  ws://127.0.0.1:8765/ws",
    ]


def test_producers_duration_takes_precedence(view: WatchView) -> None:
    assert lines(view, complete("a", 9, duration_ms=61_500)) == ["12:00:09 ✔ a complete in 1:01"]


def test_end_repeated_by_a_snapshot_is_reported_once(view: WatchView) -> None:
    assert len(lines(view, complete("a", 9), complete("a", 9))) == 1
    assert view.operations.complete == 1


def test_operation_that_runs_again_has_its_bar_again(view: WatchView) -> None:
    lines(view, start("a"), progress("a", 90, 1), failed("a", 2), start("a", 5))
    bar, status = drawn(view, 15)
    assert "%" not in bar
    assert "0:10" in bar
    assert "✘ 1" in status


def test_newest_operations_are_shown_if_not_all_fit(view: WatchView) -> None:
    lines(view, *(start(f"op-{number:02}", number) for number in range(20)))
    picture = drawn(view, 30, height=11)
    assert len(picture) == 10
    assert [line.split()[0] for line in picture[:8]] == [f"op-{number}" for number in range(19, 11, -1)]
    assert picture[8] == "… and 12 more running"


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 200])
def test_lines_fit_the_terminal_width(view: WatchView, width: int) -> None:
    lines(view, start("a", name="n" * 300), progress("a", 50, 1, current_step="s" * 300, message="m" * 300))
    picture = drawn(view, 7200, width=width)
    assert len(picture) == 2
    assert all(len(line) <= width for line in picture)


def test_published_text_cannot_control_the_terminal(view: WatchView) -> None:
    evil = "\x1b[2J\x9b31mred\r\nnext\u202ereversed\x07"
    left = lines(
        view,
        start("a", name=evil),
        progress("a", 10, 1, current_step=evil, message=evil),
        start("b"),
        failed("b", 2, code=evil, message=evil, hint=evil),
        sight("data:update", 3, dataset=evil),
        sight("acme:odd", 3, x=evil),
    )
    text = "".join(left + drawn(view, 5, link=ConnectionState(evil, "live", evil)))
    assert not set(text) & set("\x1b\x9b\r\x07\u202e")
    assert len(drawn(view, 5)) == 3


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (sight("data:update", dataset="prices", version=3, records=12), "data:update  prices  version 3  records 12"),
        (sight("data:processed", dataset="prices", url="https://x/y"), "data:processed  prices  https://x/y"),
        (
            sight("data:error", dataset="prices", code="bad_row", message="row 7", recoverable=True, hint="Fix it."),
            "data:error  prices  bad_row  row 7  hint: Fix it.",
        ),
        (
            sight("report:ready", name="July", format="pdf", size_bytes=1 << 20),
            "report:ready  July  format pdf  size 1 MiB",
        ),
        (
            sight(
                "system:alert",
                severity="critical",
                code="disk_full",
                message="no room",
                recoverable=True,
                hint="Go.",
            ),
            "system:alert  critical  disk_full  no room  hint: Go.",
        ),
        (
            sight("system:alert", severity="info", state="cleared", code="disk_full", message="room", recoverable=True),
            "system:alert  cleared  disk_full  room",
        ),
        (
            sight("operation:log", operation_id="a", level="warning", message="slow"),
            "operation:log  a  slow",
        ),
        (sight("license:expired", message="over"), "license:expired  over"),
        (sight("acme:odd", a=1), 'acme:odd  {"a":1}'),
    ],
)
def test_other_events_leave_one_line_each(view: WatchView, event: object, line: str) -> None:
    assert lines(view, event) == [f"12:00:00 {line}"]


def status(state: str, at: float) -> object:
    return sight("system:status", at, status=state, uptime=60, active_operations=1, metrics=None, source="tidings")


METRICS = sight("system:metrics", metrics={"rate": 1.5}, source="tidings")


def test_only_changes_of_a_system_status_are_shown(view: WatchView) -> None:
    events = [status(state, at) for at, state in enumerate(("healthy", "healthy", "degraded", "degraded", "healthy"))]
    assert lines(view, *events, METRICS) == [
        "12:00:02 system:status  tidings  degraded  up 1:00, 1 active",
        "12:00:04 system:status  tidings  healthy  up 1:00, 1 active",
    ]


def test_verbose_view_shows_every_status() -> None:
    view = WatchView(zone=UTC, verbose=True)
    assert len(lines(view, status("healthy", 0), status("healthy", 1), METRICS)) == 3


def test_operations_missing_from_the_snapshot_after_a_gap_end(view: WatchView) -> None:
    lines(view, start("a"), start("b"))
    told = view.note(Gap(after="x:1", until="x:9", reason="trimmed"))
    assert told is not None
    assert "missing" in told.plain
    lines(view, progress("b", 50, 3))
    assert view.note(Live(position="x:9", outcome="gap")) is not None
    assert list(view.operations.running) == ["b"]


def test_view_is_idle_when_live_without_running_operations(view: WatchView) -> None:
    lines(view, start("a"))
    view.note(LIVE)
    assert not view.idle
    assert view.has_begun
    lines(view, complete("a", 1))
    assert view.idle


def test_ends_before_the_watch_do_not_count_for_its_outcome(view: WatchView) -> None:
    lines(view, start("a"), failed("a", 1), start("b"))
    view.note(LIVE)
    assert (view.failures, view.has_begun) == (0, True)
    lines(view, failed("b", 5))
    view.note(Live(position="x:9", outcome="complete"))
    assert view.failures == 1, "a reconnect changes nothing"


def test_end_of_a_named_operation_before_the_watch_counts() -> None:
    view = WatchView(zone=UTC, selection=EventFilter(exact=True))
    lines(view, start("a"), failed("a", 1))
    view.note(LIVE)
    assert (view.idle, view.has_begun, view.failures) == (True, True, 1)


def test_empty_hub_is_idle_and_nothing_has_begun(view: WatchView) -> None:
    view.note(LIVE)
    assert (view.idle, view.has_begun) == (True, False)


@pytest.mark.parametrize(
    ("link", "said"),
    [
        (ConnectionState("ws://h/ws", "connecting"), "● connecting  "),
        (ConnectionState("ws://h/ws", "stale", "12s"), "● stale 12s  "),
        (
            ConnectionState("ws://h/ws", "reconnecting", "again in 3 s (no hub answers)"),
            "● reconnecting again in 3 s (no hub answers)  ",
        ),
    ],
)
def test_status_line_shows_the_connection_state(view: WatchView, link: ConnectionState, said: str) -> None:
    assert drawn(view, link=link)[-1].startswith(said)


def test_falling_progress_keeps_its_peak_until_the_next_attempt(view: WatchView) -> None:
    lines(view, start("a"), progress("a", 60, 1), progress("a", 20, 2))
    assert " 60% " in drawn(view, 3)[0]
    lines(view, progress("a", 20, 3, indeterminate=True))
    assert "%" not in drawn(view, 3)[0]
    lines(view, progress("a", 30, 4))
    assert " 60% " in drawn(view, 5)[0]
    lines(view, failed("a", 6), start("a", 7), progress("a", 10, 8))
    assert " 10% " in drawn(view, 9)[0]


def test_second_attempt_is_marked_while_running_and_at_its_end(view: WatchView) -> None:
    lines(view, start("a"), failed("a", 1), start("a", 5))
    assert drawn(view, 6)[0].endswith(" 2nd attempt")
    assert lines(view, complete("a", 10)) == ["12:00:10 ✔ a complete (2nd attempt) in 5.0 s"]
    assert lines(view, failed("b", 11, attempt=3))[0].startswith("12:00:11 ✘ b failed (3rd attempt)")


def test_queued_attempt_is_the_one_that_begins(view: WatchView) -> None:
    lines(view, start("a", queued=True), start("a", 4))
    assert "attempt" not in drawn(view, 5)[0]
    lines(view, failed("a", 6), start("a", 7, queued=True), start("a", 8))
    assert "2nd attempt" in drawn(view, 9)[0]


def test_remaining_time_counts_down_from_the_hubs_estimate(view: WatchView) -> None:
    lines(view, start("a"), progress("a", 40, 60, current_step="load"), estimate("a", 60, remaining_s=240))
    assert drawn(view, 60)[0].endswith(" ~4 min left  load")
    assert drawn(view, 110)[0].endswith(" ~3 min left  load")
    assert "left" not in drawn(view, 320)[0]


def test_estimate_of_an_operation_that_does_not_run_is_ignored(view: WatchView) -> None:
    assert lines(view, estimate("ghost", remaining_s=10)) == []
    assert drawn(view) == ["● live  0 running  ws://127.0.0.1:8765/ws"]


def test_stalled_operation_shows_since_when(view: WatchView) -> None:
    lines(
        view,
        start("a"),
        progress("a", 40, 10),
        progress("a", 40, 180),
        estimate("a", 185, stalled=True, stalled_since=at(10)),
    )
    assert drawn(view, 190)[0].endswith(" stalled for 3 min")
    lines(view, progress("a", 41, 200), estimate("a", 201, remaining_s=60))
    assert drawn(view, 201)[0].endswith(" ~60 s left")


def test_absent_producer_is_shown_at_its_operation(view: WatchView) -> None:
    assert lines(view, start("a"), away("a", 15)) == []
    assert drawn(view, 15)[0].endswith(" producer away"), "the alert has no time of the last sign of life"
    assert lines(view, estimate("a", 15, away_since=at(0)), away("a", 16)) == []
    assert drawn(view, 20)[0].endswith(" producer away for 20 s")
    assert lines(view, away("a", 22, state="cleared")) == []
    assert "away" not in drawn(view, 23)[0]


def test_alert_cleared_after_the_end_leaves_no_line(view: WatchView) -> None:
    lines(view, start("a"), away("a", 15), failed("a", 30))
    assert lines(view, away("a", 30, state="cleared")) == []


def test_absent_producer_of_an_unseen_operation_leaves_a_line(view: WatchView) -> None:
    assert lines(view, away("elsewhere")) == ["12:00:00 system:alert  warning  producer_away  its producer is away"]


# Attention.


def test_operations_that_need_attention_stay_above_all_others(view: WatchView) -> None:
    lines(view, start("dead", -300), start("stuck", -200), start("quiet", -100))
    lines(view, *(start(f"busy-{number:03}", number / 10) for number in range(200)))
    lines(view, progress("dead", 10, 20), progress("stuck", 10, 20))
    lines(view, estimate("dead", 25, away_since=at(20)), estimate("stuck", 90, stalled=True, stalled_since=at(20)))
    lines(view, *(progress(f"busy-{number:03}", 50, 90) for number in range(200)), failed("busy-007", 95))
    picture = drawn(view, 100, width=80)
    assert [line.split()[0] for line in picture[:5]] == ["busy-007", "dead", "stuck", "quiet", "busy-199"]
    assert "producer away for 80 s" in picture[1]
    assert "stalled for 80 s" in picture[2]
    assert "silent 3:20" in picture[3]
    assert picture[-2] == "… and 182 more running"
    assert "202 running  4 need attention" in picture[-1]


def test_failures_leave_half_of_the_lines_to_what_runs(view: WatchView) -> None:
    lines(view, *(failed(f"bad-{number:02}", number) for number in range(30)))
    lines(view, *(start(f"op-{number:02}", number) for number in range(30)))
    picture = drawn(view, 40, height=15)
    assert [line.split()[0] for line in picture[:6]] == [f"bad-{number}" for number in range(29, 23, -1)]
    assert sum(line.startswith("op-") for line in picture) == 6
    assert "… and 24 more running, 24 more failed" in picture


def test_failure_leaves_the_picture_when_it_begins_again_or_is_old(view: WatchView) -> None:
    lines(view, failed("a", 0), failed("b", 0), failed("c", 10))
    lines(view, start("a", 20), start("d", 20, resumes="b"))
    assert "✘ failed" in drawn(view, 30)[0]
    assert list(view.operations.failures) == ["c"]
    assert not any("✘ failed" in line for line in drawn(view, 911))


def test_children_are_drawn_below_their_parent(view: WatchView) -> None:
    lines(view, start("root", name="nightly"), start("other", 5), start("child", 1, name="load", parent_id="root"))
    lines(view, start("deep", 2, name="rows", parent_id="child"))
    names = [line.split("━")[0].strip() for line in drawn(view, 6)[:-1]]
    assert names == ["other", "root  nightly", "child └ load", "deep    └ rows"]


def test_pending_cancel_is_shown_with_its_requester(view: WatchView) -> None:
    lines(view, start("a"), estimate("a", 3, cancel_requested_at=at(3), cancelled_by="ada@laptop"))
    assert drawn(view, 5)[0].endswith(" stopping, asked by ada@laptop")
    lines(view, estimate("a", 6))
    assert "stopping" not in drawn(view, 7)[0]


def test_wrong_clock_of_a_producer_is_never_silence(view: WatchView) -> None:
    for behind in (-180, 86_400):
        view.apply(start("a", behind), NOON)
        view.apply(progress("a", 10, behind), NOON + 1)
        assert "silent" not in drawn(view, 2)[0]
    view.apply(progress("a", 12, -500), NOON + 50)
    assert "silent" not in drawn(view, 100)[0]
    assert "silent 1:00" in drawn(view, 110)[0]


def test_silence_before_the_watch_is_the_hubs_knowledge(view: WatchView) -> None:
    view.apply(progress("a", 10, -500), NOON)
    view.apply(estimate("a", -200, silent_since=at(-300)), NOON)
    assert "silent 5:00" in drawn(view)[0]
    view.apply(progress("a", 11, -500), NOON + 1)
    assert "silent" not in drawn(view, 2)[0]


def test_lost_connection_makes_no_operation_silent(view: WatchView) -> None:
    lines(view, start("a"))
    assert "silent" not in drawn(view, 300, link=ConnectionState("ws://h/ws", "reconnecting"))[0]


def test_narrow_terminal_shows_the_concern_in_place_of_the_bar(view: WatchView) -> None:
    lines(view, start("a", name="import prices"), estimate("a", 20, away_since=at(15)))
    assert drawn(view, 20, width=40)[0] == "import prices producer away for 5 s"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_wide_characters_keep_the_columns_aligned(view: WatchView, width: int) -> None:
    lines(
        view,
        start("a", name="日本語の名前がとても長い場合"),
        start("b", name="plain"),
        start("c", name="emoji 🚀🚀🚀🚀🚀"),
    )
    picture = drawn(view, 5, width=width)[:3]
    assert all(cell_len(line) <= width for line in picture)
    assert len({cell_len(line[: line.index("━")]) for line in picture}) == 1


def test_long_ids_are_shown_as_their_shortest_unique_prefix(view: WatchView) -> None:
    ids = ["3f2a91c0-0b7e-4a55", "3f2a91d4-9c1d-4e10", "8c01aa00-1111-4222"]
    lines(view, *(start(id, number, name="job") for number, id in enumerate(ids)))
    assert [line.split()[0] for line in drawn(view, 5)[:3]] == ["8c01aa", "3f2a91d", "3f2a91c"]


def test_operations_that_a_snapshot_after_a_gap_lacks_have_vanished(view: WatchView) -> None:
    live = Live(position="x:2", outcome="gap")
    lines(view, *(start(f"op-{number}") for number in range(8)))
    assert view.note(live) is None
    view.note(Gap(after="x:1", until="x:2", reason="epoch"))
    lines(view, progress("op-7", 10, 5))
    line = view.note(live)
    assert line is not None
    assert line.plain == "? the hub no longer has op-0, op-1, op-2, op-3, op-4, 2 more; the end is unknown"
    assert (len(view.vanished), [each.name for each in view.running]) == (7, ["op-7"])
    assert view.note(live) is None


def test_times_of_a_slow_producer_are_by_the_hubs_clock(view: WatchView) -> None:
    view.apply(start("a", -86_400), NOON)
    assert " 24:01:00 " in drawn(view, 60)[0]
    view.apply(estimate("a", 5, began_at=at(0)), NOON + 5)
    assert " 1:00 " in drawn(view, 60)[0]
    view.apply(failed("a", -86_400 + 60), NOON + 60)
    assert "30 s ago" in drawn(view, 90)[0]
