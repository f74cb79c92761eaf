"""Trim marks: how far each channel was trimmed, and each key of the types that keep only the newest few per key."""

from collections.abc import Iterable, Mapping

from tidings.protocol.paths import Path, PathSet

Slot = tuple[str, str]
"""A channel and one of its keys. The channel's own mark has the key "", which no event has."""
MAX_THINNED_KEYS = 4_096
"""Number of thinned keys with a mark of their own. Beyond it the older half counts as trimmed from the whole channel:
readers of other keys may then receive a gap that they do not have, but no reader misses a gap that it does have."""


class TrimMarks:
    """The highest trimmed durable offset of each channel, and of each of its keys that was thinned."""

    def __init__(self) -> None:
        self._channels: dict[str, int] = {}
        self._keys: dict[str, dict[str, int]] = {}
        self._highest: dict[str, int] = {}
        """The highest key mark of each channel, so that a read of a whole channel need not look at each key."""
        self._before: dict[Slot, int | None] = {}
        """The marks that changed since the last `commit`, with their values from then."""

    def restore(self, marks: Iterable[tuple[str, str, int]]) -> None:
        """Load saved marks (channel, key, offset); they count as committed."""
        for channel, key, offset in marks:
            self._set((channel, key), offset)
        self._before.clear()

    def mark_trimmed(self, channel: str, offset: int) -> None:
        """Record that the durable event at `offset` left the range of `channel`."""
        if offset > self._channels.get(channel, 0):
            self._set((channel, ""), offset)

    def mark_thinned(self, channel: str, key: str, offset: int) -> None:
        """Record that events of `key` up to `offset` were thinned."""
        if offset > self._keys.get(channel, {}).get(key, 0):
            self._set((channel, key), offset)
            if sum(map(len, self._keys.values())) > MAX_THINNED_KEYS:
                marks = sorted(mark for keys in self._keys.values() for mark in keys.values())
                self.merge_keys(marks[MAX_THINNED_KEYS // 2])

    def merge_keys(self, up_to: int) -> None:
        """Merge key marks up to `up_to` into their channels' marks: the range begins above."""
        for channel, keys in self._keys.items():
            gone = [key for key, offset in keys.items() if offset <= up_to]
            if gone:
                self.mark_trimmed(channel, max(keys[key] for key in gone))
                for key in gone:
                    self._set((channel, key), None)

    def above(self, after: int, paths: PathSet) -> int | None:
        """Return the offset up to which durable events on `paths` after `after` may be missing, or None."""
        highest = max((self._mark_of(path) for path in paths.paths), default=0)
        return highest if highest > after else None

    def _mark_of(self, path: Path) -> int:
        channel = self._channels.get(path.channel, 0)
        if path.key is None:
            return max(channel, self._highest.get(path.channel, 0))
        keys = self._keys.get(path.channel, {})
        if not path.prefix:
            return max(channel, keys.get(path.key, 0))
        return max([channel, *(offset for key, offset in keys.items() if key.startswith(path.key))])

    # Saving, in the transaction that deletes the events.

    def changed(self) -> Mapping[Slot, int | None]:
        """Return the marks that changed since the last `commit`; None for a mark that was removed."""
        return {slot: self._get(slot) for slot in self._before}

    def commit(self) -> None:
        """Record that the marks are saved as they are."""
        self._before.clear()

    def roll_back(self) -> None:
        """Restore the marks of the last `commit`."""
        for slot, offset in dict(self._before).items():
            self._set(slot, offset)
        self._before.clear()
        self._highest = {channel: max(keys.values()) for channel, keys in self._keys.items() if keys}

    def _get(self, slot: Slot) -> int | None:
        channel, key = slot
        return self._keys.get(channel, {}).get(key) if key else self._channels.get(channel)

    def _set(self, slot: Slot, offset: int | None) -> None:
        channel, key = slot
        self._before.setdefault(slot, self._get(slot))
        marks = self._keys.setdefault(channel, {}) if key else self._channels
        if offset is None:
            marks.pop(key or channel, None)
            return
        marks[key or channel] = offset
        if key:
            self._highest[channel] = max(offset, self._highest.get(channel, 0))
