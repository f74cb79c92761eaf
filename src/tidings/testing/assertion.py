"""`assert_events`: compares the events of a hub with the expected ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from tidings.client.events import ReceivedEvent
from tidings.testing.matching import Expected, ExpectedEvent, MatchStep, SeenEvent, steps_of, to_seen

_CONTEXT_EVENTS = 4
"""Number of events shown on each side of the event in question."""


@runtime_checkable
class HasEvents(Protocol):
    """A hub whose log can be read: `ManualHub`."""

    def settle_others(self) -> None:
        """Wait for the producers on other threads."""

    def events(self) -> list[ReceivedEvent]:
        """Return every event that the hub accepted."""


def assert_events(
    actual: HasEvents | Iterable[ReceivedEvent | Mapping[str, Any]],
    expected: Sequence[Expected],
    *,
    exactly: bool = False,
) -> None:
    """Check that the expected events happened, in this order.

    Args:
        actual: A hub, for its whole log after its producers have sent their events; or events from a watch or from
            `ManualHub.events`; or envelopes decoded from JSON.
        expected: Types, and the results of `event`, `any_order` and `none_of`.
        exactly: Whether other events are forbidden. Default: they may come before, between and after.

    Raises:
        AssertionError: They did not happen. The message shows the first event that is missing or unexpected, the event
            nearest to it, and the events around it.
    """
    __tracebackhide__ = True
    if isinstance(actual, HasEvents):
        actual.settle_others()
        actual = actual.events()
    search = _Search([to_seen(each) for each in actual], steps_of(expected), exactly)
    if not search.run():
        raise AssertionError(search.explain())


@dataclass(frozen=True, slots=True)
class _State:
    """The progress of a search."""

    step: int = 0
    open: tuple[ExpectedEvent, ...] | None = None
    """The events of the step's group that are not found yet; None means all."""
    position: int = 0
    """Index of the next event."""
    matched: tuple[int, ...] = ()
    """Indexes of the events that were found, in the order of the expected ones."""


@dataclass(slots=True)
class _Search:
    """The search for an assignment of events to all expected ones."""

    events: list[SeenEvent]
    steps: list[MatchStep]
    exactly: bool
    furthest: _State = field(default_factory=_State)
    _visited: set[tuple[int, tuple[int, ...], int]] = field(default_factory=set)
    """The states that were examined already."""

    def run(self) -> bool:
        """Return whether there is one."""
        waiting = [_State()]
        while waiting:
            state = self._next_step(waiting.pop())
            if len(state.matched) > len(self.furthest.matched):
                self.furthest = state
            if self._is_done(state):
                return True
            mark = (state.step, tuple(map(id, self._open(state))), state.position)
            if mark not in self._visited:
                self._visited.add(mark)
                waiting.extend(self._continuations(state))
        return False

    def _open(self, state: _State) -> tuple[ExpectedEvent, ...]:
        return self.steps[state.step].group if state.open is None else state.open

    def _next_step(self, state: _State) -> _State:
        while not self._open(state) and state.step < len(self.steps) - 1:
            state = _State(state.step + 1, None, state.position, state.matched)
        return state

    def _is_done(self, state: _State) -> bool:
        return state.step == len(self.steps) - 1 and self._obstacle(state) is None

    def _continuations(self, state: _State) -> list[_State]:
        """Return the states that the next event can lead to, the best last: it is an expected one, or skipped."""
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
        """Return whether an event may not be skipped."""
        return self.exactly or bool(self._forbidding(state, place))

    def _forbidding(self, state: _State, place: int) -> list[ExpectedEvent]:
        return [each for each in self.steps[state.step].forbidden if not each.differences(self.events[place])]

    def _obstacle(self, state: _State) -> int | None:
        """Return the index of the first event that may not be skipped."""
        places = range(state.position, len(self.events))
        return next((place for place in places if self._blocks(state, place)), None)

    # The failure message.

    def explain(self) -> str:
        """Return why there is no assignment."""
        state = self._next_step(self.furthest)
        expected = self._open(state)
        obstacle = self._obstacle(state)
        total = sum(len(step.group) for step in self.steps)
        if not expected:
            assert obstacle is not None
            happened = f"all {total} expected events happened, but then" if total else "there was"
            return self._report(f"{happened} one that is forbidden", obstacle, [])
        first = expected[0]
        place, but = self._nearest(first, state.position)
        if obstacle is not None and (place is None or obstacle <= place or self.exactly):
            place, but = obstacle, self._unexpected(state, obstacle)
        lines = [
            f"  expected  {first}",
            *(f"  but       {each}" for each in but[:1]),
            *(f"            {each}" for each in but[1:]),
        ]
        return self._report(f"expected event {len(state.matched) + 1} of {total} did not happen", place, lines)

    def _unexpected(self, state: _State, place: int) -> list[str]:
        """Return why the event at index `place` may not be there."""
        forbidding = self._forbidding(state, place)
        if forbidding:
            return [f"#{place} came, but none_of forbids  {forbidding[0]}"]
        expected = self._open(state)
        return [f"#{place} came instead", *(expected[0].differences(self.events[place])[:3] if expected else [])]

    def _nearest(self, expected: ExpectedEvent, position: int) -> tuple[int | None, list[str]]:
        """Return the event most similar to `expected`, and the differences."""
        after = [n for n in range(position, len(self.events)) if self.events[n].type == expected.type]
        if after:
            place = min(after, key=lambda n: len(expected.differences(self.events[n])))
            return place, expected.differences(self.events[place])
        for place in reversed(range(position)):
            if not expected.differences(self.events[place]):
                used = " and matches another expected one" if place in self.furthest.matched else ""
                return place, [f"the only such event came before{used}: #{place}"]
        return None, [f"no {expected.type} came{' after the one before it' if position else ''}"]

    def _report(self, head: str, place: int | None, lines: list[str]) -> str:
        return "\n".join([head, *lines, *self._around(place)])

    def _around(self, place: int | None) -> list[str]:
        """Return the events near index `place`, or near the last that was found."""
        if not self.events:
            return ["  no event happened"]
        matched = self.furthest.matched
        centre = place if place is not None else (matched[-1] if matched else 0)
        first, last = max(0, centre - _CONTEXT_EVENTS), min(len(self.events), centre + _CONTEXT_EVENTS + 1)
        lines = [f"  what happened ({len(self.events)} events):"]
        if first:
            lines.append(f"      … {first} before")
        for n in range(first, last):
            mark = ">" if n == place else "✓" if n in matched else " "
            lines.append(f"    {mark} #{n:<3} {self.events[n]}")
        if last < len(self.events):
            lines.append(f"      … {len(self.events) - last} after")
        return lines
