"""What was trimmed: per channel, and per key for types of which only the newest few of a key are kept."""

from tidings.contract.paths import PathSet


class Floors:
    """The highest trimmed durable offset of each channel, and of each (channel, key) that was thinned out."""

    def __init__(self) -> None:
        self.channels: dict[str, int] = {}
        self.keys: dict[tuple[str, str], int] = {}

    def trim(self, channel: str, offset: int) -> None:
        """Note that the durable event at `offset` left the range of `channel`."""
        if offset > self.channels.get(channel, 0):
            self.channels[channel] = offset

    def thin(self, channel: str, key: str, offset: int) -> None:
        """Note that events of `key` up to `offset` were thinned out."""
        if offset > self.keys.get((channel, key), 0):
            self.keys[channel, key] = offset

    def forget(self, up_to: int) -> None:
        """Forget thinned keys whose trace the channels' floors have overtaken at `up_to`."""
        for name in [name for name, offset in self.keys.items() if offset <= up_to]:
            del self.keys[name]

    def above(self, after: int, paths: PathSet) -> int | None:
        """Return the offset up to which durable events on `paths` after `after` may be gone, or None."""
        highest = max((self.channels.get(path.channel, 0) for path in paths.paths), default=0)
        for (channel, key), offset in self.keys.items():
            if offset > max(after, highest) and paths.matches(channel, key):
                highest = offset
        return highest if highest > after else None
