"""What was trimmed: per channel, and per key for types of which only the newest few of a key are kept."""

from collections.abc import Iterable, Mapping

from tidings.protocol.paths import Path, PathSet

Slot = tuple[str, str]
"""A channel and a key of it; the channel's own floor has the key "", which no event has (CONTRACT §2)."""
_MOST_KEYS = 4_096
"""Thinned keys remembered apart. Beyond it the older half counts as trimmed of the whole channel: readers of other
keys may then be told of a gap that they do not have, and nobody has one that he is not told of."""


class TrimMarks:
    """The highest trimmed durable offset of each channel, and of each key of it that was thinned out."""

    def __init__(self) -> None:
        self._channels: dict[str, int] = {}
        self._keys: dict[str, dict[str, int]] = {}
        self._highest: dict[str, int] = {}
        """By channel: the highest of its keys' floors, so that whole channels need no look at each."""
        self._before: dict[Slot, int | None] = {}
        """The floors that changed since the last `settle`, as they were then."""

    def restore(self, floors: Iterable[tuple[str, str, int]]) -> None:
        """Remember floors (channel, key, offset) that were saved; they count as settled."""
        for channel, key, offset in floors:
            self._set((channel, key), offset)
        self._before.clear()

    def trim(self, channel: str, offset: int) -> None:
        """Note that the durable event at `offset` left the range of `channel`."""
        if offset > self._channels.get(channel, 0):
            self._set((channel, ""), offset)

    def thin(self, channel: str, key: str, offset: int) -> None:
        """Note that events of `key` up to `offset` were thinned out."""
        if offset > self._keys.get(channel, {}).get(key, 0):
            self._set((channel, key), offset)
            if sum(map(len, self._keys.values())) > _MOST_KEYS:
                floors = sorted(floor for keys in self._keys.values() for floor in keys.values())
                self.forget(floors[_MOST_KEYS // 2])

    def forget(self, up_to: int) -> None:
        """Count what was thinned out up to `up_to` as trimmed of its channel: the range begins above."""
        for channel, keys in self._keys.items():
            gone = [key for key, offset in keys.items() if offset <= up_to]
            if gone:
                self.trim(channel, max(keys[key] for key in gone))
                for key in gone:
                    self._set((channel, key), None)

    def above(self, after: int, paths: PathSet) -> int | None:
        """Return the offset up to which durable events on `paths` after `after` may be gone, or None."""
        highest = max((self._floor(path) for path in paths.paths), default=0)
        return highest if highest > after else None

    def _floor(self, path: Path) -> int:
        channel = self._channels.get(path.channel, 0)
        if path.key is None:
            return max(channel, self._highest.get(path.channel, 0))
        keys = self._keys.get(path.channel, {})
        if not path.prefix:
            return max(channel, keys.get(path.key, 0))
        return max([channel, *(offset for key, offset in keys.items() if key.startswith(path.key))])

    # Keeping them beside the events, in the same transaction.

    def changed(self) -> Mapping[Slot, int | None]:
        """Return the floors that changed since the last `settle`; None is one that is gone."""
        return {slot: self._get(slot) for slot in self._before}

    def settle(self) -> None:
        """Note that the floors are saved as they are."""
        self._before.clear()

    def roll_back(self) -> None:
        """Be again as at the last `settle`."""
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
        floors = self._keys.setdefault(channel, {}) if key else self._channels
        if offset is None:
            floors.pop(key or channel, None)
            return
        floors[key or channel] = offset
        if key:
            self._highest[channel] = max(offset, self._highest.get(channel, 0))
