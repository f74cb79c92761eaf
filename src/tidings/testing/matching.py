"""What an event should be: its type and those members that matter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tidings.client.events import ReceivedEvent

_WORDS = 96
"""Characters of a value that are shown."""


class Matcher:
    """Something that a member should be, where one value says too much.

    Whatever else compares equal serves as well: `pytest.approx(3)`, `unittest.mock.ANY`.

    Args:
        says: What it accepts, in words.
        accepts: Whether a value is such a one.
    """

    def __init__(self, says: str, accepts: Callable[[Any], bool]) -> None:
        self._says = says
        self.accepts = accepts

    def __repr__(self) -> str:
        return self._says


ANYTHING = Matcher("anything", lambda value: True)
"""Any value, as long as the member is there."""
ABSENT = Matcher("absent", lambda value: False)
"""No such member."""


def approx(value: float, within: float = 1e-6) -> Matcher:
    """Return what accepts numbers that are at most `within` away from `value`."""

    def accepts(other: Any) -> bool:
        return isinstance(other, int | float) and not isinstance(other, bool) and abs(other - value) <= within

    return Matcher(f"{value!r} ± {within!r}", accepts)


def containing(part: Any) -> Matcher:
    """Return what accepts texts and lists that hold `part`."""

    def accepts(other: Any) -> bool:
        if isinstance(other, str):
            return isinstance(part, str) and part in other
        return isinstance(other, list | dict) and part in other

    return Matcher(f"containing {part!r}", accepts)


def satisfying(accepts: Callable[[Any], bool], says: str = "") -> Matcher:
    """Return what accepts the values for which `accepts` is true; `says` tells a reader which these are."""
    return Matcher(says or f"satisfying {getattr(accepts, '__name__', accepts)!s}", accepts)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEvent:
    """An event as it is compared."""

    type: str
    key: str | None = None
    trace_id: str = ""
    channel: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        members = ", ".join(f"{name}={_brief(value)}" for name, value in self.data.items())
        return f"{self.type}  {members}"[: 2 * _WORDS]


def seen(event: ReceivedEvent | Mapping[str, Any]) -> SeenEvent:
    """Return an event of a watch, or an envelope as JSON has it, in the form that is compared.

    Raises:
        TypeError: It is no event.
    """
    if isinstance(event, ReceivedEvent):
        data = msgspec.json.decode(event.data)
        return SeenEvent(
            type=event.type,
            key=event.key,
            trace_id=event.trace_id,
            channel=event.channel,
            data=data if isinstance(data, dict) else {},
        )
    if isinstance(event, Mapping) and "type" in event:
        return SeenEvent(
            type=event["type"],
            trace_id=event.get("trace_id") or "",
            channel=event.get("channel") or "",
            data=event.get("data") or {},
        )
    raise TypeError(f"{event!r} is no event")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedEvent:
    """What one event should be."""

    type: str
    envelope: Mapping[str, Any] = field(default_factory=dict)
    """What its key, trace id and channel should be, as far as they matter."""
    data: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        members = [f"{name}={_brief(value)}" for name, value in {**self.envelope, **self.data}.items()]
        return f"{self.type}  {', '.join(members)}".rstrip()

    def differences(self, event: SeenEvent) -> list[str]:
        """Return in what `event` is not what it should be; nothing where it is."""
        if event.type != self.type:
            return [f"type: expected {self.type}, is {event.type}"]
        found = [
            difference
            for name, wanted in self.envelope.items()
            for difference in _differences(name, wanted, getattr(event, name))
        ]
        return found + _member_differences("", self.data, event.data)


def event(
    type: str,
    data: Mapping[str, Any] | None = None,
    /,
    *,
    key: Any = None,
    trace_id: Any = None,
    channel: Any = None,
    **members: Any,
) -> ExpectedEvent:
    """Return what an event should be: of a type, and with members that are so; others do not matter.

    Args:
        type: The event type.
        data: Members of its data whose names are no Python names, or mean something else here.
        key: What it is about, such as its operation_id.
        trace_id: What it belongs to.
        channel: Where it is published.
        members: Members of its data: values, or matchers such as `approx`. Of an object, again only those named count.
    """
    envelope = {"key": key, "trace_id": trace_id, "channel": channel}
    return ExpectedEvent(
        type=str(type),
        envelope={name: value for name, value in envelope.items() if value is not None},
        data={**(data or {}), **members},
    )


def _member_differences(path: str, wanted: Mapping[str, Any], is_: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name, expected in wanted.items():
        member = f"{path}{name}"
        if expected is ABSENT:
            if name in is_:
                found.append(f"{member}: expected to be absent, is {_brief(is_[name])}")
        elif name not in is_:
            found.append(f"{member}: expected {_brief(expected)}, is absent")
        else:
            found += _differences(member, expected, is_[name])
    return found


def _differences(member: str, wanted: Any, is_: Any) -> list[str]:
    if isinstance(wanted, Mapping) and isinstance(is_, Mapping):
        return _member_differences(f"{member}.", wanted, is_)
    if isinstance(wanted, list | tuple) and isinstance(is_, list) and len(wanted) == len(is_):
        pairs = zip(wanted, is_, strict=True)
        return [each for n, (one, other) in enumerate(pairs) for each in _differences(f"{member}[{n}]", one, other)]
    fits = wanted.accepts(is_) if isinstance(wanted, Matcher) else bool(wanted == is_)
    return [] if fits else [f"{member}: expected {_brief(wanted)}, is {_brief(is_)}"]


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _WORDS else text[: _WORDS - 1] + "…"


@dataclass(frozen=True, slots=True)
class AnyOrder:
    """Several events that may come in any order, and between others."""

    events: tuple[ExpectedEvent, ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """Events that must not come where this stands: between its neighbours, or before the first, or after the last."""

    events: tuple[ExpectedEvent, ...]


Expected = str | ExpectedEvent | AnyOrder | NoneOf
"""What `assert_events` takes: a type alone, or what `event`, `any_order` and `none_of` return."""


def any_order(*events: str | ExpectedEvent) -> AnyOrder:
    """Return what stands for all of `events`, in whichever order they come."""
    return AnyOrder(tuple(map(as_expected, events)))


def none_of(*events: str | ExpectedEvent) -> NoneOf:
    """Return what says that none of `events` comes between its neighbours; alone, that none comes at all."""
    return NoneOf(tuple(map(as_expected, events)))


def as_expected(event: str | ExpectedEvent) -> ExpectedEvent:
    """Return a type alone as what any event of that type is."""
    return ExpectedEvent(type=str(event)) if isinstance(event, str) else event


@dataclass(frozen=True, slots=True)
class MatchStep:
    """What must come next: all of a group, before anything that is forbidden."""

    group: tuple[ExpectedEvent, ...]
    forbidden: tuple[ExpectedEvent, ...] = ()


def steps_of(expected: Sequence[Expected]) -> list[MatchStep]:
    """Return `expected` as steps; the last one has no group, and what is forbidden after everything else."""
    steps: list[MatchStep] = []
    forbidden: tuple[ExpectedEvent, ...] = ()
    for each in expected:
        if isinstance(each, NoneOf):
            forbidden += each.events
            continue
        group = each.events if isinstance(each, AnyOrder) else (as_expected(each),)
        steps.append(MatchStep(group, forbidden))
        forbidden = ()
    return [*steps, MatchStep((), forbidden)]
