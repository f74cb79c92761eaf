"""Runs of frames: written in one piece, and cut between two frames where a client takes no more."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain
from typing import Protocol

from tidings.hub.wire import Outlet

PIECE_BYTES = 16 << 10
"""Bytes that are passed to an outlet at a time where it takes no more directly but does not pause either; and the size
of a frame above which all clients that stop inside it share one copy."""

_OVERHEAD_BYTES = 500
"""Memory of a run besides its frames, measured."""
_FRAME_BYTES = 20
"""Memory of the size, end and offset of a frame."""


class Writer(Protocol):
    """The part of a subscriber that writes."""

    outlet: Outlet
    blocked: bool
    """Whether the outlet has unsent bytes; `Outlet.write` may set it before it returns."""


class FrameRun:
    """Frames in log order, joined, with the end and the offset of each.

    Args:
        frames: The joined frames.
        sizes: Size of each frame, in bytes.
        offsets: Offset of the event in each frame.
        after: Offset of the log after which the first frame comes.
    """

    __slots__ = ("_ends", "_offsets", "_shared", "_sizes", "after", "frames")

    def __init__(self, frames: bytes, sizes: Iterable[int], offsets: Iterable[int], after: int) -> None:
        self.frames = frames
        self.after = after
        self._sizes = array("I", sizes)
        self._offsets = array("Q", offsets)
        self._ends = array("Q", accumulate(self._sizes))
        self._shared: dict[int, bytes] = {}
        """Copies of long frames, by their start."""

    @classmethod
    def joined(cls, runs: Sequence["FrameRun"]) -> "FrameRun":
        """Return runs that follow each other as one."""
        return cls(
            b"".join([run.frames for run in runs]),
            chain.from_iterable(run._sizes for run in runs),
            chain.from_iterable(run._offsets for run in runs),
            runs[0].after,
        )

    @property
    def memory(self) -> int:
        """Memory of the run in bytes."""
        return len(self.frames) + _FRAME_BYTES * len(self._ends) + _OVERHEAD_BYTES

    def rest(self, end: int) -> "FrameRun":
        """Return what follows the frame that ends at `end`."""
        if not end:
            return self
        index = bisect_right(self._ends, end)
        return FrameRun(self.frames[end:], self._sizes[index:], self._offsets[index:], self.offset(end))

    def next_end(self, position: int) -> int:
        """Return the end of the frame that byte `position` is in."""
        return self._ends[bisect_right(self._ends, position)]

    def last_end(self, position: int) -> int:
        """Return the end of the last frame that ends at or before `position`; 0 if none does."""
        index = bisect_right(self._ends, position)
        return self._ends[index - 1] if index else 0

    def offset(self, end: int) -> int:
        """Return the offset that a reader has reached with the frame that ends at `end`."""
        return self._offsets[bisect_left(self._ends, end)] if end else self.after

    def part(self, start: int, end: int) -> bytes | memoryview:
        """Return bytes that may wait in an outlet for long: without the rest of the run, which they would keep alive.

        Thousands of clients may stop in one frame of 256 KiB: they share one copy of it.
        """
        first = self.last_end(start)
        if end - first <= PIECE_BYTES or end > self.next_end(start):
            return self.frames[start:end]
        frame = self._shared.get(first)
        if frame is None:
            frame = self._shared[first] = self.frames[first:end]
        return memoryview(frame)[start - first :]


def write_run(writer: Writer, run: FrameRun) -> int:
    """Write a run to a client that has no unsent bytes, and return the end of the last frame that it was given.

    Only the rest of one frame ever waits in the outlet: the frames after it stay where they are.
    """
    frames = run.frames
    try:
        sent = writer.outlet.direct()(frames)
    except BlockingIOError:
        sent = 0
    except OSError:
        return len(frames)  # the peer is gone; its socket is about to report that
    return sent if sent == len(frames) else write_rest(writer, run, sent)


def write_rest(writer: Writer, run: FrameRun, sent: int) -> int:
    """Go on with a run of which the client took only the first `sent` bytes directly; see `write_run`.

    At least one frame is written, so that the outlet reports when it takes more.
    """
    size = len(run.frames)
    position = sent
    end = run.next_end(position)
    while True:
        writer.outlet.write(run.part(position, end))
        if writer.blocked or end == size:
            return end
        position = end
        end = max(run.next_end(position), run.last_end(position + PIECE_BYTES))
