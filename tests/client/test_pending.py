import pytest

from tidings.client.pending import PendingCancellations, make_cancel_error
from tidings.exceptions import CommandRefused, NotSupported, OperationUnknown, TidingsError
from tidings.protocol.messages import Cancel
from tidings.protocol.payloads import ErrorData

WISH = Cancel(operation_id="op-1", reason="too slow", timeout_s=10.0)


def test_cancellation_is_due_again_with_the_time_left() -> None:
    wishes = PendingCancellations()
    wishes.add("1", WISH, now=100.0)
    ((id, again),) = wishes.due(now=104.0)
    assert (id, again.operation_id, again.reason, again.timeout_s) == ("1", "op-1", "too slow", 6.0)
    ((_, late),) = wishes.due(now=200.0)
    assert late.timeout_s == 0.0


def test_settled_cancellation_is_not_due() -> None:
    wishes = PendingCancellations()
    wishes.add("1", WISH, now=0.0)
    assert wishes.settle("1") is WISH
    assert wishes.settle("1") is None
    assert list(wishes.due(1.0)) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("operation_unknown", OperationUnknown),
        ("not_supported", NotSupported),
        ("draining", CommandRefused),
        ("of_a_newer_hub", CommandRefused),
    ],
)
def test_cancel_refusal_becomes_a_specific_exception(code: str, kind: type[TidingsError]) -> None:
    error = make_cancel_error(ErrorData(code=code, message="no", recoverable=False, hint="look"), WISH)
    assert type(error) is kind
    assert (error.message, error.hint) == ("no", "look")
    if isinstance(error, OperationUnknown):
        assert error.operation_id == "op-1"
    if isinstance(error, CommandRefused):
        assert error.refusal == code
