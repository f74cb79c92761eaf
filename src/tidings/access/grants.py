"""Grants: the actions that a subject may take (docs/access.md, "Grants").

A grant is a line of text: an action, and for most actions a path pattern as in a subscription.

::

    read operations/acme.*                      events and operations on the path
    publish data/daily-*                        events of declared types whose path it covers
    publish operations/acme.* operation:*       only types that match
    cancel operations                           asking operations on the path to stop
    details                                     seeing tracebacks, output, commands, hosts and users
    admin                                       everything, and administering the hub

A path may contain blanks; the last word of a `publish` grant is a pattern of types if it is `*` or has a colon.

Everything is denied unless granted. `*` is every channel for `read`, and every channel but `global` for `publish`,
because an event on `global` reaches every reader. A type that the contract does not declare needs a grant that names
types.
"""

from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct

from tidings.exceptions import ContractError, Forbidden, InvalidGrant
from tidings.protocol.message_types import ChannelType, MessageType
from tidings.protocol.paths import EVERYTHING, NO_PATHS, Path, PathSet, is_channel_name, parse_path, parse_paths

READ: Final = "read"
PUBLISH: Final = "publish"
CANCEL: Final = "cancel"
DETAILS: Final = "details"
ADMIN: Final = "admin"

MAX_GRANTS: Final = 1_000
"""Grants of one subject: a token of 8 KiB has no more."""
_MAX_SHOWN: Final = 20
"""Grants that a hint lists."""
_MAX_CACHED: Final = 4_096
"""Remembered answers of one subject."""
_EVERY_TYPE: Final = ""
_EXPECTED: Final = (
    "Write one of `read PATH`, `publish PATH [TYPE]`, `cancel PATH`, `details`, `admin`; a path is `channel`, "
    "`channel/key`, `channel/prefix*` or `*`, a type `operation:log` or `operation:*`."
)


class PublishGrant(Struct, frozen=True):
    """Permission to publish events on a path."""

    path: Path
    types: str = _EVERY_TYPE
    """A type, or a prefix of types that ends in `*`; "" stands for all types that the contract declares."""

    def covers_type(self, type: str, *, declared: bool) -> bool:
        """Return whether it covers events of `type`."""
        if not self.types:
            return declared
        if self.types.endswith("*"):
            return type.startswith(self.types[:-1])
        return type == self.types

    def __str__(self) -> str:
        return f"{PUBLISH} {self.path} {self.types}".rstrip()


class Grants:
    """Everything that one subject may do. Equal grants are equal values, whatever order they were given in.

    Args:
        read: Paths that it may read; `global` is added if there is one.
        publish: Paths and types that it may publish.
        cancel: Paths of operations that it may cancel.
        details: Whether it sees tracebacks, output, commands, hosts, process ids and users.
        admin: Whether it may administer the hub, which includes everything else.
    """

    __slots__ = ("_publishable", "accepted", "admin", "cancel", "details", "publish", "read")

    def __init__(
        self,
        *,
        read: PathSet = NO_PATHS,
        publish: Iterable[PublishGrant] = (),
        cancel: PathSet = NO_PATHS,
        details: bool = False,
        admin: bool = False,
    ) -> None:
        self.read = read
        self.publish = tuple(sorted(set(publish), key=str))
        self.cancel = cancel
        self.details = details or admin
        self.admin = admin
        self._publishable: dict[tuple[str, str, bool], Callable[[str, str | None], bool]] = {}
        """Match the paths on which events may be published, by type, channel and whether the type is declared."""
        self.accepted: dict[tuple[str, str, str | None], None] = {}
        """Types, channels and keys of events that `check_subject` accepted before: most events repeat one."""

    @classmethod
    def parse(cls, texts: Iterable[str], channels: Iterable[str]) -> "Grants":
        """Return the grants that `texts` name.

        Args:
            texts: Grants as the module describes them.
            channels: The channels of the contract. A grant for another channel is kept and covers nothing.

        Raises:
            InvalidGrant: One of `texts` is not a grant, or there are more than `MAX_GRANTS`.
        """
        known = tuple(channels)
        read: list[Path] = []
        cancel: list[Path] = []
        publish: list[PublishGrant] = []
        details = admin = False
        for count, text in enumerate(texts, 1):
            if count > MAX_GRANTS:
                raise InvalidGrant(f"more than {MAX_GRANTS:,} grants", hint="Grant prefixes or whole channels.")
            action, _, path = text.strip().partition(" ")
            path = path.strip()
            if action in (DETAILS, ADMIN) and not path:
                details, admin = details or action == DETAILS, admin or action == ADMIN
            elif action == PUBLISH and path:
                path, types = _split_types(path)
                publish.extend(PublishGrant(each, types) for each in _publishable_paths(text, path, known))
            elif action in (READ, CANCEL) and path:
                (read if action == READ else cancel).extend(_paths(text, path, known))
            else:
                raise InvalidGrant(f"invalid grant {text[:120]!r}: expected an action and a path", hint=_EXPECTED)
        if admin:
            read.extend(Path(channel) for channel in known)
            cancel.append(Path(ChannelType.OPERATIONS))
            publish.extend(PublishGrant(Path(channel), types) for channel in known for types in (_EVERY_TYPE, "*"))
        return cls(
            read=PathSet.of(read),
            publish=publish,
            cancel=PathSet.of(cancel, with_global=False),
            details=details,
            admin=admin,
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Grants) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[object, ...]:
        return self.read, self.publish, self.cancel, self.details, self.admin

    def names(self) -> list[str]:
        """Return the grants as they are written, in canonical order."""
        if self.admin:
            return [ADMIN]
        names = [f"{READ} {path}" for path in self.read.names()]
        names += map(str, self.publish)
        names += [f"{CANCEL} {path}" for path in self.cancel.names()]
        return [*names, DETAILS] if self.details else names

    def uncovered(self, paths: PathSet) -> PathSet:
        """Return those of `paths` that may not be read, whole or in part."""
        return PathSet.of((path for path in paths.paths if not self.read.covers(path)), with_global=False)

    def check_read(self, paths: PathSet) -> None:
        """Check that all of `paths` may be read.

        Raises:
            Forbidden: One may not; the error lists what may.
        """
        missing = self.uncovered(paths)
        if missing:
            allowed = tuple(self.read.names())
            raise Forbidden(
                f"no grant to read {_listed(missing.names())}",
                allowed=allowed,
                hint=f"This subject may read {_listed(allowed)}; `*` is all of it.",
            )

    def parse_read(self, texts: Iterable[str], channels: Iterable[str]) -> PathSet:
        """Return the paths that `texts` name, where `*` is everything that may be read.

        Raises:
            InvalidPath: One of `texts` is not a valid path.
            UnknownChannel: One of `texts` names an unknown channel.
            Forbidden: One of the paths may not be read, or nothing may.
        """
        paths = parse_paths(texts, channels, self.read.paths)
        self.check_read(paths)
        if not paths:
            raise Forbidden("no grant to read anything", hint="Ask the administrator of the hub for a grant to read.")
        return paths

    def readable_channels(self, channels: Iterable[str]) -> list[str]:
        """Return those of `channels` of which something may be read."""
        readable = {path.channel for path in self.read.paths}
        return [channel for channel in channels if channel in readable]

    def may_read(self, channel: str, key: str | None) -> bool:
        """Return whether events of `channel` and `key` may be read."""
        return self.read.covers(Path(channel, key)) if key is not None else self.read.matches(channel, None)

    def may_publish(self, type: str, channel: str, key: str | None, *, declared: bool = True) -> bool:
        """Return whether an event may be published.

        Args:
            type: Its type.
            channel: A channel that it goes to.
            key: Its key, or None.
            declared: Whether the contract declares the type.
        """
        matches = self._publishable.get((type, channel, declared))
        if matches is None:
            if len(self._publishable) >= _MAX_CACHED:
                self._publishable.clear()
            paths = self.publishable_paths(type, channel, declared=declared)
            matches = self._publishable[type, channel, declared] = paths.matcher()
        return matches(channel, key)

    def publishable_paths(self, type: str, channel: str, *, declared: bool = True) -> PathSet:
        """Return the paths of `channel` on which events of `type` may be published; see `may_publish`."""
        return PathSet.of(
            (
                grant.path
                for grant in self.publish
                if grant.path.channel == channel and grant.covers_type(type, declared=declared)
            ),
            with_global=False,
        )

    def accept(self, type: str, channel: str, key: str | None) -> None:
        """Remember that an event is accepted; see `accepted`."""
        if len(self.accepted) >= _MAX_CACHED:
            self.accepted.clear()
        self.accepted[type, channel, key] = None

    def check_publish(self, type: str, channels: Iterable[str], key: str | None, *, declared: bool = True) -> None:
        """Check that an event may be published to all of `channels`: that of its type, and the one it names.

        Raises:
            Forbidden: It may not; the error lists what may.
        """
        for channel in channels:
            if not self.may_publish(type, channel, key, declared=declared):
                place = channel if key is None else f"{channel}/{key[:80]}"
                allowed = tuple(str(grant).partition(" ")[2] for grant in self.publish)
                raise Forbidden(
                    f"no grant to publish {type[:80]} to {place}",
                    allowed=allowed,
                    hint=f"This subject may publish to {_listed(allowed)}.",
                )

    def may_hold(self, operation_id: str) -> bool:
        """Return whether a producer may hold an operation: it may at least report progress."""
        return self.may_publish(MessageType.OPERATION_PROGRESS, ChannelType.OPERATIONS, operation_id)

    def may_cancel(self, operation_id: str) -> bool:
        """Return whether an operation may be cancelled."""
        return self.cancel.covers(Path(ChannelType.OPERATIONS, operation_id))

    def check_cancel(self, operation_id: str) -> None:
        """Check that an operation may be cancelled.

        Raises:
            Forbidden: It may not; the error lists which may.
        """
        if not self.may_cancel(operation_id):
            allowed = tuple(self.cancel.names())
            raise Forbidden(
                f"no grant to cancel {ChannelType.OPERATIONS}/{operation_id[:80]}",
                allowed=allowed,
                hint=f"This subject may cancel {_listed(allowed)}.",
            )

    def check_admin(self) -> None:
        """Check that the subject may administer the hub.

        Raises:
            Forbidden: It may not.
        """
        if not self.admin:
            raise Forbidden("no grant to administer the hub", hint=f"Use a key or token with the grant `{ADMIN}`.")


NO_GRANTS: Final = Grants()


def has_literal_star(text: str) -> bool:
    """Return whether the path of a valid grant holds a `*` that stands for itself, because it is not at the end."""
    action, _, path = text.strip().partition(" ")
    return "*" in (_split_types(path.strip())[0] if action == PUBLISH else path.strip())[:-1]


def _paths(text: str, path: str, channels: tuple[str, ...]) -> tuple[Path, ...]:
    channel = path.partition("/")[0]
    if path != EVERYTHING and not is_channel_name(channel):
        problem = f"no channel can be called {channel[:80]!r}, only names in a-z, 0-9 and _"
        raise InvalidGrant(f"invalid grant {text[:120]!r}: {problem}", hint=_EXPECTED)
    try:
        return parse_path(path, channels if path == EVERYTHING else (channel,))
    except ContractError as cause:
        raise InvalidGrant(f"invalid grant {text[:120]!r}: {cause.message}", hint=_EXPECTED) from cause


def _publishable_paths(text: str, path: str, channels: tuple[str, ...]) -> tuple[Path, ...]:
    paths = _paths(text, path, channels)
    return tuple(each for each in paths if path != EVERYTHING or each.channel != ChannelType.GLOBAL)


def _split_types(rest: str) -> tuple[str, str]:
    """Return the path and the pattern of types, "" where the last word is neither `*` nor has a colon."""
    path, _, types = rest.rpartition(" ")
    if path and (types == "*" or ":" in types) and "*" not in types[:-1]:
        return path.strip(), types
    return rest, _EVERY_TYPE


def _listed(names: Iterable[str]) -> str:
    each = list(names)
    more = len(each) - _MAX_SHOWN
    return (", ".join(each[:_MAX_SHOWN]) or "nothing") + (f" and {more} others" if more > 0 else "")
