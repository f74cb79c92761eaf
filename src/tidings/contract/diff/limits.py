"""What one kind of value must fit, compared: numbers, texts, choices, and counts."""

import math
import re
from collections.abc import Iterator
from typing import Any

from tidings.contract.diff.shapes import Schema

Found = tuple[str, Any, Any]
"""A rule's id, and what was said before and after; None where nothing was."""

_INT64 = ((-(2**63), False), (2**63 - 1, False))
Bound = tuple[float, bool]
"""A number, and whether it is excluded itself."""


def compare_numbers(old: Schema, new: Schema, *, old_kind: str, new_kind: str) -> Iterator[Found]:
    """Yield what differs between two schemas of numbers, choices left out.

    Args:
        old: One.
        new: The other.
        old_kind: `integer` or `number`.
        new_kind: Likewise.
    """
    mixed = old_kind != new_kind
    before, after = _lower(old, old_kind, mixed=mixed), _lower(new, new_kind, mixed=mixed)
    if before != after:
        yield ("minimum-raised" if after > before else "minimum-lowered", *_told(before, after))
    before, after = _upper(old, old_kind, mixed=mixed), _upper(new, new_kind, mixed=mixed)
    if before != after:
        # Of two equal bounds, the one that excludes itself is the smaller.
        smaller = (after[0], not after[1]) < (before[0], not before[1])
        yield ("maximum-lowered" if smaller else "maximum-raised", *_told(before, after))
    yield from _compare_steps(old.get("multipleOf"), new.get("multipleOf"), whole=old_kind == new_kind == "integer")


def _lower(schema: Schema, kind: str, *, mixed: bool) -> Bound:
    bounds = [(-math.inf, False)]
    if "minimum" in schema:
        bounds.append((schema["minimum"], False))
    if "exclusiveMinimum" in schema:
        bounds.append((schema["exclusiveMinimum"], True))
    bound = max(bounds)
    if kind == "integer" and abs(bound[0]) != math.inf:
        bound = (math.floor(bound[0]) + 1 if bound[1] else math.ceil(bound[0]), False)
    # What Go's int64 holds is what an integer is; that a number has no such limits is told by its being a number.
    return (-math.inf, False) if mixed and kind == "integer" and bound == _INT64[0] else bound


def _upper(schema: Schema, kind: str, *, mixed: bool) -> Bound:
    bounds = [(math.inf, False)]
    if "maximum" in schema:
        bounds.append((schema["maximum"], False))
    if "exclusiveMaximum" in schema:
        bounds.append((schema["exclusiveMaximum"], True))
    bound = min(bounds, key=lambda each: (each[0], not each[1]))
    if kind == "integer" and abs(bound[0]) != math.inf:
        bound = (math.ceil(bound[0]) - 1 if bound[1] else math.floor(bound[0]), False)
    return (math.inf, False) if mixed and kind == "integer" and bound == _INT64[1] else bound


def _told(before: Bound, after: Bound) -> tuple[Any, Any]:
    told: list[Any] = []
    for number, excluded in (before, after):
        told.append(None if math.isinf(number) else f"{number}, itself excluded" if excluded else number)
    return told[0], told[1]


def _compare_steps(old: float | None, new: float | None, *, whole: bool) -> Iterator[Found]:
    if whole:  # every whole number is a multiple of 1
        old, new = (None if step == 1 else step for step in (old, new))
    if old == new:
        return
    if old is None or new is None:
        yield "step-added" if old is None else "step-removed", old, new
    elif _is_whole(new / old) and _is_whole(old) and _is_whole(new):
        yield "step-raised", old, new
    elif _is_whole(old / new) and _is_whole(old) and _is_whole(new):
        yield "step-lowered", old, new
    else:  # among fractions, what a multiple is depends on how they are rounded
        yield "step-changed", old, new


def _is_whole(number: float) -> bool:
    return float(number).is_integer()


def compare_texts(old: Schema, new: Schema) -> Iterator[Found]:
    """Yield what differs between two schemas of texts, choices left out."""
    yield from compare_counts(old, new, "length-", "minLength", "maxLength")
    yield from _compare_said("pattern", old.get("pattern"), new.get("pattern"))
    for keyword in ("format", "contentEncoding"):
        yield from _compare_said("format", old.get(keyword), new.get(keyword))


def _compare_said(rule: str, old: Any, new: Any) -> Iterator[Found]:
    if old != new:
        yield f"{rule}-{'added' if old is None else 'removed' if new is None else 'changed'}", old, new


def compare_counts(old: Schema, new: Schema, rule: str, least: str, most: str) -> Iterator[Found]:
    """Yield what differs between two lower and two upper counts, whose keywords are `least` and `most`."""
    before, after = old.get(least, 0), new.get(least, 0)
    if before != after:
        yield f"{rule}minimum-{'raised' if after > before else 'lowered'}", before, after
    before, after = old.get(most), new.get(most)
    if before != after:
        lowered = before is None or (after is not None and after < before)
        yield f"{rule}maximum-{'lowered' if lowered else 'raised'}", before, after


def compare_choices(old: Schema, new: Schema) -> Iterator[Found]:
    """Yield what differs between two schemas of one kind, of which at least one is a choice."""
    before, after = old.get("enum"), new.get("enum")
    if before is not None and after is not None:
        for value in after:
            if not _among(value, before):
                yield "choice-value-added", None, value
        for value in before:
            if not _among(value, after):
                yield "choice-value-removed", value, None
    elif after is not None:
        yield ("choice-closed" if all(_fits(value, old) for value in after) else "choice-changed", None, after)
    else:
        yield ("choice-opened" if all(_fits(value, new) for value in before or ()) else "choice-changed", before, None)


def _among(value: Any, values: list[Any]) -> bool:
    return any(value == each and type(value) is type(each) for each in values)


def _fits(value: Any, schema: Schema) -> bool:
    """Return whether a text or a number surely fits a schema of its kind."""
    if isinstance(value, str):
        if set(schema) - {"minLength", "maxLength", "pattern"}:
            return False
        long_enough = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf)
        return long_enough and _matches(schema.get("pattern", ""), value)
    if isinstance(value, bool) or not isinstance(value, int):
        return not schema
    low, high = _lower(schema, "number", mixed=False), _upper(schema, "number", mixed=False)
    step = schema.get("multipleOf", 1)
    above = value > low[0] or (value == low[0] and not low[1])
    below = value < high[0] or (value == high[0] and not high[1])
    return above and below and _is_whole(step) and value % step == 0


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # a pattern of another language: nobody can tell
        return False
