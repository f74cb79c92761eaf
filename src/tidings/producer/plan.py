"""What a job says of its work beforehand, made fit to count with."""

import math
from collections.abc import Sequence

from tidings.producer.bounded import text
from tidings.producer.quietly import REMARKS

Plan = Sequence["str | tuple[str, float]"]
"""Steps that are known beforehand: their names, or (name, weight)."""


def countable(total: float | None) -> float | None:
    """Return a total that can be reached; tqdm's infinity, and what is no number, is an unknown one."""
    try:
        return total if total is not None and math.isfinite(total) and total >= 0 else None
    except TypeError:
        return None


def plan_of(steps: Plan) -> dict[str, float]:
    """Return the weights of planned steps by their names; a plan that cannot be read is none."""
    try:
        return {
            text(name): weight_of(weight) for name, weight in map(_named, [steps] if isinstance(steps, str) else steps)
        }
    except (TypeError, ValueError) as error:
        REMARKS.fault("reading steps=", error)
        return {}


def weight_of(weight: float) -> float:
    """Return a weight that can be added up: what is none counts as 1."""
    try:
        number = float(weight)
    except (TypeError, ValueError) as error:
        REMARKS.fault("reading a step's weight", error)
        return 1.0
    return max(0.0, number) if math.isfinite(number) else 1.0


def _named(step: str | tuple[str, float]) -> tuple[str, float]:
    name, weight = (step, 1.0) if isinstance(step, str) else step
    return name, weight


def share_of(percent: float | None) -> float | None:
    """Return a percentage as a share, cut to what a share can be; None where it is no number."""
    if percent is None:
        return None
    share = float(percent) / 100
    return None if math.isnan(share) else min(1.0, max(0.0, share))
