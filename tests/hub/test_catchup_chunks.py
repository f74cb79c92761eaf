from collections.abc import Sequence

import pytest
from tests.hub.events import make_record

from tidings.hub.catchup import UNBOUNDED, CachedRead, ReadCache, ReadKey, alignment_cut, next_alignment
from tidings.log.base import Page
from tidings.protocol.paths import NO_PATHS
from tidings.server.wire_formats import PLAIN_LINES


def place(after: int, until: int, *, newest_only: bool = False) -> ReadKey:
    return ReadKey(PLAIN_LINES, NO_PATHS, NO_PATHS, after, until, newest_only)


def full_page(after: int, offsets: Sequence[int]) -> Page:
    return Page([make_record(offset) for offset in offsets], offsets[-1])


def test_what_was_read_at_a_place_is_found_there_for_a_second() -> None:
    chunks = ReadCache()
    chunk = CachedRead(b"x", 90, 5.0)
    chunks.add(place(0, 90), chunk)
    assert chunks.find(place(0, 90), 5.9) is chunk
    assert chunks.find(place(0, 91), 5.9) is None, "there may be more for who reads further"
    assert chunks.find(place(1, 90), 5.9) is None
    assert chunks.find(place(0, 90), 6.0) is None


def test_a_chunk_that_was_full_is_the_same_for_all_who_read_at_least_so_far() -> None:
    chunks = ReadCache()
    chunk = CachedRead(b"x", 50, 5.0)
    chunks.add(place(0, 90), chunk)
    assert chunks.find(place(0, 1_000), 5.0) is chunk
    assert chunks.find(place(0, 50), 5.0) is chunk
    assert chunks.find(place(0, 49), 5.0) is None


def test_a_snapshots_chunk_is_for_that_snapshot_alone() -> None:
    chunks = ReadCache()
    chunks.add(place(0, 90, newest_only=True), CachedRead(b"x", 50, 5.0))
    assert chunks.find(place(0, 91, newest_only=True), 5.0) is None
    assert chunks.find(place(0, 90), 5.0) is None
    assert chunks.find(place(0, 90, newest_only=True), 5.0) is not None


def test_those_that_were_not_looked_for_are_forgotten_first() -> None:
    chunks = ReadCache()
    for number in range(100):
        chunks.add(place(number, 200), CachedRead(b"x", 200, 0.0))
        chunks.find(place(0, 200), 0.5)
    found = [number for number in range(100) if chunks.find(place(number, 200), 0.5)]
    assert found == [0, *range(37, 100)]


@pytest.mark.parametrize("step", [1, 3])
def test_cursors_that_come_from_a_hundred_places_are_soon_at_two(step: int) -> None:
    cursors = set(range(1_000, 1_000 + 100 * step, step))
    for _ in range(2):
        cursors = {alignment_cut(full_page(at, range(at + 1, at + 600 * step, step)), 1 << 50) for at in cursors}
    assert len(cursors) <= 2


@pytest.mark.parametrize(
    "offsets",
    [[1], [1, 2], [7, 8, 9], range(1, 600), [5, 1 << 40, (1 << 40) + 1], [*range(1 << 20, (1 << 20) + 300)]],
    ids=str,
)
def test_a_full_page_keeps_three_quarters_of_its_events(offsets: Sequence[int]) -> None:
    end = alignment_cut(full_page(0, offsets), 1 << 50)
    assert end <= offsets[-1]
    assert sum(offset <= end for offset in offsets) >= max(1, len(offsets) * 3 // 4)


def test_a_page_that_is_not_full_ends_where_it_was_to_end() -> None:
    assert alignment_cut(Page([make_record(3)], 77), 77) == 77
    assert alignment_cut(Page([], 700), 1_000) == 700, "there was much to look at, and nothing of it was wanted"


def test_who_is_between_two_stops_reads_to_the_next_and_who_is_at_one_as_far_as_may_be() -> None:
    assert [next_alignment(after) for after in (1, 255, 257, 511)] == [256, 256, 512, 512]
    assert [next_alignment(after) for after in (0, 256, 1 << 40)] == [UNBOUNDED] * 3
