"""Progress of an operation that reports none itself, from that of its children (CONTRACT §4)."""

from collections.abc import Sequence

from tidings.contract.operation import OperationStatus

_HEAVIEST = 1e9
"""Sums of more would lose the small ones."""


def rolled_up(parts: Sequence[tuple[float, float | None]]) -> float | None:
    """Return the mean of children's progress by weight, or None where nothing is known of any.

    Args:
        parts: Of each child, its weight and its progress; who has told none has done nothing yet.
    """
    whole = sum(weight for weight, _ in parts)
    if whole <= 0 or all(progress is None for _, progress in parts):
        return None
    return sum(weight * (progress or 0.0) for weight, progress in parts) / whole


def weight_of(status: OperationStatus) -> float:
    """Return what a child counts for in its parent's progress: `metadata.weight`, or 1."""
    weight = (status.metadata or {}).get("weight", 1)
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    return float(weight) if is_number and 0 <= weight <= _HEAVIEST else 1.0
