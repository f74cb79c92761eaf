import gc

from tests.heap import private_heap
from tests.hub.events import make_event, make_record
from tests.hub.watcher import CHANNELS

from tidings.hub.ring import Ring, RingEntry
from tidings.protocol.paths import parse_paths
from tidings.server.wire_formats import PLAIN_LINES, VERSIONED_LINES

DATA = parse_paths(["data"], CHANNELS)


def fill(ring: Ring, first: int, last: int, size: int = 0) -> None:
    for offset in range(first, last + 1):
        ring.add(make_record(offset, make_event(data=b'"%b"' % (b"x" * size))), f"e:{offset}")


def offsets(ring: Ring, after: int, limit: int = 100) -> list[int]:
    return [entry.offset for entry in ring.after(after, DATA, limit)]


def test_ring_returns_entries_after_an_offset() -> None:
    ring = Ring(1 << 20, 10)
    fill(ring, 11, 20)
    assert ring.floor == 10
    assert offsets(ring, 10) == list(range(11, 21))
    assert offsets(ring, 17) == [18, 19, 20]
    assert offsets(ring, 10, limit=3) == [11, 12, 13]
    assert offsets(ring, 20) == []


def test_ring_encodes_an_event_once_per_form() -> None:
    ring = Ring(1 << 20, 0)
    fill(ring, 1, 1)
    (entry,) = ring.after(0, DATA, 1)
    frames = [ring.frame(entry, form) for form in (PLAIN_LINES, VERSIONED_LINES, PLAIN_LINES, VERSIONED_LINES)]
    assert ring.encodes == 2
    assert frames[0] is frames[2]
    assert frames[0] != frames[1]


def test_ring_drops_the_oldest_and_raises_the_floor() -> None:
    ring = Ring(10_000, 0)
    fill(ring, 1, 100)
    ring.shrink()
    assert 0 < len(ring) < 20
    assert offsets(ring, ring.floor) == list(range(ring.floor + 1, 101))
    assert ring.floor == 100 - len(ring)


def test_ring_counts_frames_against_its_limit() -> None:
    ring = Ring(10_000, 0)
    fill(ring, 1, 5, size=1_000)
    ring.shrink()
    assert len(ring) == 5
    for entry in ring.after(0, DATA, 5):
        ring.frame(entry, PLAIN_LINES)
    ring.shrink()
    assert len(ring) == 3


def test_ring_releases_dropped_entries_immediately() -> None:
    with private_heap():
        ring = Ring(50_000, 0)
        fill(ring, 1, 1_000)
        ring.shrink()
        entries = [entry for entry in gc.get_objects() if type(entry) is RingEntry]
        assert len(entries) == len(ring) < 60


def test_ring_drops_a_share_of_its_limit_at_a_time() -> None:
    ring = Ring(1 << 20, 0)
    dropped: list[int] = []
    for offset in range(1, 10_001):
        before = ring.floor
        fill(ring, offset, offset)
        ring.shrink()
        if ring.floor > before:
            dropped.append(ring.floor - before)
    assert min(dropped) > 10, "cutting a list costs its whole length"
    assert offsets(ring, ring.floor, 10_000) == list(range(ring.floor + 1, 10_001))


# The index.


def test_reader_of_one_key_visits_only_its_entries() -> None:
    ring = Ring(1 << 30, 0)
    for offset in range(1, 10_001):
        ring.add(make_record(offset, make_event(key=f"op-{offset % 1_000}", channel="operations")), f"e:{offset}")
    assert keyed(ring, 0, "operations/op-7") == list(range(7, 10_000, 1_000))
    assert keyed(ring, 5_000, "operations/op-7", "operations/op-8") == sorted(
        [*range(5_007, 10_000, 1_000), *range(5_008, 10_000, 1_000)]
    )
    assert keyed(ring, 0, "operations/op-7", limit=3) == [7, 1_007, 2_007]
    assert ring.visits == 10 + 10 + 3
    assert keyed(ring, 0, "data") == keyed(ring, 0, "operations/other") == []


def test_index_follows_the_ring() -> None:
    ring = Ring(100_000, 0)
    for offset in range(1, 2_001):
        ring.add(make_record(offset, make_event(key=f"op-{offset % 7}", channel="operations")), f"e:{offset}")
        ring.shrink()
        if offset % 3 == 0:
            expected = [place for place in range(ring.floor + 1, offset + 1) if place % 7 == 5]
            assert keyed(ring, ring.floor, "operations/op-5") == expected


def test_reader_of_a_prefix_visits_only_its_entries() -> None:
    ring = Ring(1 << 30, 0)
    for offset in range(1, 10_001):
        key = f"team{offset % 100}.op-{offset % 1_000}"
        ring.add(make_record(offset, make_event(key=key, channel="operations")), f"e:{offset}")
    team = [offset for offset in range(1, 10_001) if offset % 100 == 7]
    assert keyed(ring, 0, "operations/team7.*") == team
    assert keyed(ring, 5_000, "operations/team7.*", "operations/team8.op-8") == sorted(
        [offset for offset in team if offset > 5_000] + [*range(5_008, 10_001, 1_000)]
    )
    assert keyed(ring, 0, "operations/nosuch.*") == []
    assert ring.visits == 100 + 50 + 5
    ring.add(make_record(10_001, make_event(key="team7.new", channel="operations")), "e:10001")
    assert keyed(ring, 9_900, "operations/team7.*") == [9_907, 10_001]
    assert keyed(ring, 9_900, "operations/team7.n*") == [10_001]


def test_reader_of_many_prefixes_visits_only_their_entries() -> None:
    ring = Ring(1 << 30, 0)
    for offset in range(1, 20_001):
        key = f"team{offset % 100}.op-{offset % 10_000}"
        ring.add(make_record(offset, make_event(key=key, channel="operations")), f"e:{offset}")
    expected = [at for at in range(1, 20_001) if at % 100 < 50 and str(at % 10_000).startswith("12")]
    prefixes = [f"operations/team{number}.op-12*" for number in range(50)]
    assert keyed(ring, 0, *prefixes, limit=1_000) == expected
    assert ring.visits == len(expected) > 100
    prefixes = [f"operations/team{number}.op-1*" for number in range(50)]
    expected = [at for at in range(1, 20_001) if at % 100 < 50 and str(at % 10_000).startswith("1")]
    assert keyed(ring, 0, *prefixes, limit=2_000) == expected, "these are more keys than one prefix may have"


def test_reader_of_a_prefix_of_many_keys_reads_its_channel() -> None:
    ring = Ring(1 << 30, 0)
    for offset in range(1, 5_001):
        event = make_event(channel="data")
        if offset % 3 == 0:
            event = make_event(key=f"team{offset % 2}.op-{offset}", channel="operations")
        ring.add(make_record(offset, event), f"e:{offset}")
    assert keyed(ring, 0, "operations/team1.*", limit=10) == list(range(3, 33, 3)), "those of both teams"


def test_index_by_prefix_follows_the_ring() -> None:
    ring = Ring(100_000, 0)
    for offset in range(1, 2_001):
        key = f"{offset % 13}.{offset // 50}"
        ring.add(make_record(offset, make_event(key=key, channel="operations")), f"e:{offset}")
        ring.shrink()
        if offset % 3 == 0:
            expected = [place for place in range(ring.floor + 1, offset + 1) if place % 13 == 5]
            assert keyed(ring, ring.floor, "operations/5.*") == expected
            assert keyed(ring, ring.floor, "operations/nosuch*", "data") == []


def test_reader_of_many_long_keys_gets_them_in_order() -> None:
    ring = Ring(1 << 30, 0)
    for offset in range(1, 6_001):
        ring.add(make_record(offset, make_event(key=f"op-{offset % 40}", channel="operations")), f"e:{offset}")
    paths = [f"operations/op-{number}" for number in range(10)]
    expected = [offset for offset in range(1, 6_001) if offset % 40 < 10]
    assert keyed(ring, 0, *paths, limit=20) == expected[:20]
    assert keyed(ring, 3_000, *paths, limit=20) == [offset for offset in expected if offset > 3_000][:20]


def keyed(ring: Ring, after: int, *paths: str, limit: int = 100) -> list[int]:
    return [entry.offset for entry in ring.after(after, parse_paths(paths, CHANNELS), limit)]


def test_ring_of_zero_bytes_stays_empty() -> None:
    ring = Ring(0, 0)
    fill(ring, 1, 3)
    ring.shrink()
    assert (len(ring), ring.floor, offsets(ring, 3)) == (0, 3, [])
