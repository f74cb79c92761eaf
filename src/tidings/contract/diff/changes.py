"""One change, and all of them."""

from typing import Any, Literal

from msgspec import Struct

from tidings.contract.diff.rules import RULES, Effect, Rule, Verdict

Side = Literal["readers", "writers", "any"]


class Change(Struct, frozen=True, kw_only=True):
    """One difference between two contracts."""

    event: str
    """The type that it is about, by its new name; "" for the contract itself."""
    path: str
    """``$.data.price`` in a message, ``channel`` in the event's row, ``channels.trades`` in the contract, or "": the
    event itself."""
    rule: Rule
    readers: Effect
    writers: Effect
    before: Any = None
    """A JSON value; None where there was nothing."""
    after: Any = None

    @property
    def verdict(self) -> Verdict:
        """The worse of both sides'."""
        return max(self.readers.verdict, self.writers.verdict, key=_SEVERITY.index)

    def breaks(self, side: Side) -> bool:
        """Return whether it breaks readers, writers, or any of them."""
        looked_at = {"readers": (self.readers,), "writers": (self.writers,), "any": (self.readers, self.writers)}
        return any(effect.verdict is Verdict.BREAKING for effect in looked_at[side])


_SEVERITY = (Verdict.ANNOTATION, Verdict.COMPATIBLE, Verdict.BREAKING)


class Difference(Struct, frozen=True):
    """All that differs between two contracts, in the order of the old one's events."""

    changes: tuple[Change, ...]

    def breaking(self, side: Side = "any") -> tuple[Change, ...]:
        """Return the changes that break a side."""
        return tuple(change for change in self.changes if change.breaks(side))

    def count(self, verdict: Verdict) -> int:
        """Return how many changes are of a verdict."""
        return sum(change.verdict is verdict for change in self.changes)


def change(rule: str, event: str, path: str = "", before: Any = None, after: Any = None) -> Change:
    """Return a change by its rule's id, with the rule's own effects."""
    row = RULES[rule]
    return Change(
        event=event, path=path, rule=row, readers=row.readers, writers=row.writers, before=before, after=after
    )
