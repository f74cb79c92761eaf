from typing import Any

import msgspec
import pytest

from tidings.operations.descriptions import HubFacts, describe, list_steps, roll_up_progress, summarize, weight_of
from tidings.operations.lifecycle import OperationLife, OperationState, apply_event
from tidings.operations.run_history import RunHistory
from tidings.operations.status import OperationStatus, new_status
from tidings.operations.views import LogLineView, OperationDetail, OperationSummary, UsualView
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass, SlotEffect
from tidings.protocol.payloads import OperationEstimateData
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds

NOON = "2025-07-30T12:00:00Z"


def status_of(*events: tuple[str, str], slow_s: int = 0, kept: bool = False) -> OperationStatus:
    """Return the status after events, each given by the action of its type and the members of its data.

    They arrive a second apart from `NOON` on, from a producer whose clock is slow by `slow_s`; `kept`: all at `NOON`.
    """
    status: OperationStatus | None = None
    life: OperationLife | None = None
    for second, (action, members) in enumerate(events):
        happened_ns = to_nanoseconds(NOON) + second * 1_000_000_000
        received_ns = to_nanoseconds(NOON) if kept else happened_ns
        data = f'{{"operation_id":"op"{"," if members else ""}{members}}}'.encode()
        event = Event(
            type=f"operation:{action}",
            timestamp=from_nanoseconds(happened_ns - slow_s * 1_000_000_000),
            trace_id="t",
            data=data,
            channel="operations",
            key="op",
            event_class=EventClass.DURABLE,
            effect=SlotEffect.REPLACE,
            event_id=None,
        )
        life = apply_event("op", life, event)
        assert life is not None
        if status is None:
            status = new_status("op", event, received_ns, life)
        else:
            status.apply(event, received_ns, life)
    assert status is not None
    return status


# Summaries.


def test_unknown_values_are_left_out() -> None:
    written = msgspec.json.encode(summarize(status_of(("start", ""))))
    assert msgspec.json.decode(written) == {
        "operation_id": "op",
        "name": "",
        "state": "running",
        "attempt": 1,
        "trace_id": "t",
        "started_at": NOON,
        "heard_at": NOON,
        "presence": "unknown",
    }
    assert msgspec.json.decode(written, type=OperationSummary).state is OperationState.RUNNING


BEGIN = "1970-01-01T00:00:00Z"


def test_ended_operation_has_duration_but_no_presence_or_estimate() -> None:
    estimate = OperationEstimateData(operation_id="op", rate=2.0, remaining_s=5.0, stalled=True)
    facts = HubFacts(presence="away", away_since_ns=0, cancel_requested_ns=0, cancelled_by="ada", estimate=estimate)
    running = status_of(("start", '"name":"n"'), ("progress", '"progress":10'))
    shown = summarize(running, facts)
    assert (shown.presence, shown.stalled, shown.estimate and shown.estimate.rate) == ("away", True, 2.0)
    assert (shown.away_since, shown.cancel_requested_at, shown.cancelled_by) == (BEGIN, BEGIN, "ada")
    ended = status_of(("start", '"name":"n"'), ("progress", '"progress":10'), ("complete", '"message":"done"'))
    shown = summarize(ended, facts)
    assert (shown.presence, shown.stalled, shown.estimate) == (None, None, None)
    assert (shown.away_since, shown.cancel_requested_at, shown.cancelled_by) == (None, None, None)
    assert (shown.progress, shown.duration_s, shown.message, shown.ended_at) == (
        100.0,
        2.0,
        "done",
        "2025-07-30T12:00:02Z",
    )


def test_progress_of_children_is_used_only_without_own_progress() -> None:
    silent = status_of(("start", ""), ("progress", '"progress":0,"indeterminate":true'))
    assert summarize(silent).indeterminate
    shown = summarize(silent, of_children=25.0)
    assert (shown.progress, shown.progress_of, shown.indeterminate) == (25.0, "children", False)
    speaking = summarize(status_of(("progress", '"progress":40')), of_children=25.0)
    assert (speaking.progress, speaking.progress_of) == (40.0, None)


# Details.


def test_detail_extends_summary_and_decodes_in_any_client() -> None:
    status = status_of(
        ("start", '"name":"n","steps":["a"]'), ("failed", '"code":"c","message":"m","recoverable":false')
    )
    usual = UsualView(runs=3, failed=1, median_duration_s=2.0, last_success_at=NOON)
    line = LogLineView(at=NOON, level="info", message="hello")
    detail = describe(status, log=[line], children=[summarize(status_of(("start", "")))], usual=usual)
    read = msgspec.json.decode(msgspec.json.encode(detail), type=OperationDetail)
    assert read == detail
    assert read.error is not None
    assert read.error.code == "c"
    assert [(moment.at, moment.state) for moment in read.timeline] == [
        (NOON, OperationState.RUNNING),
        ("2025-07-30T12:00:01Z", OperationState.FAILED),
    ]
    assert msgspec.json.decode(msgspec.json.encode(summarize(status))).items() <= (
        msgspec.json.decode(msgspec.json.encode(detail)).items()
    )


def test_empty_lists_of_a_detail_are_written() -> None:
    written = msgspec.json.decode(msgspec.json.encode(describe(status_of(("start", "")))))
    assert (written["steps"], written["log"], written["children"]) == ([], [], [])


# Steps.


@pytest.mark.parametrize(
    ("events", "steps"),
    [
        ([("start", "")], []),
        ([("start", '"steps":["a","b"]')], ["a waiting", "b waiting"]),
        (
            [("start", '"steps":["a","b","c"]'), ("progress", '"progress":1,"current_step":"a"')],
            ["a running", "b waiting", "c waiting"],
        ),
        (
            [("progress", '"progress":1,"current_step":"a"'), ("progress", '"progress":2,"current_step":"b"')],
            ["a done", "b running"],
        ),
        # A skipped step stays where it was planned; a step that was not planned stands where it was reached.
        (
            [
                ("start", '"steps":["a","b","c","d"]'),
                ("progress", '"progress":1,"current_step":"a"'),
                ("progress", '"progress":2,"current_step":"x"'),
                ("progress", '"progress":3,"current_step":"c"'),
            ],
            ["a done", "x done", "b waiting", "c running", "d waiting"],
        ),
        (
            [
                ("start", '"steps":["a","b"]'),
                ("progress", '"progress":1,"current_step":"a"'),
                ("failed", '"code":"c","message":"m","recoverable":true'),
            ],
            ["a stopped", "b waiting"],
        ),
        ([("progress", '"progress":1,"current_step":"a"'), ("cancelled", "")], ["a stopped"]),
        ([("progress", '"progress":1,"current_step":"a"'), ("complete", "")], ["a done"]),
    ],
)
def test_steps_are_the_reached_and_the_planned_ones(events: list[tuple[str, str]], steps: list[str]) -> None:
    assert [f"{step.name} {step.state}" for step in list_steps(status_of(*events))] == steps


def test_steps_have_the_median_duration_of_successful_runs_and_the_newest_run_names_them() -> None:
    def run(*steps: str, end: tuple[str, str] = ("complete", "")) -> OperationStatus:
        return status_of(("start", ""), *(("progress", f'"progress":1,"current_step":"{step}"') for step in steps), end)

    history = RunHistory(name="n")
    history.add_end(run("a", "b", "a", "old"), 1)
    history.add_end(run("a", "b", "b", "b"), 2)
    history.add_end(run("a", "b", "b", end=("failed", '"code":"c","message":"m","recoverable":true')), 3)
    assert history.usual_steps_s() == {"a": 1.5, "b": 2.0}
    steps = list_steps(status_of(("start", '"steps":["a","c","b"]')), history.usual_steps_s())
    assert [(step.name, step.usual_s) for step in steps] == [("a", 1.5), ("c", None), ("b", 2.0)]
    for offset in range(4, 40):
        history.add_end(run("a", "b"), offset)
    assert history.usual_steps_s() == {"a": 1.0, "b": 1.0}
    assert {len(durations) for durations in history.steps_s.values()} == {9}


def test_value_that_cannot_be_encoded_is_not_kept() -> None:
    huge = "123456789012345678901234567890"
    status = status_of(("start", f'"metadata":{{"n":{huge}}}'), ("complete", f'"result":[{huge}]'))
    assert (status.metadata, status.result, status.state) == (None, None, OperationState.COMPLETE)
    msgspec.msgpack.encode(status)
    msgspec.json.encode(describe(status))


# Progress of children.

LIFE = OperationLife(1, OperationState.RUNNING, "t")


@pytest.mark.parametrize(
    ("parts", "mean"),
    [
        ([], None),
        ([(1, None), (1, None)], None),
        ([(1, 50.0), (1, None)], 25.0),
        ([(3, 100.0), (1, 0.0)], 75.0),
        ([(0, 100.0), (2, 10.0)], 10.0),
        ([(0, 100.0)], None),
    ],
)
def test_progress_of_children_is_their_weighted_mean(
    parts: list[tuple[float, float | None]], mean: float | None
) -> None:
    assert roll_up_progress(parts) == mean


@pytest.mark.parametrize(
    ("metadata", "weight"),
    [
        (None, 1.0),
        ({}, 1.0),
        ({"weight": 2.5}, 2.5),
        ({"weight": 0}, 0.0),
        ({"weight": -1}, 1.0),
        ({"weight": True}, 1.0),
        ({"weight": "heavy"}, 1.0),
        ({"weight": 1e300}, 1.0),
    ],
)
def test_invalid_weight_counts_as_one(metadata: dict[str, Any] | None, weight: float) -> None:
    assert weight_of(OperationStatus(operation_id="op", life=LIFE, metadata=metadata)) == weight


@pytest.mark.parametrize(("duration_ms", "duration_s"), [("1e308", 2**63 / 1e9), ("0", 0), ("5e-324", 0), ("1", 0.001)])
def test_reported_duration_fits_in_64_bits_of_nanoseconds(duration_ms: str, duration_s: float) -> None:
    ended = status_of(("start", ""), ("complete", f'"duration_ms":{duration_ms}'))
    assert summarize(ended).duration_s == pytest.approx(duration_s)


# Clocks.


@pytest.mark.parametrize("slow_s", [0, 4, 30, 86_400])
def test_times_of_a_live_attempt_are_by_the_hubs_clock(slow_s: int) -> None:
    events = ("start", '"queued":true'), ("start", ""), ("progress", '"progress":1,"current_step":"read"')
    detail = describe(status_of(*events, slow_s=slow_s), HubFacts(), of_children=None, log=[], children=[], usual=None)
    shift_s = slow_s if slow_s < 5 else 0
    assert [detail.queued_at, detail.started_at, detail.steps[0].started_at] == [
        from_nanoseconds(to_nanoseconds(NOON) + (second - shift_s) * 1_000_000_000) for second in range(3)
    ]
    assert [moment.at for moment in detail.timeline] == [detail.queued_at, detail.started_at]


@pytest.mark.parametrize("end", ["complete", "failed", "cancelled"])
def test_times_of_an_ended_attempt_of_a_slow_clock_are_by_the_hubs(end: str) -> None:
    progress = [("progress", f'"progress":{number}') for number in range(20)]
    events = [("start", ""), *progress, (end, '"code":"x","message":"x"' if end == "failed" else "")]
    slow, right = (summarize(status_of(*events, slow_s=slow_s)) for slow_s in (86_400, 0))
    assert (slow.started_at, slow.ended_at, slow.duration_s) == (right.started_at, right.ended_at, right.duration_s)
    assert slow.ended_at == "2025-07-30T12:00:21Z"


def test_times_of_an_attempt_that_was_kept_are_by_its_producers_clock() -> None:
    """All its events arrive when the hub is back."""
    events = [("start", ""), *(("progress", f'"progress":{number}') for number in range(20)), ("complete", "")]
    kept = summarize(status_of(*events, slow_s=600, kept=True))
    assert (kept.started_at, kept.ended_at) == ("2025-07-30T11:50:00Z", "2025-07-30T11:50:21Z")


def test_times_of_a_short_ended_attempt_are_by_its_producers_clock() -> None:
    """A slow clock cannot be told from a hub that was unreachable."""
    summary = summarize(status_of(("start", ""), ("complete", ""), slow_s=86_400))
    assert (summary.started_at, summary.ended_at) == ("2025-07-29T12:00:00Z", "2025-07-29T12:00:01Z")
    assert summary.duration_s == 1


def test_times_of_a_clock_that_is_fast_are_those_of_receipt() -> None:
    summary = summarize(status_of(("start", ""), ("complete", ""), slow_s=-86_400))
    assert (summary.started_at, summary.ended_at) == (NOON, "2025-07-30T12:00:01Z")
