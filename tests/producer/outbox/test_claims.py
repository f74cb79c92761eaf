from msgspec import Raw

from tidings.client.drafts import Draft
from tidings.producer.outbox.claims import ClaimedOperation, Claims, make_restart_draft
from tidings.protocol.messages import CancelAnswer, Claim, Verdict
from tidings.protocol.payloads import OperationStartData

START = OperationStartData(operation_id="op-1", name="import", attempt=4, queued=True)


def draft(trace_id: str | None = "trace") -> Draft:
    return Draft(type="operation:start", data=Raw(b"{}"), timestamp="t", event_id="e" * 16, trace_id=trace_id)


def hold(claims: Claims, *, lease_s: float | None = None) -> None:
    claims.hold(
        "op-1",
        lease_s=lease_s,
        trace_id=None,
        on_cancel=lambda push: CancelAnswer(verdict="stopping"),
        on_lost=lambda verdict: None,
    )


def begun(claims: Claims, attempt: int = 1) -> None:
    claims.note_put("op-1", draft(), START)
    claims.note_settled("op-1", ended=False, attempt=attempt)


def test_operation_is_not_claimed_before_its_start_is_accepted() -> None:
    claims = Claims()
    hold(claims)
    claims.note_put("op-1", draft(), START)
    assert claims.claims() == []
    assert claims.take_new_claims() == []
    claims.note_settled("op-1", ended=False, attempt=3)
    assert claims.claims() == [Claim(operation_id="op-1", attempt=3)]


def test_operation_started_elsewhere_is_claimed_once() -> None:
    claims = Claims()
    hold(claims, lease_s=60)
    assert claims.take_new_claims() == [Claim(operation_id="op-1", lease_s=60)]
    assert claims.take_new_claims() == []
    claims.confirm("op-1", 2)
    assert claims.claims() == [Claim(operation_id="op-1", attempt=2, lease_s=60)]


def test_own_lease_is_claimed_before_and_after_the_start() -> None:
    """Before it, so that it never has another lease; and after it, in case the operation had another holder."""
    claims = Claims()
    hold(claims, lease_s=60)
    claims.note_put("op-1", draft(), START)
    assert claims.take_new_claims() == [Claim(operation_id="op-1", lease_s=60)]
    assert claims.claims() == [Claim(operation_id="op-1", lease_s=60)]
    claims.note_settled("op-1", ended=False, attempt=2)
    assert claims.take_new_claims() == [Claim(operation_id="op-1", attempt=2, lease_s=60)]


def test_started_operation_is_held_until_the_hub_has_its_end() -> None:
    claims = Claims()
    begun(claims)
    claims.note_put("op-1", draft(), None)
    assert len(claims) == 1
    claims.note_settled("op-1", ended=True, attempt=None)
    assert len(claims) == 0


def test_operation_with_callbacks_is_held_until_released_and_ended() -> None:
    claims = Claims()
    hold(claims)
    begun(claims)
    claims.note_put("op-1", draft(), None)
    claims.release("op-1")
    assert len(claims) == 1, "its end is on its way"
    claims.note_settled("op-1", ended=True, attempt=None)
    assert len(claims) == 0
    claims.release("op-1")
    claims.note_settled("op-1", ended=True, attempt=None)


def test_end_of_an_operation_not_held_is_ignored() -> None:
    claims = Claims()
    assert claims.note_put("op-1", draft(), None) is None
    assert len(claims) == 0


def test_new_start_clears_the_attempt() -> None:
    claims = Claims()
    hold(claims)
    begun(claims, attempt=1)
    claims.note_put("op-1", draft(), START)
    held = claims.get("op-1")
    assert held is not None
    assert (held.attempt, held.begun, held.starts) == (None, True, 1)
    claims.note_restart("op-1")
    assert held.starts == 2


def test_restart_copies_the_start_unless_on_lost_is_set() -> None:
    verdict = Verdict(operation_id="op-1", attempt=4, verdict="lost")
    held = ClaimedOperation("op-1", start=START, trace_id="trace")
    again = held.restart(verdict)
    assert again == OperationStartData(operation_id="op-1", name="import", resumes="op-1")
    assert ClaimedOperation("op-1").restart(verdict) is None
    assert ClaimedOperation("op-1", start=START, on_lost=lambda verdict: None).restart(verdict) is None
    assert again is not None
    event = make_restart_draft(held, again)
    assert (event.type, event.trace_id, event.event_id) == ("operation:start", "trace", "")
    assert bytes(event.data) == b'{"operation_id":"op-1","name":"import","resumes":"op-1"}'
