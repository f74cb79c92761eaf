"""Plans of snapshots: the offsets of the newest events of a channel, in order, to be read page by page.

A plan is made once and then grows by what was written since, so that one more subscriber does not cost one more walk
over every key. Offsets in it that were superseded meanwhile are skipped by who reads them (`Newest.is_newest`).
"""

from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator

from tidings.protocol.paths import Path, PathSet

Offsets = dict[str | None, int]
"""The newest offsets of one (channel, type) by key, in offset order."""
_PLANS = 64
"""Remembered: one for each channel that is read whole, and each prefix."""
_SLACK = 1_024
"""Offsets that are no longer newest that a plan may hold beside twice those that are."""


class _Plan:
    __slots__ = ("live", "offsets", "removed", "until")

    def __init__(self, removed: int) -> None:
        self.offsets = array("q")
        self.until = 0
        """The offset up to which the plan was made."""
        self.live = 0
        """Its length when it was made anew."""
        self.removed = removed


class Plans:
    """The plans of a table of newest events.

    Args:
        groups: Gives the offsets of each type of a channel.
    """

    def __init__(self, groups: Callable[[str], Iterator[Offsets]]) -> None:
        self._groups = groups
        self._plans: OrderedDict[tuple[tuple[Path, ...], tuple[Path, ...]], _Plan] = OrderedDict()
        self.removed = 0
        """Keys that left the table without being written again; the table counts them here."""

    def page(self, paths: PathSet, but: PathSet, *, after: int, until: int, limit: int) -> list[int]:
        """Return, in order, up to `limit` offsets of newest events on `paths` and not on `but`.

        Args:
            paths: What is wanted,
            but: and what of it is not.
            after: The offsets are greater,
            until: and at most this.
            limit: Of how many offsets. Some of them may have been superseded.
        """
        excluded = but.by_channel()
        found: list[int] = []
        for channel, wanted in paths.by_channel().items():
            unwanted = excluded.get(channel, ())
            if any(path.key is None for path in unwanted):
                continue
            if all(path.key is not None and not path.prefix for path in wanted):
                keys = [path.key for path in wanted if not any(other.covers(path) for other in unwanted)]
                of_keys = (offsets.get(key, 0) for offsets in self._groups(channel) for key in keys)
                found += [offset for offset in of_keys if after < offset <= until]
            else:
                offsets = self._plan(wanted, unwanted).offsets
                start = bisect_right(offsets, after)
                found += offsets[start : min(start + limit, bisect_right(offsets, until))]
        found.sort()
        return found[:limit]

    def _plan(self, wanted: tuple[Path, ...], unwanted: tuple[Path, ...]) -> _Plan:
        name = wanted, unwanted
        plan = self._plans.pop(name, None)
        if plan is None or len(plan.offsets) + self.removed - plan.removed > 2 * plan.live + _SLACK:
            plan = _Plan(self.removed)
            self._extend(plan, wanted, unwanted)
            plan.live = len(plan.offsets)
        else:
            self._extend(plan, wanted, unwanted)
        self._plans[name] = plan
        if len(self._plans) > _PLANS:
            self._plans.popitem(last=False)
        return plan

    def _extend(self, plan: _Plan, wanted: tuple[Path, ...], unwanted: tuple[Path, ...]) -> None:
        channel = wanted[0].channel
        everything = not unwanted and wanted[0].key is None
        matches, excludes = PathSet(wanted).matcher(), PathSet(unwanted).matcher()
        made_until = plan.until
        new: list[int] = []
        for offsets in self._groups(channel):
            if everything and not made_until:
                new += offsets.values()
                continue
            for key in reversed(offsets):
                offset = offsets[key]
                if offset <= made_until:
                    break
                if everything or (matches(channel, key) and not excludes(channel, key)):
                    new.append(offset)
        new.sort()
        plan.offsets.extend(new)
        plan.until = max(plan.until, *(next((of[key] for key in reversed(of)), 0) for of in self._groups(channel)), 0)
