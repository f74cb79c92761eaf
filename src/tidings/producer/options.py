"""Options of an operation: the keyword arguments of `tidings.operation`, and how they are validated."""

import difflib
import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from tidings.client.tokens import Token
from tidings.exceptions import ContractError
from tidings.producer.diagnostics import DIAGNOSTICS
from tidings.producer.sanitize import text
from tidings.protocol.messages import CancelPush
from tidings.protocol.paths import check_key

DISABLED_VARIABLE = "TIDINGS_DISABLED"
"""Environment variable that switches reporting off, unless it is 0."""

MAX_INTEGER = 1 << 63
"""Integers from here on become floats: a quotient of them may overflow."""

Plan = Sequence["str | tuple[str, float]"] | Mapping[str, float]
"""Steps that are known in advance: names, (name, weight), or a mapping of weights by name."""
Redact = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Receives every payload before it leaves the process; returns the payload to send, or None to send nothing."""
REDACT_ARGUMENT = "the payload, a dictionary"
"""Argument of `Redact`, for errors."""
RefuseCancel = Callable[[CancelPush], str | None]
"""Receives a cancel request; returns the reason to refuse it, or None to stop."""


class Parent(Protocol):
    """An operation that another one is a part of."""

    @property
    def id(self) -> str:
        """Id of the operation."""

    @property
    def trace_id(self) -> str:
        """Trace of its events."""

    @property
    def settings(self) -> "Settings":
        """Its settings."""

    def begin(self) -> None:
        """Begin it, if it has not begun."""


class Options(TypedDict, total=False):
    """The keyword arguments of `tidings.operation`, which documents them."""

    id: str | None
    total: float | None
    parent: Parent | str | None
    url: str | None
    token: Token | None
    allow_plaintext_token: bool
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
    """The settings of an operation: its options, with those it inherits from its parent."""

    name: str
    steps: Mapping[str, float] = field(default_factory=dict)
    id: str | None = None
    total: float | None = None
    parent_id: str | None = None
    begin_parent: Callable[[], None] | None = None
    url: str | None = None
    token: Token | None = field(default=None, repr=False)
    allow_plaintext_token: bool = False
    lease_s: float | None = None
    trace_id: str | None = None
    queued: bool = False
    resumes: str | None = None
    metadata: Mapping[str, Any] | None = None
    redact: Redact | None = None
    on_cancel: RefuseCancel | None = None
    quiet: bool = False


def settings_of(name: str, steps: Plan, options: Options) -> Settings:
    """Return the settings for the arguments of `tidings.operation`.

    Raises:
        TypeError: An argument has an unknown name, or is a function that cannot be called with what it receives.
    """
    check_hook("redact", options.get("redact"), REDACT_ARGUMENT)
    check_hook("on_cancel", options.get("on_cancel"), "the request, with its `reason` and `cancelled_by`")
    own: dict[str, Any] = dict(options)
    check_names(own)
    parent: Parent | str | None = own.pop("parent", None)
    own["parent_id"] = None if parent is None else key_of(getattr(parent, "id", parent), "reading parent=")
    own["resumes"] = key_of(own.get("resumes"), "reading resumes=")
    if parent is not None and not isinstance(parent, str) and own["parent_id"] is not None:
        own["trace_id"] = own.get("trace_id") or parent.trace_id
        for fact in ("url", "token", "allow_plaintext_token", "redact"):
            own[fact] = own.get(fact) or getattr(parent.settings, fact)
        own["begin_parent"] = parent.begin
    return Settings(name=name, steps=plan_of(steps), **own)


def check_names(options: Iterable[str]) -> None:
    """Check the names of arguments of `tidings.operation`.

    Raises:
        TypeError: A name is unknown.
    """
    known = ["name", "steps", *Options.__annotations__]
    for name in options:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, 1)
            expected = f"did you mean {nearest[0]!r}?" if nearest else f"expected one of {', '.join(known)}"
            raise TypeError(f"an operation has no argument {name!r}: {expected}")


def check_hook(name: str, hook: object, *arguments: str) -> None:
    """Check that a function of the job can be called with its arguments; None is accepted.

    Args:
        name: Name of the function, for the error.
        hook: The function.
        *arguments: What it receives, for the error: one text for each positional argument.

    Raises:
        TypeError: It is not a function, is asynchronous, or takes other arguments.
    """
    if hook is None:
        return
    if not callable(hook):
        raise TypeError(f"invalid {name} {hook!r}: expected a function")
    expected = f"{len(arguments)} argument: {arguments[0]}" if arguments else "no arguments"
    if inspect.iscoroutinefunction(hook):
        raise TypeError(f"invalid {name} {hook!r}: expected a function that is not asynchronous")
    try:
        signature = inspect.signature(hook)
    except (TypeError, ValueError):  # some built-in functions have none
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise TypeError(f"invalid {name} {hook!r}: expected a function of {expected} ({error})") from None


def key_of(id: object, what: str) -> str | None:
    """Return the id of an operation; None without one. An invalid id is logged under `what` and counts as none."""
    if id is None:
        return None
    try:
        return check_key(id)  # type: ignore[arg-type]
    except (ContractError, TypeError, AttributeError) as error:
        DIAGNOSTICS.log_fault(what, error)
        return None


def is_disabled() -> bool:
    """Return whether the environment switches reporting off."""
    return os.environ.get(DISABLED_VARIABLE, "0") not in ("", "0")


def number_of(value: Any, what: str) -> float | None:
    """Return `value` as a plain number; None for None. Anything else is logged under `what` and counts as None.

    A number may be of another library, whose comparisons and sums return something else, as those of an array.
    """
    kind = type(value)
    if value is None or kind is float or (kind is int and abs(value) < MAX_INTEGER):
        return value  # type: ignore[no-any-return]
    try:
        number = float(value)
        return int(number) if number.is_integer() and abs(number) < MAX_INTEGER else number
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        DIAGNOSTICS.log_fault(what, error)
        return None


def countable(total: Any) -> float | None:
    """Return a total that a count can reach; None for a negative or infinite one (tqdm's) and for a non-number."""
    number = number_of(total, "reading total=")
    return number if number is not None and math.isfinite(number) and number >= 0 else None


def plan_of(steps: Plan) -> dict[str, float]:
    """Return the weights of planned steps by name; an invalid plan is logged and counts as empty."""
    try:
        listed: Iterable[Any] = [steps] if isinstance(steps, str) else steps
        pairs = steps.items() if isinstance(steps, Mapping) else map(_named, listed)
        return {text(name): weight_of(weight) for name, weight in pairs}
    except Exception as error:  # a generator may raise anything
        DIAGNOSTICS.log_fault("reading steps=", error)
        return {}


def weight_of(weight: float) -> float:
    """Return a finite weight of at least 0; an invalid one is logged and counts as 1."""
    number = number_of(weight, "reading a step's weight")
    return max(0.0, float(number)) if number is not None and math.isfinite(number) else 1.0


def _named(step: str | tuple[str, float]) -> tuple[str, float]:
    name, weight = (step, 1.0) if isinstance(step, str) else step
    return name, weight


def share_of(percent: float | None) -> float | None:
    """Return a percentage as a share, clipped to 0–1; None for NaN and for a non-number."""
    number = number_of(percent, "reading a percentage")
    return None if number is None or math.isnan(number) else min(1.0, max(0.0, number / 100))
