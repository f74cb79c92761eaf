"""The tests in docs/testing.md, copied to files and run."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.processes import environment
from tests.transcripts.markdown import Document

import tidings.testing
from tidings.testing import approx, assert_events, event
from tidings.testing.faults import Fault

GUIDE = Document("docs/testing.md")
_FILE = re.compile(r"# (\w+\.py)\n")


def test_every_test_of_the_guide_passes(tmp_path: Path) -> None:
    named = {_FILE.match(block.text): block.text for block in GUIDE.blocks_in("python")}
    assert None not in named, "every block names its file"
    for name, text in named.items():
        assert name is not None
        (tmp_path / name[1]).write_text(text + "\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    shown = sum(text.count("def test_") for text in named.values())
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert f"{shown} passed" in done.stdout, done.stdout


def test_shown_message_matches_the_output() -> None:
    story: list[dict[str, Any]] = [
        {"type": "operation:start", "data": {"operation_id": "op-1", "name": "Import prices"}},
        {"type": "operation:progress", "data": {"operation_id": "op-1", "progress": 50.0}},
        {"type": "operation:complete", "data": {"operation_id": "op-1"}},
    ]
    three_quarters = event("operation:progress", progress=approx(75, within=1))
    [shown] = GUIDE.blocks_in("text")
    with pytest.raises(AssertionError) as failed:
        assert_events(story, ["operation:start", three_quarters, "operation:complete"])
    assert str(failed.value) == shown.text


def test_every_public_name_is_documented() -> None:
    for name in tidings.testing.__all__:
        assert re.search(rf"\b{name}\b", GUIDE.text), name


def test_every_fault_has_a_row() -> None:
    [table] = GUIDE.tables_with("fault", "what happens")
    rows = {row[0].partition("(")[0] for row in table.rows}
    assert rows == {fault.__name__ for fault in Fault.__args__}
