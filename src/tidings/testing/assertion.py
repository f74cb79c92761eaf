"""Comparing what happened with what should have: `assert_events`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from tidings.client.events import ReceivedEvent
from tidings.testing.matching import Expected, ExpectedEvent, MatchStep, SeenEvent, seen, steps_of

_NEARBY = 4
"""Events shown on each side of the one that matters."""


@runtime_checkable
class HasEvents(Protocol):
    """A hub whose log can be read: `ManualHub`."""

    def settle_others(self) -> None:
        """Wait for the producers on other threads."""
        ...

    def events(self) -> list[ReceivedEvent]:
        """Return everything that the hub accepted."""
        ...


def assert_events(
    actual: HasEvents | Iterable[ReceivedEvent | Mapping[str, Any]],
    expected: Sequence[Expected],
    *,
    exactly: bool = False,
) -> None:
    """Check that the events happened, in this order.

    Args:
        actual: A hub, whose whole log is meant, after its producers had the time to send what they had; or events, as
            a watch and `ManualHub.events` have them; or envelopes as JSON has them.
        expected: Types, and what `event`, `any_order` and `none_of` return.
        exactly: Whether nothing else may have happened; else other events may come before, between and after.

    Raises:
        AssertionError: They did not. It says which is the first that is missing or too much, what comes nearest to it,
            and what lies around it.
    """
    __tracebackhide__ = True
    if isinstance(actual, HasEvents):
        actual.settle_others()
        actual = actual.events()
    search = _Search([seen(each) for each in actual], steps_of(expected), exactly)
    if not search.found():
        raise AssertionError(search.explanation())


@dataclass(frozen=True, slots=True)
class _State:
    """How far a search has come."""

    step: int = 0
    open: tuple[ExpectedEvent, ...] | None = None
    """What of the step's group is not found yet; None is all of it."""
    position: int = 0
    """The next event."""
    matched: tuple[int, ...] = ()
    """The places of the events that are found, in the order of what was expected of them."""


@dataclass(slots=True)
class _Search:
    """The search for a way to find all that is expected."""

    events: list[SeenEvent]
    steps: list[MatchStep]
    exactly: bool
    furthest: _State = field(default_factory=_State)
    _hopeless: set[tuple[int, tuple[int, ...], int]] = field(default_factory=set)
    """Where the search was already."""

    def found(self) -> bool:
        """Return whether there is one."""
        waiting = [_State()]
        while waiting:
            state = self._next_step(waiting.pop())
            if len(state.matched) > len(self.furthest.matched):
                self.furthest = state
            if self._done(state):
                return True
            mark = (state.step, tuple(map(id, self._open(state))), state.position)
            if mark not in self._hopeless:
                self._hopeless.add(mark)
                waiting.extend(self._continuations(state))
        return False

    def _open(self, state: _State) -> tuple[ExpectedEvent, ...]:
        return self.steps[state.step].group if state.open is None else state.open

    def _next_step(self, state: _State) -> _State:
        while not self._open(state) and state.step < len(self.steps) - 1:
            state = _State(state.step + 1, None, state.position, state.matched)
        return state

    def _done(self, state: _State) -> bool:
        return state.step == len(self.steps) - 1 and self._obstacle(state) is None

    def _continuations(self, state: _State) -> list[_State]:
        """Return what can become of the next event, the best last: it is one of those expected, or passed over."""
        place = state.position
        if place == len(self.events):
            return []
        expected = self._open(state)
        found = [] if self._blocks(state, place) else [_State(state.step, state.open, place + 1, state.matched)]
        for number, each in enumerate(expected):
            if not each.differences(self.events[place]):
                rest = expected[:number] + expected[number + 1 :]
                found.append(_State(state.step, rest, place + 1, (*state.matched, place)))
        return found

    def _blocks(self, state: _State, place: int) -> bool:
        """Return whether an event may not be passed over."""
        return self.exactly or bool(self._forbidding(state, place))

    def _forbidding(self, state: _State, place: int) -> list[ExpectedEvent]:
        return [each for each in self.steps[state.step].forbidden if not each.differences(self.events[place])]

    def _obstacle(self, state: _State) -> int | None:
        """Return the place of the first event that may not be passed over."""
        places = range(state.position, len(self.events))
        return next((place for place in places if self._blocks(state, place)), None)

    # Explaining.

    def explanation(self) -> str:
        """Return why there is no way, for a person."""
        state = self._next_step(self.furthest)
        expected = self._open(state)
        obstacle = self._obstacle(state)
        total = sum(len(step.group) for step in self.steps)
        if not expected:
            assert obstacle is not None
            happened = f"all {total} expected events happened, but then" if total else "there was"
            return self._report(f"{happened} one that must not be there", obstacle, [])
        first = expected[0]
        place, but = self._nearest(first, state.position)
        if obstacle is not None and (place is None or obstacle <= place or self.exactly):
            place, but = obstacle, self._too_much(state, obstacle)
        lines = [
            f"  expected  {first}",
            *(f"  but       {each}" for each in but[:1]),
            *(f"            {each}" for each in but[1:]),
        ]
        return self._report(f"event {len(state.matched) + 1} of {total} expected ones did not happen", place, lines)

    def _too_much(self, state: _State, place: int) -> list[str]:
        """Return why the event at `place` may not be there."""
        forbidding = self._forbidding(state, place)
        if forbidding:
            return [f"#{place} came, and there must be none of  {forbidding[0]}"]
        expected = self._open(state)
        return [f"#{place} came instead", *(expected[0].differences(self.events[place])[:3] if expected else [])]

    def _nearest(self, wanted: ExpectedEvent, position: int) -> tuple[int | None, list[str]]:
        """Return the event most like `wanted`, and in what it differs."""
        after = [n for n in range(position, len(self.events)) if self.events[n].type == wanted.type]
        if after:
            place = min(after, key=lambda n: len(wanted.differences(self.events[n])))
            return place, wanted.differences(self.events[place])
        for place in reversed(range(position)):
            if not wanted.differences(self.events[place]):
                used = " and stands for another" if place in self.furthest.matched else ""
                return place, [f"the only such event came before{used}: #{place}"]
        return None, [f"no {wanted.type} came{' after the one before it' if position else ''}"]

    def _report(self, head: str, place: int | None, lines: list[str]) -> str:
        return "\n".join([head, *lines, *self._around(place)])

    def _around(self, place: int | None) -> list[str]:
        """Return the events near `place`, or near the last that was found."""
        if not self.events:
            return ["  no event happened at all"]
        matched = self.furthest.matched
        centre = place if place is not None else (matched[-1] if matched else 0)
        first, last = max(0, centre - _NEARBY), min(len(self.events), centre + _NEARBY + 1)
        lines = [f"  what happened ({len(self.events)} events):"]
        if first:
            lines.append(f"      … {first} before")
        for n in range(first, last):
            mark = ">" if n == place else "✓" if n in matched else " "
            lines.append(f"    {mark} #{n:<3} {self.events[n]}")
        if last < len(self.events):
            lines.append(f"      … {len(self.events) - last} after")
        return lines
