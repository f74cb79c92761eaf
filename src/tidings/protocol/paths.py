"""Subscription paths (PROTOCOL.md, "Channels, keys and paths").

A path is a channel (``operations``), one key of it (``operations/op-42``: everything after the first ``/``, verbatim),
a prefix of keys (``operations/acme.*``), or ``*``, every channel. ``global`` is part of every set of paths.
"""

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import unquote_to_bytes

from msgspec import Struct

from tidings.exceptions import InvalidKey, InvalidPath, UnknownChannel
from tidings.protocol.message_types import ChannelType

MAX_KEY_BYTES = 255
"""Maximum size of a key in UTF-8."""
EVERYTHING = "*"
"""The path of everything that may be read."""
NO_CHANNELS = "none"
"""Value of ``?channels=none``, for a connection that only publishes."""
_CHANNEL = re.compile(r"[a-z][a-z0-9_]*")
_CONTROLS = frozenset(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))


def is_channel_name(name: str) -> bool:
    """Return whether a contract may have a channel of this name."""
    return name != NO_CHANNELS and _CHANNEL.fullmatch(name) is not None


def check_key(key: str) -> str:
    """Return `key` if it is 1–255 bytes of UTF-8 without control characters.

    Raises:
        InvalidKey: `key` is not valid.
    """
    if key.isascii():
        size = len(key)
        clean = key.isprintable()
    else:
        try:
            size = len(key.encode())
        except UnicodeEncodeError as cause:
            raise InvalidKey("the key holds half a surrogate pair") from cause
        clean = _CONTROLS.isdisjoint(key)
    if not 1 <= size <= MAX_KEY_BYTES:
        raise InvalidKey(f"the key is {size} bytes long; 1–{MAX_KEY_BYTES} are allowed")
    if not clean:
        raise InvalidKey("the key holds control characters")
    return key


class Path(Struct, frozen=True, order=True):
    """One path of a channel; ``*`` is expanded to one path per channel."""

    channel: str
    key: str | None = None
    """One key, or a prefix of keys if `prefix` is true; None is the whole channel."""
    prefix: bool = False

    def __str__(self) -> str:
        if self.key is None:
            return self.channel
        return f"{self.channel}/{self.key}{'*' if self.prefix else ''}"

    def matches(self, channel: str, key: str | None) -> bool:
        """Return whether an event of `channel` and `key` is on this path."""
        if channel != self.channel:
            return False
        if self.key is None:
            return True
        if key is None:
            return False
        return key.startswith(self.key) if self.prefix else key == self.key

    def covers(self, other: "Path") -> bool:
        """Return whether every event on `other` is on this path too."""
        if self.channel != other.channel:
            return False
        if self.key is None or self == other:
            return True
        return self.prefix and other.key is not None and other.key.startswith(self.key)


def _order(path: Path) -> tuple[str, str, bool]:
    """Return the place of a path in canonical order: before every path that it covers."""
    return path.channel, path.key or "", not path.prefix


def parse_path(text: str, channels: Iterable[str], everything: Iterable[Path] | None = None) -> tuple[Path, ...]:
    """Return the paths that `text` names; several only for ``*``.

    Args:
        text: A path as it is written on the wire.
        channels: All channels of the contract.
        everything: The paths that ``*`` stands for. Default: every channel.

    Raises:
        InvalidPath: The path is empty, or its key is not valid.
        UnknownChannel: The contract has no such channel.
    """
    known = tuple(channels)
    if text == EVERYTHING:
        return tuple(map(Path, known) if everything is None else everything)
    channel, slash, key = text.partition("/")
    if not channel:
        raise InvalidPath(f"path {text[:80]!r} names no channel")
    if channel not in known:
        raise UnknownChannel(
            f"there is no channel {channel[:80]!r}", hint=f"The channels are {', '.join(known)}; `*` is all of them."
        )
    if not slash:
        return (Path(channel),)
    prefix = key.endswith("*")
    bare = key[:-1] if prefix else key
    if prefix and not bare:
        return (Path(channel),)
    try:
        check_key(bare)
    except InvalidKey as cause:
        raise InvalidPath(f"path {text[:80]!r}: {cause}") from cause
    return (Path(channel, bare, prefix),)


class PathSet(Struct, frozen=True):
    """A set of paths in canonical form: sorted, and none covered by another. Equal sets are equal values."""

    paths: tuple[Path, ...]

    @classmethod
    def of(cls, paths: Iterable[Path], *, with_global: bool = True) -> "PathSet":
        """Return the canonical set of `paths`; `global` is added unless the set is empty."""
        wanted = set(paths)
        if wanted and with_global:
            wanted.add(Path(ChannelType.GLOBAL))
        kept: list[Path] = []
        for path in sorted(wanted, key=_order):
            # The paths that a path covers follow it immediately.
            if not kept or not kept[-1].covers(path):
                kept.append(path)
        return cls(tuple(kept))

    def __bool__(self) -> bool:
        return bool(self.paths)

    def __or__(self, other: "PathSet") -> "PathSet":
        return PathSet.of((*self.paths, *other.paths))

    def __and__(self, other: "PathSet") -> "PathSet":
        """Return the paths that both sets cover: of two paths, one covers the other, or they share nothing."""
        common = [path for path in self.paths if other.covers(path)]
        common += [path for path in other.paths if self.covers(path)]
        return PathSet.of(common, with_global=False)

    def without(self, removed: "PathSet") -> "PathSet":
        """Return the paths that are not exactly in `removed`; `global` stays unless it is the only one left."""
        everyone = Path(ChannelType.GLOBAL)
        gone = set(removed.paths)
        left = [path for path in self.paths if path == everyone or path not in gone]
        if left == [everyone] and gone:
            return PathSet(())
        return PathSet.of(left)

    def matches(self, channel: str, key: str | None) -> bool:
        """Return whether an event of `channel` and `key` is on one of the paths."""
        return any(path.matches(channel, key) for path in self.paths)

    def matcher(self) -> Callable[[str, str | None], bool]:
        """Return `matches` as a function for many events; its cost does not depend on the number of paths."""
        whole = {path.channel for path in self.paths if path.key is None}
        exact = {(path.channel, path.key) for path in self.paths if not path.prefix}
        by_channel: dict[str, list[str]] = {}
        for path in self.paths:
            if path.prefix and path.key is not None:
                by_channel.setdefault(path.channel, []).append(path.key)
        if not by_channel:
            return lambda channel, key: channel in whole or (channel, key) in exact

        def matches(channel: str, key: str | None) -> bool:
            if channel in whole:
                return True
            if key is None:
                return False
            prefixes = by_channel.get(channel)
            if prefixes is not None:
                # In canonical form, only the last prefix that does not sort after the key can be its own: keys that
                # begin with an earlier one sort before the next.
                place = bisect_right(prefixes, key)
                if place and key.startswith(prefixes[place - 1]):
                    return True
            return (channel, key) in exact

        return matches

    def covers(self, path: Path) -> bool:
        """Return whether every event on `path` is on one of these, in logarithmic time."""
        # In canonical form only the last path that does not sort after `path` can cover it: all that a path covers
        # follow it immediately.
        place = bisect_right(self.paths, _order(path), key=_order)
        return place > 0 and self.paths[place - 1].covers(path)

    def names(self) -> list[str]:
        """Return the paths as they are written on the wire."""
        return [str(path) for path in self.paths]

    def by_channel(self) -> Mapping[str, tuple[Path, ...]]:
        """Return the paths of each channel."""
        grouped: defaultdict[str, list[Path]] = defaultdict(list)
        for path in self.paths:
            grouped[path.channel].append(path)
        return {channel: tuple(paths) for channel, paths in grouped.items()}


NO_PATHS = PathSet(())


def parse_paths(texts: Iterable[str], channels: Iterable[str], everything: tuple[Path, ...] | None = None) -> PathSet:
    """Return the set of paths that `texts` name; see `parse_path`.

    Raises:
        InvalidPath: One of `texts` is not a valid path.
        UnknownChannel: One of `texts` names a channel that the contract does not have.
    """
    known = tuple(channels)
    return PathSet.of(path for text in texts for path in parse_path(text, known, everything))


def check_paths(texts: Iterable[str]) -> None:
    """Check that `texts` can be paths, whatever channels there are; only a hub has the list of its channels.

    Raises:
        InvalidPath: One of `texts` is not a valid path.
    """
    for text in texts:
        parse_path(text, (text.partition("/")[0],))


def parse_query(
    pairs: Iterable[tuple[str, str]], channels: Iterable[str], everything: tuple[Path, ...] | None = None
) -> PathSet:
    """Return the set of paths that a URL's query names.

    Args:
        pairs: The query's names and values, still percent-encoded. ``channel`` may be repeated and is exact;
            ``channels`` splits on commas; neither means ``*``; ``channels=none`` reads nothing.
        channels: All channels of the contract.
        everything: The paths that ``*`` stands for. Default: every channel.

    Raises:
        InvalidPath: A path is not valid, or not UTF-8.
        UnknownChannel: A path names a channel that the contract does not have.
    """
    return parse_paths(query_texts(pairs), channels, everything)


def query_texts(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Return the paths that a URL's query names, as they are written, with their default.

    Raises:
        InvalidPath: A path is not UTF-8.
    """
    texts: list[str] = []
    named = False
    for name, value in pairs:
        if name == "channel":
            named = True
            texts.append(_decoded(value))
        elif name == "channels":
            named = True
            if value != NO_CHANNELS:
                # Commas alone give the empty path, which is rejected: reading nothing must be an explicit `none`.
                texts.extend([_decoded(part) for part in value.split(",") if part] or [""])
    return texts if named else [EVERYTHING]


def decode_form(text: str) -> str:
    """Return a name or value of a URL's query, which is encoded like a form (WHATWG URL §5.1): `+` is a space.

    Raises:
        UnicodeDecodeError: It is not UTF-8.
    """
    return unquote_to_bytes(text.replace("+", " ")).decode()


def _decoded(value: str) -> str:
    try:
        return decode_form(value)
    except UnicodeDecodeError as cause:
        raise InvalidPath(f"path {value[:80]!r} is not percent-encoded UTF-8") from cause
