from typing import Any

import pytest
from tests.cli.operation.views import at, error, summary
from tests.cli.watch.event_likes import NOON

from tidings.cli.operations import Listing, describe_status
from tidings.operations.views import EstimateView, NameView


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


def test_ids_in_a_narrow_table_have_their_own_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    id = "0190f0c8-3e2b-7a10-9d5c-0123456789ab"
    operations = [summary(operation_id=id, name="n" * 200, message="m" * 200), summary("failed", name="short")]
    for columns, lines in ((60, 4), (140, 2)):
        monkeypatch.setenv("COLUMNS", str(columns))
        Listing("table", NOON + 60).print_operations(operations)
        shown = capsys.readouterr().out.splitlines()
        assert len(shown) == lines
        assert max(map(len, shown)) <= columns
        assert all(line == line.rstrip() for line in shown)
        assert any(id in line for line in shown)


def test_names_without_a_success_show_never(capsys: pytest.CaptureFixture[str]) -> None:
    newest = summary("failed", ended_at=at(0))
    names = [NameView(name="Import", newest=newest, runs=2, failed=2), NameView(name="Old", runs=0, failed=0)]
    Listing("table", NOON + 60).print_names(names)
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.split() == ["Import", "✘", "failed", "60", "s", "ago", "never", "2", "2"]
    assert second.split() == ["Old", "never", "0", "0"]


def test_names_with_tabs_and_newlines_stay_in_their_column(capsys: pytest.CaptureFixture[str]) -> None:
    Listing("lines", NOON).print_operations([summary(name="a\tb\nc\x1b[2J")])
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split("\t")[2] == "a b c [2J"
