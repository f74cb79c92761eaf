import io
import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from rich.cells import cell_len
from rich.console import Console
from tests.cli.processes import Hub, Terminal, publish_operation, tidings
from tests.cli.views import at, error, summary
from tests.cli.watch.event_likes import NOON

from tidings.cli.ls import OperationsTable, describe_query, describe_status, print_lines
from tidings.client.http import HTTPClient
from tidings.operations.views import EstimateView, NameView


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """A hub with a few operations of two names."""
    with Hub("--log-level", "error") as running:
        for number in range(3):
            publish_operation(running, "start", f"import/{number}", name="Import prices")
        publish_operation(running, "progress", "import/0", progress=42, message="row 7")
        publish_operation(running, "complete", "import/1", duration_ms=90_000)
        publish_operation(running, "failed", "import/2", code="bad_row", message="row 7\tis bad", recoverable=False)
        publish_operation(running, "start", "export/0", name="Export", queued=True)
        publish_operation(running, "start", "part/0", name="Part", parent_id="import/0")
        yield running


def listed(hub: Hub, *options: str) -> list[str]:
    """Return the ids that are listed."""
    done = tidings("ls", *options, "--url", hub.url)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split("\t")[0] for line in done.stdout.splitlines()]


def test_operations_in_a_pipe_are_tab_separated_newest_first(hub: Hub) -> None:
    done = tidings("ls", "--url", hub.url)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert {len(row) for row in rows} == {7}
    assert [row[0] for row in rows] == ["part/0", "export/0", "import/2", "import/1", "import/0"]
    assert [row[1] for row in rows] == ["running", "queued", "failed", "complete", "running"]
    assert rows[4][2:4] == ["Import prices", "42"]
    assert rows[3][5] == "90.0"
    assert rows[2][6] == "bad_row: row 7 is bad"


def test_the_help_of_since_shows_the_forms_that_it_accepts() -> None:
    done = tidings("ls", "--help", COLUMNS="200")
    assert "since: 6h, or an RFC 3339 time." in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (("--failed",), ["import/2"]),
        (("--running",), ["part/0", "export/0", "import/0"]),
        (("--state", "complete", "--state", "failed"), ["import/2", "import/1"]),
        (("--name", "Import*"), ["import/2", "import/1", "import/0"]),
        (("--name", "Export"), ["export/0"]),
        (("--parent", "import/0"), ["part/0"]),
        (("--since", "1h", "--name", "Export"), ["export/0"]),
        (("--since", "2999-01-01T00:00:00Z"), []),
    ],
)
def test_listed_names_can_be_filtered_by(hub: Hub, options: tuple[str, ...], ids: list[str]) -> None:
    assert listed(hub, *options) == ids


def test_operations_beyond_the_limit_are_mentioned_in_a_note(hub: Hub) -> None:
    done = tidings("ls", "--limit", "2", "--url", hub.url)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == ["part/0", "export/0"]
    assert done.stderr == "note: there are more operations; pass --limit 4 to list twice as many\n"


def test_pipe_and_json_list_the_newest_first_up_to_all(hub: Hub) -> None:
    ids = ["part/0", "export/0", "import/2", "import/1", "import/0"]
    assert listed(hub, "--all") == ids
    done = tidings("ls", "--all", "--json", "--url", hub.url)
    assert [json.loads(line)["operation_id"] for line in done.stdout.splitlines()] == ids
    assert tidings("ls", "--all", "--limit", "3", "--url", hub.url).returncode == 2


def test_json_is_one_object_a_line(hub: Hub) -> None:
    done = tidings("ls", "--json", "--failed", "--url", hub.url)
    (operation,) = map(json.loads, done.stdout.splitlines())
    assert operation["error"]["code"] == "bad_row"


def test_by_name_prints_one_line_per_name(hub: Hub) -> None:
    done = tidings("ls", "--by-name", "--url", hub.url)
    (row,) = [line.split("\t") for line in done.stdout.splitlines()]
    name, state, newest, success, usual, runs, failures = row
    assert (name, state, newest, usual, runs, failures) == ("Import prices", "failed", "import/2", "90.0", "2", "1")
    assert success.endswith("Z")
    (read,) = map(json.loads, tidings("ls", "--by-name", "--json", "--url", hub.url).stdout.splitlines())
    assert read["median_duration_s"] == 90
    assert tidings("ls", "--by-name", "--name", "Ex*", "--url", hub.url).stdout == ""


def test_a_terminal_shows_a_table(hub: Hub) -> None:
    with Terminal("ls", "--url", hub.url, columns=120) as terminal:
        assert terminal.wait() == 0
    first, *_, last = terminal.shown.splitlines()
    assert last.split()[:3] == ["▶", "part/0", "Part"]
    assert "import/0" in first
    assert "42%" in first
    with Terminal("ls", "--by-name", "--url", hub.url, columns=80) as terminal:
        assert terminal.wait() == 0
    head, row = terminal.shown.splitlines()
    assert head.split()[:3] == ["name", "newest", "last"]
    assert "✘ failed" in row


@pytest.mark.parametrize(
    ("options", "code", "error"),
    [
        (("--since", "yesterday"), 2, "invalid time since="),
        (("--state", "odd"), 2, "--state"),
        (("--limit", "0"), 2, "--limit"),
        (("--by-name", "--failed"), 2, "--by-name combines with --name only"),
        (("--url", "ws://127.0.0.1:1/ws"), 69, "no hub answers"),
    ],
)
def test_invalid_filters_are_errors(hub: Hub, options: tuple[str, ...], code: int, error: str) -> None:
    done = tidings("ls", *options, TIDINGS_URL=hub.url)
    assert (done.returncode, done.stdout) == (code, "")
    assert error in done.stderr
    assert "Traceback" not in done.stderr


def test_a_terminal_shows_that_there_are_no_operations() -> None:
    with Hub() as empty:
        with Terminal("ls", "--url", empty.url) as terminal:
            assert terminal.wait() == 0
        assert terminal.shown.strip() == "no operations"
        with Terminal("ls", "--failed", "--since", "6h", "--url", empty.url) as terminal:
            assert terminal.wait() == 0
        assert terminal.shown.strip() == "no failed operations since 6h ago"
        assert tidings("ls", "--url", empty.url).stdout == ""


def test_many_operations_are_read_in_pages() -> None:
    with Hub("--log-level", "error") as hub, HTTPClient(hub.url) as api:
        prefix = uuid.uuid4().hex
        for number in range(0, 1200, 400):
            batch = [
                {"type": "operation:start", "data": {"operation_id": f"{prefix}/{each}"}}
                for each in range(number, number + 400)
            ]
            httpx.post(f"{hub.http}v1/events", json=batch).raise_for_status()
        found = [each.operation_id for each in api.operations([], 5000)]
        assert found == [f"{prefix}/{number}" for number in reversed(range(1200))]
        assert len(list(api.operations([], 1001))) == 1001


@pytest.mark.parametrize(
    ("state", "facts", "what"),
    [
        ("running", {"progress": 42.0, "current_step": "load", "message": "row 7"}, "42% at 'load', row 7"),
        ("running", {"presence": "away", "progress": 42.0}, "its producer is away, 42%"),
        ("running", {"stalled": True, "advanced_at": at(0), "progress": 42.0}, "stalled for 3 min, 42%"),
        (
            "running",
            {"progress": 42.0, "estimate": EstimateView(stalled=False, remaining_s=240.0)},
            "42%, about 4 min left",
        ),
        ("running", {"attempt": 2}, "2nd attempt"),
        ("queued", {}, "not started"),
        ("failed", {"error": error()}, "bad_row: row 7 is bad"),
        ("failed", {}, ""),
        ("cancelled", {"reason": "wrong file", "cancelled_by": "ada"}, "by ada, wrong file"),
        ("complete", {"message": "12 files"}, "12 files"),
    ],
)
def test_status_is_the_most_relevant_fact(state: str, facts: dict[str, Any], what: str) -> None:
    assert describe_status(summary(state, **facts), NOON + 180) == what


def table(columns: int = 80, lines: int = 24) -> tuple[OperationsTable, Callable[[], list[str]]]:
    """Return a table on a terminal, and its lines so far."""
    console = Console(file=io.StringIO(), width=columns, height=lines, highlight=False, soft_wrap=True, _environ={})
    return OperationsTable(console, NOON + 60), lambda: console.file.getvalue().splitlines()  # type: ignore[attr-defined]


REASON = "ConnectionError: smtp.example.org closed the connection after 170 of 400 mails, and was not there again"


@pytest.mark.parametrize(("columns", "lines"), [(60, 3), (80, 3), (200, 1)])
def test_reason_that_does_not_fit_has_its_own_lines_and_is_not_cut(columns: int, lines: int) -> None:
    id = "3f2a91c0-3e2b-4a10-9d5c-0123456789ab"
    printer, shown = table(columns)
    failure = error(code="ConnectionError", message=REASON.partition(": ")[2])
    printer.print_operations([summary("failed", operation_id=id, name="n" * 200, error=failure)], None, "operations")
    assert len(shown()) == lines
    assert all(cell_len(line) <= columns and line == line.rstrip() for line in shown())
    assert "3f2a91" in shown()[0]
    assert REASON in " ".join(" ".join(shown()).split())


def test_terminal_shows_the_newest_last_and_how_many_do_not_fit() -> None:
    operations = [summary(operation_id=f"op-{number}", name="job") for number in range(40, 0, -1)]
    stuck = summary(operation_id="op-0", name="job", presence="away", away_since=at(0))
    printer, shown = table(80, 12)
    printer.print_operations([*operations, stuck], None, "running operations")
    assert shown()[0] == "… 31 older running operations, of which 1 needs attention; --all lists them"
    assert [line.split()[1] for line in shown()[1:]] == [f"op-{number}" for number in range(31, 41)]


def test_limit_takes_precedence_over_the_size_of_the_terminal() -> None:
    operations = [summary(operation_id=f"op-{number}", name="job") for number in range(40, 0, -1)]
    printer, shown = table(80, 12)
    printer.print_operations(operations, 30, "operations")
    assert len(shown()) == 31
    assert shown()[0] == "… 10 or more older operations; --all lists them"


def test_names_keep_their_figures_at_eighty_columns() -> None:
    newest = summary("failed", ended_at=at(0))
    names = [
        NameView(
            name="Import " * 20, newest=newest, runs=1234, failed=56, median_duration_s=5400, last_success_at=at(0)
        ),
        NameView(name="Old", runs=0, failed=0),
    ]
    printer, shown = table(80)
    printer.print_names(names, None, "operations")
    head, first, second = shown()
    assert all(cell_len(line) <= 80 for line in shown())
    assert head.split() == ["name", "newest", "last", "success", "usually", "ended", "failed"]
    assert first.split() == ["Old", "never", "0", "0"]
    assert second.split()[-11:] == ["✘", "failed", "60", "s", "ago", "60", "s", "ago", "90", "min", "1234", "56"][-11:]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        (([], None, None, None), "operations"),
        ((["failed"], "Import*", "6h", None), "failed operations named 'Import*' since 6h ago"),
        ((["queued", "running"], None, None, "a"), "queued or running operations below 'a'"),
        (([], None, "2025-07-30T12:00:00Z", None), "operations since 2025-07-30T12:00:00Z"),
    ],
)
def test_query_is_described_in_words(query: tuple[list[str], str | None, str | None, str | None], text: str) -> None:
    assert describe_query(*query) == text


def test_names_with_tabs_and_newlines_stay_in_their_column(capsys: pytest.CaptureFixture[str]) -> None:
    print_lines([summary(name="a\tb\nc\x1b[2J")])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split("\t")[2] == "a b c [2J"
