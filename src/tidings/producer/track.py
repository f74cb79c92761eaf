"""Iterators that count: what `track` returns."""

import operator
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tidings.producer.scope import Scope

T = TypeVar("T")


def track(scope: "Scope", rows: Iterable[T], *, total: float | None, description: str | None, unit: str) -> Iterator[T]:
    """Yield `rows`, counting each when the loop comes back for the next; see `tidings.producer.scope.Scope.track`."""
    pulse = scope._pulse
    counter = scope._open_track(length_of(rows) if total is None else total, description, unit)
    try:
        for row in rows:
            if pulse.alert:
                pulse.attend(True)
            yield row
            counter._count += 1
        if pulse.alert:
            pulse.attend(True)
    finally:
        scope._close_track(counter)


async def track_async(
    scope: "Scope", rows: AsyncIterable[T], *, total: float | None, description: str | None, unit: str
) -> AsyncIterator[T]:
    """Do the same for `async for`."""
    pulse = scope._pulse
    counter = scope._open_track(length_of(rows) if total is None else total, description, unit)
    try:
        async for row in rows:
            if pulse.alert:
                pulse.attend(True)
            yield row
            counter._count += 1
        if pulse.alert:
            pulse.attend(True)
    finally:
        scope._close_track(counter)


def length_of(rows: object) -> float | None:
    """Return how many there are, where `rows` knows: its `len()`, or what it says it has left (PEP 424)."""
    try:
        return len(rows)  # type: ignore[arg-type]
    except Exception:  # not only TypeError: lengths of lazy data may need a database
        pass
    try:
        return operator.length_hint(rows) or None
    except Exception:  # likewise
        return None
