"""What was read for those who are behind, remembered for others at the same place."""

from collections import OrderedDict

from msgspec import Struct

from tidings.hub.wire import WireForm
from tidings.log.base import Page
from tidings.protocol.paths import PathSet

UNBOUNDED = 1 << 62
"""More than any offset."""
_MOST = 64
"""Chunks remembered: 4 MiB of 64 KiB."""
_STOP = 256
"""Offsets between the places at which a page may begin that is read for many."""
_AGE_S = 1.0
"""How long they are: a `latest` event in one may have been superseded since."""


class Chunk(Struct, frozen=True):
    """What one read brought, ready to be written."""

    frames: bytes
    scanned: int
    """Up to where it was read: `Place.until`, or less where the chunk was full before."""
    read_at: float
    """On the monotonic clock."""


class Place(Struct, frozen=True):
    """What is read: equal places bring equal chunks."""

    form: WireForm
    paths: PathSet
    but: PathSet
    after: int
    until: int
    newest_only: bool


class Chunks:
    """The newest chunks, by place."""

    def __init__(self) -> None:
        self._chunks: OrderedDict[Place, Chunk] = OrderedDict()

    def find(self, place: Place, now: float) -> Chunk | None:
        """Return what was read at `place`, unless that is too long before `now` on the monotonic clock."""
        for known in (place,) if place.newest_only else (place, _from(place)):
            chunk = self._chunks.get(known)
            if chunk is not None and chunk.scanned <= place.until:
                if now - chunk.read_at < _AGE_S:
                    self._chunks.move_to_end(known)
                    return chunk
                del self._chunks[known]
        return None

    def remember(self, place: Place, chunk: Chunk) -> None:
        """Remember what was read at `place`."""
        # A chunk that was full before it came to its end is the same for those who read further than that. Not so of a
        # snapshot: an alert that was cleared meanwhile would be brought, and the clearing not.
        self._chunks[_from(place) if chunk.scanned < place.until and not place.newest_only else place] = chunk
        if len(self._chunks) > _MOST:
            self._chunks.popitem(last=False)


def meeting(page: Page, until: int) -> int:
    """Return where to cut a page that was asked for up to `until`: there those who read from elsewhere cut theirs, too.

    Cursors that come from different offsets would never read the same pages otherwise. A page that is not full ends at
    `until`. A full one ends, of the offsets of its last quarter, at the one that most powers of two divide; neighbours
    have mostly that one in common. Where 600 events fit, those who were at 0 and at 37 meet at 512.
    """
    if page.scanned >= until or not page.records:
        return page.scanned
    before = page.records[len(page.records) * 3 // 4].offset
    bits = max((before ^ page.scanned).bit_length() - 1, 0)
    return page.scanned >> bits << bits


def next_stop(after: int) -> int:
    """Return how far one may read who is at `after`: from a stop without bound, from elsewhere to the next stop.

    A page for one reader alone is short thereby.
    """
    return after + _STOP - after % _STOP if after % _STOP else UNBOUNDED


def _from(place: Place) -> Place:
    """Return what stands for all places that begin as this one does, whatever their end."""
    return Place(place.form, place.paths, place.but, place.after, -1, False)
