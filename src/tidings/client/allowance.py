"""How much may be on its way at once."""

import asyncio
import contextlib
from collections import deque


class Allowance:
    """A bound on publications that wait for their answer; whoever wants more waits for room, first come first served.

    Args:
        count: Publications at once.
        size: Bytes of them at once; one that is larger by itself goes alone.
    """

    def __init__(self, count: int, size: int) -> None:
        self._free_count = self._count = count
        self._free_size = self._size = size
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take_nowait(self, size: int) -> bool:
        """Take room for one of `size` bytes, if there is any and nobody waits for it; return whether it was taken."""
        if self._waiters or not self._fits(size):
            return False
        self._take(size)
        return True

    async def take(self, size: int) -> None:
        """Wait for room for one of `size` bytes, and take it. A take that is cancelled has taken nothing."""
        if self.take_nowait(size):
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((size, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.give(size)  # it was granted in the moment of the cancellation
            else:
                with contextlib.suppress(ValueError):  # passed over already
                    self._waiters.remove((size, waiter))
                self._grant()
            raise

    def give(self, size: int) -> None:
        """Give back what `take` took."""
        self._free_count += 1
        self._free_size += size
        self._grant()

    def _fits(self, size: int) -> bool:
        return self._free_count > 0 and (size <= self._free_size or self._free_size == self._size)

    def _take(self, size: int) -> None:
        self._free_count -= 1
        self._free_size -= size

    def _grant(self) -> None:
        while self._waiters and self._fits(self._waiters[0][0]):
            size, waiter = self._waiters.popleft()
            if waiter.cancelled():
                continue
            self._take(size)
            waiter.set_result(None)
