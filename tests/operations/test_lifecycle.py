"""The life of an operation: the table, attempts, and the holder."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.envelopes import message, read

from tidings.exceptions import OperationError, OperationExists, OperationFenced, OperationFinished
from tidings.operations.lifecycle import (
    END_STATES,
    LIVE_STATES,
    MAX_ATTEMPT,
    TABLE,
    TRANSITIONS,
    OperationLife,
    OperationState,
    Transition,
    apply_event,
    render_diagram,
    transition_of,
)
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import MessageType

QUEUED, RUNNING, COMPLETE = OperationState.QUEUED, OperationState.RUNNING, OperationState.COMPLETE
FIELDS: dict[str, dict[str, Any]] = {
    "start": {},
    "progress": {"progress": 1},
    "log": {"message": "m"},
    "complete": {},
    "failed": {"code": "c", "message": "m", "recoverable": False},
    "cancelled": {},
}


def event(action: str, **data: Any) -> Event:
    return read(
        message(f"operation:{action}", json.dumps({"operation_id": "op", **FIELDS[action], **data}), trace_id='"t"')
    )


def life_in(state: OperationState, attempt: int = 1, **more: Any) -> OperationLife:
    return OperationLife(attempt=attempt, state=state, trace_id="t", **more)


def after(life: OperationLife | None, *events: Event, **more: Any) -> OperationLife | None:
    for each in events:
        life = apply_event("op", life, each, **more)
    return life


def code_of(life: OperationLife | None, what: Event, **more: Any) -> type[OperationError]:
    with pytest.raises(OperationError) as caught:
        apply_event("op", life, what, **more)
    assert caught.value.operation_id == "op"
    assert caught.value.attempt == (0 if life is None else life.attempt)
    return type(caught.value)


def test_table_covers_every_state_and_transition() -> None:
    assert set(TABLE) == {None, *OperationState}
    for row in TABLE.values():
        assert set(row) == set(Transition)


def test_end_is_final_except_for_a_start() -> None:
    for state in OperationState:
        if state in LIVE_STATES:
            continue
        for ask, move in TABLE[state].items():
            assert (move is OperationFinished) is (ask not in (Transition.START, Transition.QUEUE))


def test_table_covers_exactly_the_publishable_operation_events() -> None:
    own = {str(type) for type in MessageType if type.startswith("operation:")}
    assert own - {MessageType.OPERATION_ESTIMATE, MessageType.OPERATION_ERROR} == set(TRANSITIONS)
    assert {transition_of(event(action))[0] for action in FIELDS} == set(Transition) - {Transition.QUEUE}
    assert transition_of(event("start", queued=True, attempt=3)) == (Transition.QUEUE, 3)


@pytest.mark.parametrize(
    ("actions", "state"),
    [
        (["start"], RUNNING),
        (["progress"], RUNNING),
        (["start", "progress", "log", "complete"], COMPLETE),
        (["failed"], OperationState.FAILED),
        (["start", "cancelled"], OperationState.CANCELLED),
    ],
)
def test_events_lead_to_a_state(actions: list[str], state: OperationState) -> None:
    life = after(None, *map(event, actions))
    assert life == life_in(state)


def test_log_line_does_not_start_an_operation() -> None:
    assert apply_event("op", None, event("log")) is None


def test_event_without_effect_returns_the_same_life() -> None:
    running = after(None, event("start"))
    assert apply_event("op", running, event("progress")) is running
    assert apply_event("op", running, event("log")) is running
    assert apply_event("op", running, event("start", name="n")) is running


def test_queued_operation_starts_with_start_or_progress() -> None:
    queued = after(None, event("start", queued=True))
    assert queued == life_in(QUEUED)
    assert apply_event("op", queued, event("log")) is queued
    for action in ("start", "progress"):
        assert apply_event("op", queued, event(action)) == life_in(RUNNING)
    assert code_of(life_in(RUNNING), event("start", queued=True)) is OperationExists


def test_start_after_the_end_starts_the_next_attempt() -> None:
    ended = after(None, event("start"), event("failed"))
    assert apply_event("op", ended, event("start")) == life_in(RUNNING, 2)
    assert apply_event("op", ended, event("start", queued=True)) == life_in(QUEUED, 2)
    assert apply_event("op", ended, event("start", attempt=2)) == life_in(RUNNING, 2)
    assert apply_event("op", ended, event("start", attempt=7)) == life_in(RUNNING, 7)
    assert code_of(ended, event("start", attempt=1)) is OperationFinished


@pytest.mark.parametrize("action", ["progress", "log", *END_STATES])
def test_event_after_the_end_is_rejected(action: str) -> None:
    for state in END_STATES.values():
        assert code_of(life_in(state), event(action)) is OperationFinished
        assert code_of(life_in(state), event(action, attempt=1)) is OperationFinished


@pytest.mark.parametrize("action", ["start", *(action for action in FIELDS if action != "start")])
def test_event_of_an_older_attempt_is_fenced(action: str) -> None:
    for state in OperationState:
        assert code_of(life_in(state, 2), event(action, attempt=1)) is OperationFenced


def test_later_attempt_requires_the_end_of_the_current_one() -> None:
    assert code_of(life_in(RUNNING), event("start", attempt=2)) is OperationExists
    assert code_of(life_in(RUNNING), event("progress", attempt=2)) is OperationFenced
    assert apply_event("op", life_in(COMPLETE), event("progress", attempt=2)) == life_in(RUNNING, 2)
    assert apply_event("op", life_in(COMPLETE), event("failed", attempt=2)) == life_in(OperationState.FAILED, 2)
    ended = life_in(COMPLETE)
    assert apply_event("op", ended, event("log", attempt=2)) is ended


def test_attempt_zero_equals_no_attempt() -> None:
    assert after(None, event("start", attempt=0), event("complete", attempt=0)) == life_in(COMPLETE)


def test_only_the_holder_publishes_to_a_running_operation() -> None:
    held = after(None, event("start"), producer_id="a", lease_s=30.0)
    assert held == life_in(RUNNING, producer_id="a", lease_s=30.0)
    for stranger in ("", "b"):
        assert code_of(held, event("start"), producer_id=stranger) is OperationExists
        assert code_of(held, event("start", queued=True), producer_id=stranger) is OperationExists
        for action in ("progress", "log", *END_STATES):
            assert code_of(held, event(action), producer_id=stranger) is OperationFenced
    assert after(held, event("progress"), producer_id="a") is held
    ended = after(held, event("complete"), producer_id="a")
    assert after(ended, event("start"), producer_id="b", lease_s=5.0) == life_in(
        RUNNING, 2, producer_id="b", lease_s=5.0
    )


def test_producer_that_starts_a_queued_operation_holds_it() -> None:
    queued = after(None, event("start", queued=True), producer_id="web", lease_s=30.0)
    begun = after(queued, event("start"), producer_id="worker", lease_s=5.0)
    assert begun == life_in(RUNNING, producer_id="worker", lease_s=5.0)
    assert after(queued, event("cancelled")) == life_in(OperationState.CANCELLED, producer_id="web", lease_s=30.0)


def test_hub_may_end_any_operation() -> None:
    held = life_in(RUNNING, producer_id="a", lease_s=30.0)
    failed = after(held, event("failed", attempt=1), by_hub=True)
    assert failed is not None
    assert failed.state is OperationState.FAILED
    assert code_of(failed, event("failed"), by_hub=True) is OperationFinished


def test_publisher_of_an_unheld_operation_becomes_its_holder() -> None:
    assert after(life_in(RUNNING), event("progress"), producer_id="a", lease_s=3.0) == life_in(
        RUNNING, producer_id="a", lease_s=3.0
    )


ACTIONS = st.tuples(
    st.sampled_from(sorted(FIELDS)),
    st.sampled_from([None, None, 1, 2, 3]),
    st.sampled_from(["", "a", "b"]),
    st.booleans(),
)


@given(st.lists(ACTIONS, max_size=40))
def test_each_attempt_has_at_most_one_end(actions: list[tuple[str, int | None, str, bool]]) -> None:
    life: OperationLife | None = None
    ends: list[int] = []
    attempts: list[int] = []
    for action, attempt, producer_id, queued in actions:
        said: dict[str, Any] = {} if attempt is None else {"attempt": attempt}
        if action == "start" and queued:
            said["queued"] = True
        try:
            life = apply_event("op", life, event(action, **said), producer_id=producer_id, lease_s=1.0)
        except OperationError:
            continue
        if life is not None:
            attempts.append(life.attempt)
            if f"operation:{action}" in TRANSITIONS and TRANSITIONS[f"operation:{action}"] in END_STATES:
                assert not life.live
                ends.append(life.attempt)
    assert len(ends) == len(set(ends))
    assert attempts == sorted(attempts)


def test_diagram_has_an_arrow_for_each_change_of_state() -> None:
    arrows = [line.split(":")[0].strip() for line in render_diagram().splitlines()[1:]]
    assert len(arrows) == len(set(arrows))
    assert {"[*] --> running", "queued --> running", "running --> failed", "complete --> queued"} <= set(arrows)
    assert "running --> running" not in arrows


@pytest.mark.parametrize("attempt", [MAX_ATTEMPT + 1, 2**63 - 1])
@pytest.mark.parametrize("life", [None, life_in(COMPLETE)])
def test_attempt_whose_successor_has_no_number_is_rejected(life: OperationLife | None, attempt: int) -> None:
    for action in FIELDS.keys() - {"log"}:  # a log line begins no attempt
        assert code_of(life, event(action, attempt=attempt)) is OperationFenced
    assert after(life, event("start", attempt=MAX_ATTEMPT)) == life_in(RUNNING, MAX_ATTEMPT)


def test_last_attempt_has_no_successor() -> None:
    assert code_of(life_in(COMPLETE, MAX_ATTEMPT), event("start")) is OperationFenced
