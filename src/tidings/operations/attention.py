"""Which operations need a person's attention most: one order, wherever there is room for only some of them."""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from heapq import nsmallest
from typing import NamedTuple

_MAX_DEPTH = 16
"""Generations of a tree; parent ids come from clients and may form cycles."""


class Attention(IntEnum):
    """How urgently an operation needs a person's attention, the most urgent first."""

    FAILED = 0
    AWAY = 1
    """Its producer is not connected."""
    STALLED = 2
    """It is alive and does not advance."""
    SILENT = 3
    """It has sent no event for a minute."""
    NONE = 4


class Candidate(NamedTuple):
    """An operation that may be shown."""

    operation_id: str
    attention: Attention
    began_s: float
    """When it began, seconds since 1970; of a failed operation, when it failed."""
    parent_id: str | None = None


class Place(NamedTuple):
    """An operation that is shown."""

    operation_id: str
    depth: int
    """Number of its ancestors above it."""


def attention_order(candidate: Candidate) -> tuple[int, float, str]:
    """Return the sorting key of an operation: failed, producer away, stalled, silent, then the newest."""
    return candidate.attention, -candidate.began_s, candidate.operation_id


def arrange(candidates: Iterable[Candidate], lines: int) -> list[Place]:
    """Choose the operations that fit in a number of lines, and return them as a tree, children below their parent.

    Those that need attention most are chosen first, with their ancestors. Siblings have the order of the most urgent
    operation in their subtree.

    Args:
        candidates: The operations.
        lines: Maximum number of operations.
    """
    of_id = {candidate.operation_id: candidate for candidate in candidates}
    chosen: dict[str, Candidate] = {}
    # Each of them is chosen, unless its ancestors filled the lines; so no more are needed.
    for candidate in nsmallest(lines, of_id.values(), key=attention_order):
        if len(chosen) >= lines:
            break
        if candidate.operation_id in chosen:
            continue
        lineage = [each for each in _lineage(candidate, of_id) if each.operation_id not in chosen]
        for each in lineage if len(chosen) + len(lineage) <= lines else [candidate]:
            chosen[each.operation_id] = each
    return _as_tree(chosen)


def _lineage(candidate: Candidate, of_id: dict[str, Candidate]) -> list[Candidate]:
    """Return an operation and its ancestors; a cycle ends where it closes."""
    lineage = [candidate]
    while len(lineage) <= _MAX_DEPTH:
        parent = of_id.get(lineage[-1].parent_id or "")
        if parent is None or parent in lineage:
            break
        lineage.append(parent)
    return lineage


def _as_tree(chosen: dict[str, Candidate]) -> list[Place]:
    children: dict[str, list[Candidate]] = {}
    for candidate in chosen.values():
        lineage = _lineage(candidate, chosen)
        # An operation of a cycle has no root above it, and is one itself.
        rooted = len(lineage) > 1 and chosen.get(lineage[-1].parent_id or "") is None
        children.setdefault(candidate.parent_id or "" if rooted else "", []).append(candidate)
    places: list[Place] = []
    _place("", children, 0, places)
    return places


def _place(parent_id: str, children: dict[str, list[Candidate]], depth: int, places: list[Place]) -> None:
    siblings = children.get(parent_id, ())
    for candidate in sorted(siblings, key=lambda each: _subtree_order(each, children)):
        places.append(Place(candidate.operation_id, depth))
        _place(candidate.operation_id, children, depth + 1, places)


def _subtree_order(candidate: Candidate, children: dict[str, list[Candidate]]) -> tuple[int, float, str]:
    below: Sequence[Candidate] = children.get(candidate.operation_id, ())
    return min([attention_order(candidate), *(_subtree_order(child, children) for child in below)])
