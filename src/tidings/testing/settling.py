"""Waiting, without sleeping, until clients have done all they can do at this moment."""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotInTime

_QUIET_ROUNDS = 64
"""Rounds of an event loop without anything new after which it has nothing to do. From one step of a client to its next
there are fewer than ten; the others are for the code under test, which may `await` what is there already."""
_PATIENCE_S = 30.0
"""For a client's thread to come to rest: one that is blocked would keep the test waiting for ever."""
_LOOK_S = 0.05
"""How often a thread that takes long is looked at: its loop may have ended."""


async def wait_quiet(activity: Callable[[], int]) -> None:
    """Wait until this event loop has gone round often without `activity` having risen."""
    seen, rounds = activity(), 0
    while rounds < _QUIET_ROUNDS:
        await asyncio.sleep(0)
        now = activity()
        seen, rounds = now, rounds + 1 if now == seen else 0


def settle_threads(loops: Iterable[asyncio.AbstractEventLoop], activity: Callable[[], int]) -> None:
    """Wait until each of the event loops, which run on other threads, is quiet.

    Raises:
        TimeoutError: One of them is not within half a minute: something blocks it.
    """
    waiting = [(loop, _begin(loop, activity)) for loop in loops]
    for loop, quiet in waiting:
        if quiet is not None:
            _wait(loop, quiet)


def _begin(loop: asyncio.AbstractEventLoop, activity: Callable[[], int]) -> "Future[None] | None":
    coroutine = wait_quiet(activity)
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:  # it is closed
        coroutine.close()
        return None


def _wait(loop: asyncio.AbstractEventLoop, quiet: "Future[None]") -> None:
    looks = round(_PATIENCE_S / _LOOK_S)
    for _ in range(looks):
        try:
            quiet.result(_LOOK_S)
        except CancelledError:
            return  # the loop ends
        except NotInTime:
            if loop.is_closed():
                return
        else:
            return
    quiet.cancel()
    raise TimeoutError(f"a client's event loop is not at rest after {_PATIENCE_S:g} s: something blocks it, or repeats")
