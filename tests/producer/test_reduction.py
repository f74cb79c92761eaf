"""Ends that a hub refuses for their payload, and what is sent in their place."""

from typing import Any

import msgspec
import pytest

from tidings.client.drafts import make_draft
from tidings.producer.reduction import reduce_end


@pytest.mark.parametrize(
    ("type", "data", "reduced"),
    [
        (
            "operation:complete",
            {"operation_id": "a", "attempt": 2, "message": "m", "result": [1]},
            {"operation_id": "a", "attempt": 2, "result": {"omitted": "refused: too_deep"}},
        ),
        (
            "operation:failed",
            {"operation_id": "a", "code": "c", "message": "m", "recoverable": True, "details": "long"},
            {"operation_id": "a", "code": "c", "message": "m", "recoverable": True},
        ),
        ("operation:cancelled", {"operation_id": "a", "reason": "r"}, {"operation_id": "a"}),
    ],
)
def test_refused_end_keeps_its_outcome(type: str, data: dict[str, Any], reduced: dict[str, Any]) -> None:
    end = make_draft(type, data)
    other = reduce_end(end, "too_deep")
    assert other is not None
    assert msgspec.json.decode(other.data) == reduced
    assert other.event_id != end.event_id
    assert reduce_end(end, "too_deep") == other, "the same event, whoever sends it"
    assert reduce_end(other, "too_deep") is None, "there is nothing more to leave out"


def test_other_events_and_refusals_are_not_reduced() -> None:
    assert reduce_end(make_draft("operation:log", {"operation_id": "a", "message": "m"}), "too_deep") is None
    assert reduce_end(make_draft("operation:complete", {"operation_id": "a", "result": 1}), "operation_fenced") is None
