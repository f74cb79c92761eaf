"""The code of docs/reporting.md, run as it stands."""

import io
import sys
from typing import Any

import pytest
from tests.producer.reported import Reported
from tests.transcripts.markdown import Document


def test_code_of_the_guide_runs_and_reports(reported: Reported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    names: dict[str, Any] = {}
    for block in Document("docs/reporting.md").blocks_in("python"):
        exec(compile(block.text, "docs/reporting.md", "exec"), names)
    received = reported.received()
    assert [kind for kind, _ in received if kind in ("complete", "failed", "cancelled")] == ["complete"] * 3
    starts = [data for kind, data in received if kind == "start"]
    assert ["command" in data for data in starts] == [True, False, True]
    assert next(data for kind, data in received if kind == "complete")["result"] == {"rows": 2}


def test_figures_of_the_guide_match_the_code() -> None:
    from tidings.producer import emitter, runtime, sanitize

    text = Document("docs/reporting.md").text
    assert f"{sanitize.MAX_TEXT_CHARS:,} characters" in text
    assert f"log lines at {emitter.MAX_LINE_CHARS:,}" in text
    assert f"{sanitize.MAX_VALUE_BYTES >> 10} KiB" in text
    assert f"last {sanitize.MAX_DETAILS_BYTES >> 10} KiB" in text
    assert f"up to {runtime.CLOSE_S:.0f} seconds" in text
