import pytest
from tests.hub.watcher import CHANNELS

from tidings.hub.lanes import Lane, LaneKey, Lanes, Subscriber
from tidings.protocol.paths import parse_paths
from tidings.protocol.positions import Position
from tidings.server.wire_formats import PLAIN_LINES, VERSIONED_LINES
from tidings.testing.outlet import MemoryOutlet


def key(*channels: str, pace_ms: int = 0) -> LaneKey:
    return LaneKey(parse_paths(channels, CHANNELS), PLAIN_LINES, pace_ms)


def no_gap(after: Position, until: Position, reason: str) -> None:
    raise AssertionError("nothing was trimmed")


def member(outlet: MemoryOutlet | None = None) -> Subscriber:
    return Subscriber(outlet or MemoryOutlet(), PLAIN_LINES, on_gap=no_gap)


def received(subscriber: Subscriber) -> bytes:
    assert isinstance(subscriber.outlet, MemoryOutlet)
    return bytes(subscriber.outlet.received)


def lane_with(*members: Subscriber) -> Lane:
    lane = Lane(key("data"), 0)
    for subscriber in members:
        lane.add(subscriber)
    return lane


# Routes.


def test_equal_paths_share_a_lane_however_written() -> None:
    lanes = Lanes()
    lane = lanes.find_or_create(key("operations", "operations/a"), 0)
    assert lanes.find_or_create(key("operations/b", "operations"), 0) is lane
    assert lanes.find(key("operations")) is lane
    assert lanes.find(key("data")) is None
    assert lanes.find(LaneKey(lane.key.paths, VERSIONED_LINES, 0)) is None
    assert list(lanes) == [lane]


def test_route_returns_each_matching_lane_once() -> None:
    lanes = Lanes()
    names = {
        name: lanes.find_or_create(key(*name.split()), 0)
        for name in ("operations", "operations/a", "operations/b", "operations/a* operations/b", "data", "*")
    }

    def route(channel: str, of: str | None) -> set[str]:
        found = lanes.route(channel, of)
        assert len(set(found)) == len(found)
        return {name for name, lane in names.items() if lane in found}

    assert route("operations", "a") == {"operations", "operations/a", "operations/a* operations/b", "*"}
    assert route("operations", "ab") == {"operations", "operations/a* operations/b", "*"}
    assert route("operations", "b") == {"operations", "operations/b", "operations/a* operations/b", "*"}
    assert route("operations", None) == {"operations", "*"}
    assert route("system", "a") == {"*"}
    assert route("global", "a") == set(names)


def test_empty_lane_is_removed() -> None:
    lanes = Lanes()
    for channels in (["operations"], ["operations/a"], ["operations/a*"], ["operations/ab*", "operations/b*"]):
        lane = lanes.find_or_create(key(*channels), 0)
        assert lane in lanes.route("operations", "ab") + lanes.route("operations", "a")
        lanes.discard(lane)
        lanes.discard(lane)
        assert lanes.route("operations", "ab") + lanes.route("operations", "a") == ()
    assert len(lanes) == 0
    assert (lanes._keys, lanes._prefixes.get("operations", {})) == ({}, {})


def test_lanes_that_share_a_path_are_removed_separately() -> None:
    lanes = Lanes()
    for path in ("operations/a", "operations/a*"):
        alone = lanes.find_or_create(key(path), 0)
        both = lanes.find_or_create(key(path, "data"), 0)
        lanes.discard(alone)
        assert lanes.route("operations", "a") == (both,)
        lanes.discard(both)


def test_lane_with_members_is_kept() -> None:
    lanes = Lanes()
    lane = lanes.find_or_create(key("data"), 0)
    lane.add(member())
    lanes.discard(lane)
    assert lanes.find(lane.key) is lane
    paced = lanes.find_or_create(key("data", pace_ms=50), 0)
    paced.waiting[member()] = None
    lanes.discard(paced)
    assert lanes.find(paced.key) is paced


def test_paced_lane_is_not_routed_and_counted_by_pace() -> None:
    lanes = Lanes()
    first, second = lanes.find_or_create(key("data", pace_ms=50), 7), lanes.find_or_create(key("system", pace_ms=50), 7)
    lanes.find_or_create(key("data"), 7)
    assert (first not in lanes.route("data", None), first.offset) == (True, 7)
    assert (list(lanes.paced(50)), list(lanes.paced(100)), dict(lanes.paces)) == ([first, second], [], {50: 2})
    lanes.discard(first)
    assert dict(lanes.paces) == {50: 1}
    lanes.discard(second)
    assert dict(lanes.paces) == {}


def test_routes_are_cached_until_lanes_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.hub.lanes._MAX_ROUTES", 3)
    lanes = Lanes()
    assert lanes.route("data", "a") is lanes.route("data", "a")
    lane = lanes.find_or_create(key("data"), 0)
    assert lanes.route("data", "a") == (lane,)
    for number in range(10):
        lanes.route("data", f"{number}")
    assert len(lanes._routes) <= 3


# Writing.


def test_lane_writes_frames_once_per_member() -> None:
    members = [member(), member(MemoryOutlet(past_transport=False))]
    lane = lane_with(*members)
    assert lane.write(b"abc") == 2
    assert [received(subscriber) for subscriber in members] == [b"abc", b"abc"]
    lane.remove(members[0])
    lane.remove(members[0])
    assert lane.write(b"def") == 1
    assert [received(subscriber) for subscriber in members] == [b"abc", b"abcdef"]


def test_bytes_refused_by_the_kernel_go_to_the_transport() -> None:
    part, none = MemoryOutlet(), MemoryOutlet()
    part.stall(2)
    none.stall()
    lane_with(member(part), member(none), other := member()).write(b"abc")
    assert [part.write_buffer_size(), none.write_buffer_size(), received(other)] == [1, 3, b"abc"]
    part.take()
    none.take()
    assert part.received == none.received == b"abc"


def test_frames_queue_behind_unsent_bytes() -> None:
    outlet = MemoryOutlet()
    subscriber = member(outlet)
    lane = lane_with(subscriber)
    outlet.on_pause = lambda: lane.buffer(subscriber)
    outlet.on_resume = lambda: lane.unbuffer(subscriber)
    outlet.stall(1)
    lane.write(b"ab")
    lane.write(b"cd")
    outlet.take()
    lane.write(b"ef")
    assert outlet.received == b"abcdef"
    assert not lane.buffered


def test_member_that_joins_with_unsent_bytes_is_buffered() -> None:
    outlet = MemoryOutlet()
    subscriber = member(outlet)
    outlet.stall()
    outlet.write(b"reply")
    subscriber.blocked = True
    lane = lane_with(subscriber)
    lane.write(b"event")
    outlet.take()
    assert outlet.received == b"replyevent"


def test_lost_member_does_not_block_the_others() -> None:
    gone, other = MemoryOutlet(), member()
    lane = lane_with(member(gone), other)
    gone.close(1000, "")
    lane.write(b"abc")
    assert received(other) == b"abc"


def test_member_may_leave_during_a_write() -> None:
    outlet = MemoryOutlet()
    leaving, waiting, other = member(outlet), member(MemoryOutlet()), member()
    lane = lane_with(leaving, other, waiting)
    lane.buffer(waiting)

    def leave() -> None:
        lane.remove(leaving)
        lane.remove(waiting)

    outlet.on_pause = leave
    outlet.stall()
    lane.write(b"abc")
    assert [received(other), received(waiting)] == [b"abc", b""]
    lane.write(b"def")
    assert (received(other), outlet.write_buffer_size(), list(lane.members)) == (b"abcdef", 3, [other])


def test_drained_member_is_written_to_directly_again() -> None:
    subscriber = member()
    lane = lane_with(subscriber)
    lane.unbuffer(subscriber)
    lane.buffer(subscriber)
    lane.unbuffer(subscriber)
    lane.write(b"abc")
    assert (received(subscriber), list(lane.buffered)) == (b"abc", [])


def test_lane_records_its_last_write() -> None:
    lane = lane_with()
    lane.wrote_at = 10.0
    assert lane.wrote_within(5, 14.9)
    assert not lane.wrote_within(5, 15.0)
