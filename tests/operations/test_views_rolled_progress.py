from typing import Any

import pytest

from tidings.operations.lifecycle import OperationLife, OperationState
from tidings.operations.status import OperationStatus
from tidings.operations.views import roll_up_progress, weight_of

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
def test_progress_is_rolled_up_by_weight(parts: list[tuple[float, float | None]], mean: float | None) -> None:
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
def test_a_weight_that_is_none_is_one(metadata: dict[str, Any] | None, weight: float) -> None:
    assert weight_of(OperationStatus(operation_id="op", life=LIFE, metadata=metadata)) == weight
