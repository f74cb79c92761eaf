"""Expected events: a type, and the members of its data that matter."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tidings.client.events import ReceivedEvent

MAX_SHOWN_CHARS = 96
"""Number of characters of a value that failure messages show."""


class Matcher:
    """A condition for a member, where a fixed value would be too strict.

    Any object that compares equal can be used instead: `pytest.approx(3)`, `unittest.mock.ANY`.

    Args:
        description: The accepted values, for failure messages.
        accepts: Returns whether a value is accepted.
    """

    def __init__(self, description: str, accepts: Callable[[Any], bool]) -> None:
        self._description = description
        self.accepts = accepts

    def __repr__(self) -> str:
        return self._description


ANYTHING = Matcher("anything", lambda value: True)
"""Accepts any value, but the member must exist."""
ABSENT = Matcher("absent", lambda value: False)
"""Accepts only a missing member."""


def approx(value: float, within: float = 1e-6) -> Matcher:
    """Return a matcher for numbers that differ from `value` by at most `within`."""

    def accepts(other: Any) -> bool:
        return isinstance(other, int | float) and not isinstance(other, bool) and abs(other - value) <= within

    return Matcher(f"{value!r} ± {within!r}", accepts)


def containing(part: Any) -> Matcher:
    """Return a matcher for texts, lists and objects that contain `part`."""

    def accepts(other: Any) -> bool:
        if isinstance(other, str):
            return isinstance(part, str) and part in other
        return isinstance(other, list | dict) and part in other

    return Matcher(f"containing {part!r}", accepts)


def satisfying(accepts: Callable[[Any], bool], description: str = "") -> Matcher:
    """Return a matcher for values for which `accepts` is true; `description` names them in failure messages."""
    return Matcher(description or f"satisfying {getattr(accepts, '__name__', accepts)!s}", accepts)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenEvent:
    """An event in the form that is compared."""

    type: str
    key: str | None = None
    trace_id: str = ""
    channel: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        members = ", ".join(f"{name}={_shorten(value)}" for name, value in self.data.items())
        return f"{self.type}  {members}"[: 2 * MAX_SHOWN_CHARS]


def to_seen(event: ReceivedEvent | Mapping[str, Any]) -> SeenEvent:
    """Convert an event of a watch, or an envelope decoded from JSON, to the form that is compared.

    Raises:
        TypeError: `event` is neither.
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
    raise TypeError(f"invalid event {event!r}: expected a ReceivedEvent or an envelope with a type")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedEvent:
    """One expected event."""

    type: str
    envelope: Mapping[str, Any] = field(default_factory=dict)
    """The expected `key`, `trace_id` and `channel`; missing ones are not compared."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The expected members of its data; others are not compared."""

    def __str__(self) -> str:
        members = [f"{name}={_shorten(value)}" for name, value in {**self.envelope, **self.data}.items()]
        return f"{self.type}  {', '.join(members)}".rstrip()

    def differences(self, event: SeenEvent) -> list[str]:
        """Return how `event` differs from this one; empty if it matches."""
        if event.type != self.type:
            return [f"type: expected {self.type}, is {event.type}"]
        found = [
            difference
            for name, expected in self.envelope.items()
            for difference in _differences(name, expected, getattr(event, name))
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
    """Return an expected event. Members that are not given are not compared.

    Args:
        type: The event type.
        data: Members of its data whose names are not Python names, or are parameters of this function.
        key: Its key, such as an operation id.
        trace_id: Its trace id.
        channel: Its channel.
        members: Members of its data: values, or matchers such as `approx`. In objects, too, only given members count.
    """
    envelope = {"key": key, "trace_id": trace_id, "channel": channel}
    return ExpectedEvent(
        type=str(type),
        envelope={name: value for name, value in envelope.items() if value is not None},
        data={**(data or {}), **members},
    )


def _member_differences(path: str, expected: Mapping[str, Any], actual: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name, value in expected.items():
        member = f"{path}{name}"
        if value is ABSENT:
            if name in actual:
                found.append(f"{member}: expected to be absent, is {_shorten(actual[name])}")
        elif name not in actual:
            found.append(f"{member}: expected {_shorten(value)}, is absent")
        else:
            found += _differences(member, value, actual[name])
    return found


def _differences(member: str, expected: Any, actual: Any) -> list[str]:
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        return _member_differences(f"{member}.", expected, actual)
    if isinstance(expected, list | tuple) and isinstance(actual, list) and len(expected) == len(actual):
        pairs = zip(expected, actual, strict=True)
        return [each for n, (one, other) in enumerate(pairs) for each in _differences(f"{member}[{n}]", one, other)]
    fits = expected.accepts(actual) if isinstance(expected, Matcher) else bool(expected == actual)
    return [] if fits else [f"{member}: expected {_shorten(expected)}, is {_shorten(actual)}"]


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


@dataclass(frozen=True, slots=True)
class AnyOrder:
    """Expected events that may come in any order, with others in between."""

    events: tuple[ExpectedEvent, ...]


@dataclass(frozen=True, slots=True)
class NoneOf:
    """Events that must not come at this place in the list: between its neighbours, or at either end."""

    events: tuple[ExpectedEvent, ...]


Expected = str | ExpectedEvent | AnyOrder | NoneOf
"""An item of the list that `assert_events` expects: a type, or the result of `event`, `any_order` or `none_of`."""


def any_order(*events: str | ExpectedEvent) -> AnyOrder:
    """Return an item that stands for all of `events` in any order."""
    return AnyOrder(tuple(map(as_expected, events)))


def none_of(*events: str | ExpectedEvent) -> NoneOf:
    """Return an item that forbids `events` between its neighbours in the list; alone in the list, anywhere."""
    return NoneOf(tuple(map(as_expected, events)))


def as_expected(event: str | ExpectedEvent) -> ExpectedEvent:
    """Convert a type to an expected event that matches any event of that type."""
    return ExpectedEvent(type=str(event)) if isinstance(event, str) else event


@dataclass(frozen=True, slots=True)
class MatchStep:
    """One step of a match: all events of a group must come, without any forbidden event before the last of them."""

    group: tuple[ExpectedEvent, ...]
    forbidden: tuple[ExpectedEvent, ...] = ()


def steps_of(expected: Sequence[Expected]) -> list[MatchStep]:
    """Convert `expected` to steps; the last one has no group, and the events forbidden after all others."""
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
