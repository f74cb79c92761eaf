"""What is said of an operation before it begins.

What a job says of its work beforehand, made fit to count with.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from tidings.producer.diagnostics import DIAGNOSTICS
from tidings.producer.sanitize import text
from tidings.protocol.messages import CancelPush

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
        DIAGNOSTICS.fault("reading steps=", error)
        return {}


def weight_of(weight: float) -> float:
    """Return a weight that can be added up: what is none counts as 1."""
    try:
        number = float(weight)
    except (TypeError, ValueError) as error:
        DIAGNOSTICS.fault("reading a step's weight", error)
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


DISABLED_VARIABLE = "TIDINGS_DISABLED"
"""Set to anything but 0, nothing is reported anywhere."""

Redact = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Sees every payload before it leaves the process; returns what may, or None for nothing."""
RefuseCancel = Callable[[CancelPush], str | None]
"""Sees a request to stop; returns why the job will not, or None where it will."""


def is_disabled() -> bool:
    """Return whether the environment says that nothing is to be reported."""
    return os.environ.get(DISABLED_VARIABLE, "0") not in ("", "0")


class Parent(Protocol):
    """An operation that another is a part of."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def trace_id(self) -> str:
        """Its trace."""
        ...

    @property
    def settings(self) -> "Settings":
        """What was said of it before it began."""
        ...


class Options(TypedDict, total=False):
    """The keyword arguments of `tidings.operation`, which has them explained."""

    id: str | None
    total: float | None
    parent: Parent | str | None
    url: str | None
    token: str | None
    lease_s: float | None
    trace_id: str | None
    queued: bool
    resumes: str | None
    metadata: Mapping[str, Any] | None
    redact: Redact | None
    on_cancel: RefuseCancel | None
    quiet: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The same, with what a part has from its parent."""

    name: str
    steps: Mapping[str, float] = field(default_factory=dict)
    id: str | None = None
    total: float | None = None
    parent_id: str | None = None
    url: str | None = None
    token: str | None = None
    lease_s: float | None = None
    trace_id: str | None = None
    queued: bool = False
    resumes: str | None = None
    metadata: Mapping[str, Any] | None = None
    redact: Redact | None = None
    on_cancel: RefuseCancel | None = None
    quiet: bool = False


def settings_of(name: str, steps: Plan, options: Options) -> Settings:
    """Return the settings that the arguments of `tidings.operation` mean."""
    own: dict[str, Any] = dict(options)
    parent: Parent | str | None = own.pop("parent", None)
    if isinstance(parent, str):
        own["parent_id"] = parent
    elif parent is not None:
        own["parent_id"] = parent.id
        own["trace_id"] = own.get("trace_id") or parent.trace_id
        for fact in ("url", "token", "redact"):
            own[fact] = own.get(fact) or getattr(parent.settings, fact)
    return Settings(name=name, steps=plan_of(steps), **own)
