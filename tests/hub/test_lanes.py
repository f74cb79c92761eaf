import tracemalloc

import pytest
from tests.hub.events import make_record
from tests.hub.watcher import CHANNELS

from tidings.hub.frame_run import FrameRun
from tidings.hub.lanes import Lane, LaneKey, RoutedEvents, Subscriber, write_lanes
from tidings.hub.ring import RingEntry
from tidings.hub.routing import Lanes
from tidings.hub.wire import WireForm
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


def routes(lanes: Lanes, channel: str, of: str | None) -> tuple[tuple[Lane, ...], tuple[Lane, ...]]:
    found = lanes.route(channel, of)
    return found.live, found.paced


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
        found = lanes.route(channel, of).live
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
        assert lane in lanes.route("operations", "ab").live + lanes.route("operations", "a").live
        lanes.discard(lane)
        lanes.discard(lane)
        assert routes(lanes, "operations", "ab") == routes(lanes, "operations", "a") == ((), ())
    assert len(lanes) == 0
    assert (lanes._keys, lanes._prefixes.get("operations", {})) == ({}, {})


def test_lanes_that_share_a_path_are_removed_separately() -> None:
    lanes = Lanes()
    for path in ("operations/a", "operations/a*"):
        alone = lanes.find_or_create(key(path), 0)
        both = lanes.find_or_create(key(path, "data"), 0)
        lanes.discard(alone)
        assert routes(lanes, "operations", "a") == ((both,), ())
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


def test_paced_lanes_are_routed_apart() -> None:
    lanes = Lanes()
    paced = lanes.find_or_create(key("data", pace_ms=50), 7)
    other = lanes.find_or_create(key("system", pace_ms=50), 7)
    lane = lanes.find_or_create(key("data"), 7)
    assert routes(lanes, "data", None) == ((lane,), (paced,))
    assert routes(lanes, "system", None) == ((), (other,))
    lanes.discard(paced)
    assert routes(lanes, "data", None) == ((lane,), ())


def test_routes_are_cached_until_lanes_change() -> None:
    lanes = Lanes()
    assert lanes.route("data", "a") is lanes.route("data", "a")
    lane = lanes.find_or_create(key("data"), 0)
    assert routes(lanes, "data", "a") == ((lane,), ())


def test_events_with_the_same_lanes_have_the_same_route() -> None:
    lanes = Lanes()
    lanes.find_or_create(key("operations"), 0)
    lanes.find_or_create(key("operations/a*"), 0)
    assert lanes.route("operations", "b1") is lanes.route("operations", "b2")
    assert lanes.route("operations", "a1") is lanes.route("operations", "a2")
    assert lanes.route("operations", "a1") is not lanes.route("operations", "b1")


@pytest.mark.parametrize("count", [1, 300])
def test_cached_routes_are_bounded_by_their_memory(count: int) -> None:
    lanes = Lanes()
    for number in range(count):
        lanes.find_or_create(key("operations/a*", f"operations/{number}"), 0)
    tracemalloc.start()
    try:
        for number in range(70_000):
            assert len(lanes.route("operations", f"a-{number:032}").live) == count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 << 20


# Writing.


def entry(offset: int, frame: bytes) -> RingEntry:
    made = RingEntry(make_record(offset), "")
    made.frames[PLAIN_LINES] = frame
    return made


def write(lane: Lane, *frames: bytes) -> int:
    """Write one frame for each of the next offsets."""
    after = lane.offset
    entries = [entry(offset, frame) for offset, frame in enumerate(frames, after + 1)]
    lane.offset = after + len(frames)
    return write_lanes([lane], RoutedEvents(entries), lambda entry, form: entry.frames[form], after, 1.0).writes


def connected(lane: Lane, *, free: int | None = None) -> Subscriber:
    """Add a member whose outlet calls the lane like the hub's delivery does."""
    outlet = MemoryOutlet()
    subscriber = member(outlet)

    def pause() -> None:
        subscriber.blocked = True
        lane.block(subscriber)

    outlet.on_pause = pause
    lane.add(subscriber)
    if free is not None:
        outlet.stall(free)
    return subscriber


def drain(lane: Lane, subscriber: Subscriber, size: int = 1 << 62) -> int | None:
    """Let the client read; return what `Lane.resume` returned."""
    assert isinstance(subscriber.outlet, MemoryOutlet)
    results: list[int | None] = []

    def resume() -> None:
        subscriber.blocked = False
        results.append(lane.resume(subscriber))

    subscriber.outlet.on_resume = resume
    subscriber.outlet.take(size)
    return results[0]


def unsent(subscriber: Subscriber) -> int:
    return subscriber.outlet.write_buffer_size()


def test_lane_writes_frames_once_per_member() -> None:
    members = [member(), member(MemoryOutlet(past_transport=False))]
    lane = lane_with(*members)
    assert write(lane, b"abc") == 2
    assert [received(subscriber) for subscriber in members] == [b"abc", b"abc"]
    lane.remove(members[0])
    lane.remove(members[0])
    assert write(lane, b"def") == 1
    assert [received(subscriber) for subscriber in members] == [b"abc", b"abcdef"]


def test_rest_of_one_frame_goes_to_the_transport() -> None:
    lane = Lane(key("data"), 0)
    part, none, between, other = (connected(lane, free=free) for free in (2, 0, 3, None))
    write(lane, b"abc", b"def", b"ghi")
    assert [unsent(each) for each in (part, none, between)] == [1, 3, 3], "at least one, to be called when it is sent"
    assert [lane.reached(each, 3) for each in (part, none, between, other)] == [1, 1, 2, 3]
    write(lane, b"jkl")
    assert [unsent(each) for each in (part, none, between)] == [1, 3, 3]
    assert [drain(lane, each) for each in (part, none, between)] == [None] * 3
    assert {received(each) for each in (part, none, between, other)} == {b"abcdefghijkl"}
    write(lane, b"mno")
    assert {received(each) for each in (part, none, between, other)} == {b"abcdefghijklmno"}
    assert lane.held_bytes == 0


def test_places_of_members_are_found_without_joining_what_they_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = lane_with()
    members = [connected(lane, free=free) for free in (0, 2, 3, 5, 6, 9)]
    for offset in range(1, 4):
        write(lane, *[b"abc"] * offset)
    with monkeypatch.context() as patch:
        patch.setattr(FrameRun, "joined", None)
        patch.setattr(FrameRun, "rest", None)
        found = [lane.reached(each, 6) for each in members]
    for each, offset in zip(members, found, strict=True):
        place = lane.blocked.get(each)
        missed = None if place is None else lane._missed(*place)
        assert offset == (6 if missed is None else missed.after)


def test_member_that_takes_only_a_part_again_returns_its_offset() -> None:
    lane = Lane(key("data"), 10)
    slow, other = connected(lane, free=1), connected(lane)
    write(lane, b"abc", b"def")
    write(lane, b"ghi")
    write(lane, b"jkl")
    assert drain(lane, slow, 2 + 4) == 13
    lane.remove(slow)
    assert (lane.held_bytes, lane.blocked) == (0, {})
    drain_rest = bytes(received(slow))
    assert drain_rest == b"abcdefg"
    assert unsent(slow) == 2
    assert received(other) == b"abcdefghijkl"


def test_lane_holds_runs_only_from_its_first_blocked_member_on() -> None:
    lane = Lane(key("data"), 0)
    first, second = connected(lane, free=0), connected(lane, free=300)
    for _ in range(10):
        write(lane, b"x" * 100)
    both = lane.held_bytes
    lane.remove(first)
    assert 0 < lane.held_bytes < both
    lane.remove(second)
    assert lane.held_bytes == 0
    write(lane, b"x" * 100)
    assert lane.held_bytes == 0


def test_blocked_members_share_the_runs_that_are_held() -> None:
    lane = Lane(key("data"), 0)
    slow = [connected(lane, free=number) for number in range(1_000)]
    frames = [b"x" * 1_000] * 20
    write(lane, *frames)
    assert 20_000 < lane.held_bytes < 22_000
    assert sum(map(unsent, slow)) < 1_000 * 1_000
    for each in slow:
        assert drain(lane, each) is None
    assert {received(each) for each in slow} == {b"".join(frames)}


def test_member_that_stops_earlier_than_one_before_it_misses_nothing() -> None:
    lane = Lane(key("data"), 0)
    slow = [connected(lane, free=free) for free in (150, 50)]  # in the second frame, and in the first
    write(lane, b"a" * 100, b"b" * 100)
    assert [drain(lane, each) for each in slow] == [None, None]
    assert [received(each) for each in slow] == [b"a" * 100 + b"b" * 100] * 2
    assert lane.held_bytes == 0


def test_clients_that_stop_in_a_large_frame_share_one_copy() -> None:
    run = FrameRun(b"a" * 10 + b"b" * 100_000, [10, 100_000], [1, 2], 0)
    parts = [run.part(start, 100_010) for start in (500, 70_000)]
    assert all(isinstance(part, memoryview) for part in parts)
    assert [bytes(part) for part in parts] == [b"b" * 99_510, b"b" * 30_010]
    assert parts[0].obj is parts[1].obj  # type: ignore[union-attr]
    assert run.part(3, 10) == b"a" * 7


def test_member_that_joins_with_unsent_bytes_waits_for_them() -> None:
    outlet = MemoryOutlet()
    subscriber = member(outlet)
    outlet.stall()
    outlet.write(b"reply")
    subscriber.blocked = True
    lane = lane_with(subscriber)
    write(lane, b"event")
    assert unsent(subscriber) == 5
    drain(lane, subscriber)
    assert outlet.received == b"replyevent"


def test_lost_member_does_not_block_the_others() -> None:
    gone, other = MemoryOutlet(), member()
    lane = lane_with(member(gone), other)
    gone.close(1000, "")
    write(lane, b"abc")
    assert received(other) == b"abc"


def test_member_may_leave_during_a_write() -> None:
    lane = Lane(key("data"), 0)
    waiting = connected(lane, free=0)
    write(lane, b"abc")
    outlet = MemoryOutlet()
    leaving, other = member(outlet), member()
    lane.add(leaving)
    lane.add(other)

    def leave() -> None:
        lane.remove(leaving)
        lane.remove(waiting)

    outlet.on_pause = leave
    outlet.stall()
    write(lane, b"def")
    assert (received(other), received(waiting), unsent(waiting)) == (b"def", b"", 3)
    write(lane, b"ghi")
    assert (received(other), outlet.write_buffer_size(), list(lane.members)) == (b"defghi", 3, [other])


def test_lane_records_its_last_write() -> None:
    lane = lane_with()
    lane.wrote_at = 10.0
    assert lane.wrote_within(5, 14.9)
    assert not lane.wrote_within(5, 15.0)


def test_events_of_a_tick_are_joined_once_for_all_lanes() -> None:
    lanes = [Lane(key("operations", f"data/{number}"), 0) for number in range(1_000)]
    members = [connected(lane) for lane in lanes]
    encoded: list[int] = []

    def encode(entry: RingEntry, form: WireForm) -> bytes:
        encoded.append(entry.offset)
        return entry.frames[form]

    events = RoutedEvents([entry(1, b"abc"), entry(2, b"def")])
    written = write_lanes(lanes, events, encode, 0, 1.0)
    assert encoded == [1, 2]
    assert (written.writes, written.size, written.holding) == (1_000, 6_000, [])
    assert {received(each) for each in members} == {b"abcdef"}


def test_events_of_several_routes_keep_the_order_of_the_log() -> None:
    parts = [RoutedEvents([entry(1, b"a"), entry(4, b"d")]), RoutedEvents([entry(2, b"b"), entry(3, b"c")])]
    assert [each.offset for each in RoutedEvents.merged(parts).entries] == [1, 2, 3, 4]
    assert RoutedEvents.merged(parts[:1]) is parts[0]
