"""Routing: from the path of an event to the lanes that it belongs to."""

from collections.abc import Iterable, Iterator

from tidings.hub.lanes import Lane, LaneKey

_MAX_ROUTES_BYTES = 16 << 20
"""Memory of the cached routes. The whole cache is dropped beyond it, and whenever a lane comes or goes."""
_ROUTE_BYTES = 400
"""Memory of a route besides 8 bytes for each lane, and of its place in the cache, with keys of 36 characters."""


class Route:
    """The lanes that events of one path belong to."""

    __slots__ = ("live", "paced", "paces")

    def __init__(self, lanes: Iterable[Lane]) -> None:
        each = dict.fromkeys(lanes)
        self.live = tuple(lane for lane in each if not lane.key.pace_ms)
        """Those without a pace."""
        self.paced = tuple(lane for lane in each if lane.key.pace_ms)
        self.paces = tuple({lane.key.pace_ms for lane in self.paced})
        """The paces of those, in milliseconds."""

    @property
    def memory(self) -> int:
        """Memory of the route in bytes."""
        return _ROUTE_BYTES + 8 * (len(self.live) + len(self.paced))


class Lanes:
    """All lanes of a hub, found by their key and by the path of an event."""

    def __init__(self) -> None:
        self._lanes: dict[LaneKey, Lane] = {}
        self._channels: dict[str, dict[Lane, None]] = {}
        self._keys: dict[tuple[str, str], dict[Lane, None]] = {}
        self._prefixes: dict[str, dict[int, dict[str, dict[Lane, None]]]] = {}
        self._routes: dict[tuple[str, str | None], Route] = {}
        """Routes by channel and key."""
        self._shared: dict[tuple[str | Lane, ...], Route] = {}
        """Routes by channel and the lanes that match by more than the channel."""
        self._routes_bytes = 0

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def find(self, key: LaneKey) -> Lane | None:
        """Return the lane of `key`, or None."""
        return self._lanes.get(key)

    def find_or_create(self, key: LaneKey, offset: int) -> Lane:
        """Return the lane of `key`; create it at `offset` if there is none."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, offset)
            self._index(lane)
        return lane

    def discard(self, lane: Lane) -> None:
        """Remove `lane` if it has no subscribers left."""
        if lane.members or lane.waiting or self._lanes.get(lane.key) is not lane:
            return
        del self._lanes[lane.key]
        self._unindex(lane)

    def route(self, channel: str, key: str | None) -> Route:
        """Return the lanes whose paths match an event of `channel` and `key`: the same object for the same lanes."""
        route = self._routes.get((channel, key))
        if route is None:
            specific = tuple(self._find_specific(channel, key)) if key is not None else ()
            route = self._shared.get((channel, *specific))
            if route is None:
                route = Route((*self._channels.get(channel, ()), *specific))
                self._reserve(route.memory)
                self._shared[channel, *specific] = route
            self._reserve(_ROUTE_BYTES)
            self._routes[channel, key] = route
        return route

    def _reserve(self, size: int) -> None:
        self._routes_bytes += size
        if self._routes_bytes > _MAX_ROUTES_BYTES:
            self._drop_routes()

    def _drop_routes(self) -> None:
        self._routes.clear()
        self._shared.clear()
        self._routes_bytes = 0

    def _find_specific(self, channel: str, key: str) -> Iterator[Lane]:
        """Return the lanes that match by a key or a prefix."""
        yield from self._keys.get((channel, key), ())
        for length, prefixes in self._prefixes.get(channel, {}).items():
            yield from prefixes.get(key[:length], ())

    def _index(self, lane: Lane) -> None:
        for path in lane.key.paths.paths:
            if path.key is None:
                self._channels.setdefault(path.channel, {})[lane] = None
            elif path.prefix:
                lengths = self._prefixes.setdefault(path.channel, {})
                lengths.setdefault(len(path.key), {}).setdefault(path.key, {})[lane] = None
            else:
                self._keys.setdefault((path.channel, path.key), {})[lane] = None
        self._drop_routes()

    def _unindex(self, lane: Lane) -> None:
        for path in lane.key.paths.paths:
            if path.key is None:
                del self._channels[path.channel][lane]
            elif path.prefix:
                lengths = self._prefixes[path.channel]
                prefixes = lengths[len(path.key)]
                del prefixes[path.key][lane]
                if not prefixes[path.key]:
                    del prefixes[path.key]
                if not prefixes:
                    del lengths[len(path.key)]
            else:
                lanes = self._keys[path.channel, path.key]
                del lanes[lane]
                if not lanes:
                    del self._keys[path.channel, path.key]
        self._drop_routes()
