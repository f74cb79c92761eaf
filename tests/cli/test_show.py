from datetime import UTC

import pytest
from tests.cli.processes import Hub, publish_operation, tidings
from tests.cli.views import at, detail, error, summary
from tests.cli.watch.event_likes import NOON

from tidings.cli.show import operation_lines, print_operation
from tidings.operations.lifecycle import OperationState
from tidings.operations.views import LogLineView, MomentView, OperationDetail, StepView, UsualView


def lines(operation: OperationDetail, second: float = 10, log: int = 20) -> list[str]:
    return [line.plain for line in operation_lines(operation, NOON + second, lines=log, zone=UTC)]


def test_show_begins_with_the_name_and_one_sentence() -> None:
    first, second, bar, empty, id, began, trace = lines(detail(presence="attached", progress=42.0))
    assert first == "Import prices"
    assert second == "running: alive, last event 10 s ago, 42%"
    assert bar == "━" * 16 + "╸" + "━" * 23 + " 42%"
    assert empty == ""
    assert id == "id     op-1"
    assert began == "began  2025-07-30 12:00:00, 10 s ago"
    assert trace.startswith("trace  ")


def test_show_prints_every_fact() -> None:
    operation = detail(
        "failed",
        attempt=2,
        queued_at=at(-5),
        ended_at=at(60),
        duration_s=60.0,
        message="row 7",
        producer_id="host.1.abc",
        lease_s=30.0,
        host="laptop",
        pid=12,
        user="ada",
        command="make import",
        parent_id="op-0",
        resumes="op-1",
        metadata={"weight": 3, "file": "a.csv"},
        usual=UsualView(runs=9, failed=2, median_duration_s=90.0, last_success_at=at(-3600)),
        error=error(hint="Mend row 7.", details="Traceback:\n  line 1"),
        result={"rows": 6},
        steps=[
            StepView(name="read", state="done", started_at=at(0), ended_at=at(12)),
            StepView(name="load", state="stopped", started_at=at(12), ended_at=at(60)),
            StepView(name="report", state="waiting"),
        ],
        timeline=[
            MomentView(at=at(-60), state=OperationState.FAILED, attempt=1),
            MomentView(at=at(0), state=OperationState.RUNNING, attempt=2),
        ],
        children=[summary("complete", operation_id="op-2", name="Part", ended_at=at(30), duration_s=30.0)],
        log=[LogLineView(at=at(1), level="info", message="begun"), LogLineView(at=at(5), level="error", message="odd")],
    )
    assert lines(operation, 70)[1:] == [
        "failed 10 s ago after 60 s (2nd attempt): bad_row — row 7 is bad",
        "",
        "error",
        "  bad_row  row 7 is bad",
        "  hint: Mend row 7.",
        "    Traceback:",
        "      line 1",
        "",
        "id        op-1",
        "attempt   2",
        "queued    2025-07-30 11:59:55, 75 s ago",
        "began     2025-07-30 12:00:00, 70 s ago",
        "ended     2025-07-30 12:01:00, 10 s ago",
        "took      1:00",
        "message   row 7",
        "producer  host.1.abc, lease 30 s",
        "on        laptop, process 12, by ada",
        "command   make import",
        "part of   op-0",
        "resumes   op-1",
        "trace     4bf92f3577b34da6a3ce929d0e0e4736",
        "weight    3",
        "file      a.csv",
        "runs      9 runs of this name ended, 2 failed, usually 90 s, last success 61 min ago",
        "",
        "result",
        '  {"rows": 6}',
        "",
        "steps",
        "  ✔  read    12 s",
        "  ✘  load    48 s",
        "  ○  report",
        "",
        "timeline",
        "  2025-07-30 11:59:00  failed   1st attempt",
        "  2025-07-30 12:00:00  running  2nd attempt",
        "",
        "children",
        "  ✔  Part  complete 40 s ago after 30 s  op-2",
        "",
        "log",
        "  12:00:01  info   begun",
        "  12:00:05  error  odd",
    ]


def test_show_prints_the_given_number_of_log_lines() -> None:
    log = [LogLineView(at=at(n), level="info", message=f"line {n}") for n in range(9)]
    assert lines(detail(log=log), log=2)[-2:] == ["  12:00:07  info  line 7", "  12:00:08  info  line 8"]
    assert "log" not in lines(detail(log=log), log=0)


def test_a_running_step_has_its_duration_until_now() -> None:
    step = StepView(name="load", state="running", started_at=at(4))
    assert lines(detail(steps=[step]))[-1] == "  ▶  load  6 s"


def test_a_huge_result_is_truncated() -> None:
    assert len(max(lines(detail(result="x" * 100_000)), key=len)) < 2_100


def test_text_of_events_is_sanitized(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\r\nnext\u202e\x07[bold]"
    operation = detail(
        "failed",
        name=evil,
        message=evil,
        command=evil,
        metadata={evil: evil},
        error=error(evil, evil, hint=evil, details=evil),
        result={evil: evil},
        steps=[StepView(name=evil, state="waiting")],
        children=[summary(name=evil, operation_id=evil)],
        log=[LogLineView(at=at(0), level=evil, message=evil)],
    )
    print_operation(operation, NOON, lines=20, zone=UTC)
    shown = capsys.readouterr().out
    assert not set(shown) & set("\x1b\r\u202e\x07")
    assert "[bold]" in shown, "it is no markup"


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("show", "no-such"), 5, "no such operation: 'no-such'"),
        (("show", "x", "--url", "ws://127.0.0.1:1/ws"), 69, "no hub answers"),
    ],
)
def test_show_of_nothing_is_an_error_with_its_exit_code(
    shared_hub: Hub, arguments: tuple[str, ...], code: int, error: str
) -> None:
    done = tidings(*arguments, TIDINGS_URL=shared_hub.url)
    assert done.returncode == code
    assert error in done.stderr


def test_a_first_run_is_counted_in_the_singular() -> None:
    operation = detail(usual=UsualView(runs=1, failed=1))
    shown = [line.plain for line in operation_lines(operation, NOON, lines=0, zone=UTC)]
    assert [line for line in shown if line.startswith("runs")] == ["runs   1 run of this name ended, 1 failed"]


def test_children_are_shown_as_a_tree() -> None:
    part, row = summary(operation_id="op-2", name="Part"), summary("complete", operation_id="op-3", name="Row")
    below = {"op-2": [row], "op-3": [summary("queued", operation_id="op-4", name="Cell")]}
    shown = [line.plain for line in operation_lines(detail(children=[part]), NOON, lines=0, zone=UTC, below=below)]
    tree = shown[shown.index("children") + 1 :]
    assert [line[:13].rstrip() for line in tree] == ["  ▶  Part", "  ✔  └ Row", "  ○    └ Cell"]


def test_show_reads_the_children_of_children_and_a_cycle_of_parents_ends(shared_hub: Hub) -> None:
    publish_operation(shared_hub, "start", "tree-1", name="root", parent_id="tree-3")
    publish_operation(shared_hub, "start", "tree-2", name="branch", parent_id="tree-1")
    publish_operation(shared_hub, "start", "tree-3", name="leaf", parent_id="tree-2")
    done = tidings("show", "tree-1", "--url", shared_hub.url)
    assert done.returncode == 0
    _, _, tree = done.stdout.partition("children\n")
    assert [line.split("running")[0].rstrip() for line in tree.splitlines()[:2]] == ["  ▶  branch", "  ▶  └ leaf"]
