"""Names (keys, ids) by their owners, so that a limit removes those of the owner that has the most."""

from collections import defaultdict
from collections.abc import Iterable


class OwnedNames:
    """Names in the order in which they were added, by their owners."""

    __slots__ = ("_names_of", "_owners")

    def __init__(self, unowned: Iterable[str | None] = ()) -> None:
        self._owners: dict[str | None, str] = dict.fromkeys(unowned, "")
        self._names_of: defaultdict[str, dict[str | None, None]] = defaultdict(dict)
        if self._owners:
            self._names_of[""] = dict.fromkeys(self._owners)

    def __len__(self) -> int:
        return len(self._owners)

    def __contains__(self, name: object) -> bool:
        return name in self._owners

    def add(self, name: str | None, owner: str) -> None:
        """Add a name, or move it to the end of those of its owner, which may be another one than before."""
        before = self._owners.get(name)
        if before is not None:
            names = self._names_of[before]
            del names[name]
            if not names and before != owner:
                del self._names_of[before]
        self._owners[name] = owner
        self._names_of[owner][name] = None

    def discard(self, name: str | None) -> None:
        """Remove a name, if it is there."""
        owner = self._owners.pop(name, None)
        if owner is not None:
            names = self._names_of[owner]
            del names[name]
            if not names:
                del self._names_of[owner]

    @property
    def owners(self) -> int:
        """Number of owners that have a name."""
        return len(self._names_of)

    def count(self, owner: str) -> int:
        """Return the number of names of an owner."""
        return len(self._names_of.get(owner, ()))

    def of(self, owner: str) -> Iterable[str | None]:
        """Return the names of an owner, the oldest first."""
        return self._names_of.get(owner, {})

    def of_largest(self) -> Iterable[str | None]:
        """Return the names of the owner that has most of them, the oldest first."""
        return max(self._names_of.values(), key=len, default={})
