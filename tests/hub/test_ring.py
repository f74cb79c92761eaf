from tests.hub.events import make_event, make_record

from tidings.hub.ring import Ring
from tidings.server.wire_formats import PLAIN_LINES, VERSIONED_LINES


def fill(ring: Ring, first: int, last: int, size: int = 0) -> None:
    for offset in range(first, last + 1):
        ring.add(make_record(offset, make_event(data=b'"%b"' % (b"x" * size))), f"e:{offset}")


def offsets(ring: Ring, after: int, limit: int = 100) -> list[int]:
    return [entry.offset for entry in ring.after(after, limit)]


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
    (entry,) = ring.after(0, 1)
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
    for entry in ring.after(0, 5):
        ring.frame(entry, PLAIN_LINES)
    ring.shrink()
    assert len(ring) == 3


def test_ring_releases_dropped_entries_immediately() -> None:
    ring = Ring(50_000, 0)
    fill(ring, 1, 1_000)
    ring.shrink()
    held = [entry for entry in ring._entries if entry.position]
    assert len(held) == len(ring)


def test_ring_cuts_its_list_eventually() -> None:
    ring = Ring(50_000, 0)
    for start in range(1, 20_001, 100):
        fill(ring, start, start + 99)
        ring.shrink()
    assert len(ring._entries) < 10_000
    assert offsets(ring, ring.floor) == list(range(ring.floor + 1, 20_001))


def test_ring_of_zero_bytes_stays_empty() -> None:
    ring = Ring(0, 0)
    fill(ring, 1, 3)
    ring.shrink()
    assert (len(ring), ring.floor, offsets(ring, 3)) == (0, 3, [])
