"""`tidings` whose event loop records its longest turn: `python -m benchmarks.hostile.timed_hub FILE serve …`.

A turn is measured in CPU time of the loop's thread, so that it does not depend on what else the machine runs. A timer
ticks every millisecond, and thus once a turn of the loop when turns are longer: the CPU time between two ticks is that
of a turn, and at most a few milliseconds more. FILE holds the longest in seconds, as a double that its reader resets.
"""

import asyncio
import mmap
import struct
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from tidings.cli import main

TICK_S = 0.001
_DOUBLE = struct.Struct("=d")


class LongestTurn:
    """The longest turn in a file that two processes share.

    Args:
        file: The file; it is created if it does not exist.
    """

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.write_bytes(bytes(_DOUBLE.size))
        with file.open("r+b") as opened:
            self._memory = mmap.mmap(opened.fileno(), _DOUBLE.size)

    @property
    def seconds(self) -> float:
        """The longest turn since `reset`, in seconds of CPU time."""
        longest: float = _DOUBLE.unpack_from(self._memory)[0]
        return longest

    def reset(self) -> None:
        """Begin again."""
        _DOUBLE.pack_into(self._memory, 0, 0.0)

    def note(self, seconds: float) -> None:
        """Record a turn."""
        if seconds > self.seconds:
            _DOUBLE.pack_into(self._memory, 0, seconds)

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Record the turns of `loop` from now on; called from its thread."""
        before = time.thread_time()

        def tick() -> None:
            nonlocal before
            now = time.thread_time()
            self.note(now - before)
            before = now
            loop.call_later(TICK_S, tick)

        loop.call_soon(tick)


def run(file: Path) -> None:
    """Run the command line with loops that record their turns in `file`."""
    longest = LongestTurn(file)

    run_untimed = asyncio.Runner.run

    def run_timed(runner: asyncio.Runner, coro: Coroutine[Any, Any, Any], **more: Any) -> Any:
        longest.watch(runner.get_loop())
        return run_untimed(runner, coro, **more)

    asyncio.Runner.run = run_timed  # type: ignore[method-assign, assignment]
    main()


if __name__ == "__main__":
    sys.argv[0] = "tidings"
    run(Path(sys.argv.pop(1)))
