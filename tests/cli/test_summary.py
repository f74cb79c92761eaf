import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.cli.views import at, detail, error, summary
from tests.cli.watch.event_likes import NOON

from tidings.cli.summary import format_remaining, summarize
from tidings.operations.views import EstimateView, OperationDetail, OperationSummary, UsualView
from tidings.protocol.timestamps import to_nanoseconds

MIN, HOUR = 60, 3600
USUAL = UsualView(runs=9, failed=1, median_duration_s=6 * MIN)


def said(operation: OperationSummary, second: float) -> str:
    return summarize(operation, NOON + second)


def estimate(remaining_s: float | None = None, **more: Any) -> EstimateView:
    return EstimateView(**{"stalled": False, "remaining_s": remaining_s, **more})


@pytest.mark.parametrize(
    ("facts", "second", "sentence"),
    [
        (
            {
                "presence": "attached",
                "heard_at": at(14 * MIN - 3),
                "advanced_at": at(0),
                "stalled": True,
                "usual": USUAL,
            },
            14 * MIN,
            "running: alive, last event 3 s ago, no progress for 14 min; usually takes 6 min",
        ),
        ({"presence": "attached", "progress": 42.9}, 3, "running: alive, last event 3 s ago, 42%"),
        ({"presence": "attached"}, 0.2, "running: alive, last event just now"),
        (
            {"presence": "attached", "progress": 42.0, "current_step": "load", "estimate": estimate(240)},
            3,
            "running: alive, last event 3 s ago, 42% at 'load'; about 4 min left",
        ),
        (
            {"presence": "attached", "progress": 42.0, "estimate": estimate(240), "usual": USUAL},
            3,
            "running: alive, last event 3 s ago, 42%; about 4 min left, usually takes 6 min",
        ),
        (
            {"presence": "attached", "progress": 42.0, "indeterminate": True, "current_step": "load"},
            3,
            "running: alive, last event 3 s ago, at 'load'",
        ),
        (
            {"presence": "attached", "progress": 42.0, "progress_of": "children"},
            3,
            "running: alive, last event 3 s ago, 42% of its children",
        ),
        (
            {"presence": "attached", "progress": 42.0, "advanced_at": at(0), "stalled": True},
            90,
            "running: alive, last event 90 s ago, no progress for 90 s (42%)",
        ),
        (
            {"presence": "attached", "progress": 42.0, "advanced_at": at(0), "stalled": False},
            HOUR,
            "running: alive, last event 60 min ago, 42%",
        ),
        (
            {"presence": "away", "lease_s": 30.0, "progress": 42.0},
            20,
            "running: its producer is away, last event 20 s ago, 42%; "
            "it fails when its lease of 30 s is over, unless its producer comes back",
        ),
        (
            {"presence": "away", "away_since": at(15), "cancel_requested_at": at(18), "cancelled_by": "ada@laptop"},
            20,
            "running: stopping, asked by ada@laptop, its producer is away for 5 s, last event 20 s ago; "
            "it fails, unless its producer comes back",
        ),
        ({"presence": "unknown", "progress": 42.0}, 20, "running: last event 20 s ago, 42%"),
        (
            {"presence": "unknown", "progress": 42.0, "advanced_at": at(0)},
            3 * HOUR,
            "running, or lost: silent for 3 h, no progress for 3 h (42%)",
        ),
        ({"presence": "attached", "attempt": 2}, 3, "running (2nd attempt): alive, last event 3 s ago"),
        (
            {"presence": "unknown", "attempt": 3, "stalled": False},
            2 * HOUR,
            "running, or lost (3rd attempt): silent for 2 h",
        ),
        (
            {"presence": "attached", "progress": 42.0, "estimate": estimate(240, stalled=True), "stalled": True},
            90,
            "running: alive, last event 90 s ago, no progress for 90 s (42%)",
        ),
    ],
)
def test_summary_of_a_running_operation(facts: dict[str, Any], second: float, sentence: str) -> None:
    assert said(detail(**facts), second) == sentence


def test_summary_of_a_queued_operation() -> None:
    queued = summary("queued", queued_at=at(0), started_at=None)
    assert said(queued, 4 * MIN) == "queued for 4 min, not started"
    again = summary("queued", queued_at=None, started_at=None, attempt=2)
    assert said(again, 5) == "queued for 5 s (2nd attempt), not started"


@pytest.mark.parametrize(
    ("state", "facts", "sentence"),
    [
        ("complete", {}, "complete 2 h ago after 3 min"),
        ("complete", {"message": "12 files"}, "complete 2 h ago after 3 min: 12 files"),
        ("complete", {"usual": USUAL, "attempt": 2}, "complete 2 h ago after 3 min (usually 6 min) (2nd attempt)"),
        ("complete", {"duration_s": None}, "complete 2 h ago"),
        (
            "failed",
            {"error": error("producer_lost", "its producer has been gone for 30 s")},
            "failed 2 h ago after 3 min: producer_lost — its producer has been gone for 30 s",
        ),
        ("failed", {"attempt": 4}, "failed 2 h ago after 3 min (4th attempt)"),
        ("cancelled", {}, "cancelled 2 h ago after 3 min"),
        ("cancelled", {"reason": "wrong file"}, "cancelled 2 h ago after 3 min: wrong file"),
        (
            "cancelled",
            {"reason": "wrong file", "cancelled_by": "ada"},
            "cancelled 2 h ago after 3 min by ada: wrong file",
        ),
    ],
)
def test_summary_of_an_ended_operation(state: str, facts: dict[str, Any], sentence: str) -> None:
    ended = detail(state, **{"ended_at": at(180), "duration_s": 180.0, **facts})
    assert said(ended, 180 + 2 * HOUR) == sentence


def test_an_end_without_a_time_is_described_without_age() -> None:
    assert said(summary("complete"), 5) == "complete"


def test_a_clock_behind_the_hub_gives_no_negative_age() -> None:
    assert said(summary(presence="attached", heard_at=at(60)), 0) == "running: alive, last event just now"


def test_text_of_events_is_sanitized() -> None:
    evil = "\x1b[2J\r\nnext\u202e\x07"
    told = said(summary("failed", ended_at=at(0), error=error(evil, evil)), 5)
    told += said(summary(current_step=evil, message=evil), 5)
    told += said(summary("cancelled", reason=evil, cancelled_by=evil), 5)
    assert not set(told) & set("\x1b\r\n\x07\u202e")


@pytest.mark.parametrize(
    ("spread", "told"),
    [
        ((240, None, None), "about 4 min left"),
        ((240, 180, 360), "3 to 6 min left"),
        ((240, 45, 360), "45 s to 6 min left"),
        ((240, 0, 360), "up to 6 min left"),
        ((240, 230, 250), "about 4 min left"),
        ((240, 220, 270), "about 4 min left"),
        ((0, 0, 0), "about 0 s left"),
    ],
)
def test_a_remaining_time_shows_bounds_that_differ_enough(
    spread: tuple[float, float | None, float | None], told: str
) -> None:
    assert format_remaining(*spread) == told


SENTENCES = json.loads(Path(__file__).with_name("sentences.json").read_text())
"""Operations with their sentences; the dashboard's tests read the same file, so that both say the same."""


@pytest.mark.parametrize("case", SENTENCES, ids=[case["line"][:40] for case in SENTENCES])
def test_summary_has_the_words_that_the_dashboard_shows(case: dict[str, Any]) -> None:
    operation = msgspec.convert(case["operation"], OperationDetail)

    assert summarize(operation, to_nanoseconds(case["now"]) / 1e9) == case["line"]
