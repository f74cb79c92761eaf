"""Time that a test advances, for a hub in memory and its clients on all threads, without sleeping.

`ManualTime` advances the clock and waits until every client is at rest: it has done everything it can at this moment.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotInTime
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tidings.client.background_loop import list_live_loops
from tidings.testing.world import World

if TYPE_CHECKING:
    from tidings.producer.runtime import ProducerRuntime

QUIET_ROUNDS = 64
"""Number of rounds without activity after which an event loop is at rest. From one step of a client to its next there
are fewer than ten; the others are for the code under test, which may `await` what is there already."""
MAX_SETTLE_S = 30.0
"""Time for a client's thread to come to rest: a blocked one would keep the test waiting forever."""
_CHECK_INTERVAL_S = 0.05
"""Interval at which a thread that takes long is checked: its loop may have ended."""


def producer_runtime() -> "ProducerRuntime | None":
    """Return the state that this process's operations share; None if the producer was never imported."""
    if "tidings.producer.runtime" not in sys.modules:
        return None
    from tidings.producer.runtime import RUNTIME

    return RUNTIME


def sample_progress() -> None:
    """Let running operations publish their progress now instead of at their next sample."""
    runtime = producer_runtime()
    if runtime is not None:
        runtime.sample()


async def wait_quiet(activity: Callable[[], int]) -> None:
    """Wait until this event loop has run `QUIET_ROUNDS` rounds without a change of `activity`."""
    seen, rounds = activity(), 0
    while rounds < QUIET_ROUNDS:
        await asyncio.sleep(0)
        now = activity()
        seen, rounds = now, rounds + 1 if now == seen else 0


def settle_threads(loops: Iterable[asyncio.AbstractEventLoop], activity: Callable[[], int]) -> None:
    """Wait until each of the event loops, which run on other threads, is at rest.

    Raises:
        TimeoutError: One of them is not at rest within half a minute: it is blocked.
    """
    waiting = [(loop, _start(loop, activity)) for loop in loops]
    for loop, quiet in waiting:
        if quiet is not None:
            _wait(loop, quiet)


def _start(loop: asyncio.AbstractEventLoop, activity: Callable[[], int]) -> "Future[None] | None":
    coroutine = wait_quiet(activity)
    try:
        return asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError:  # it is closed
        coroutine.close()
        return None


def _wait(loop: asyncio.AbstractEventLoop, quiet: "Future[None]") -> None:
    for _ in range(round(MAX_SETTLE_S / _CHECK_INTERVAL_S)):
        try:
            quiet.result(_CHECK_INTERVAL_S)
        except CancelledError:
            return  # the loop ends
        except NotInTime:
            if loop.is_closed():
                return
        else:
            return
    quiet.cancel()
    raise TimeoutError(f"the event loop of a client is not at rest after {MAX_SETTLE_S:g} s: it is blocked or repeats")


class ManualTime:
    """The clock of a hub in memory and of its clients.

    Args:
        world: The hub and its surroundings, which the clock drives.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._loops: dict[asyncio.AbstractEventLoop, None] = {}

    @property
    def now(self) -> datetime:
        """The hub's clock, in UTC."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self._world.clock.wall_ns() // 1_000)

    def advance(self, seconds: float) -> None:
        """Let time pass for the hub and its clients on other threads; each does at each moment what is due.

        Raises:
            RuntimeError: A client in this event loop could not take part. Use `await hub.aadvance(...)`.
            TimeoutError: See `settle`.
        """
        self._check_thread("aadvance")
        for _ in self._moments(seconds):
            self._settle_threads()

    async def aadvance(self, seconds: float) -> None:
        """Let time pass, also for clients in this event loop; see `advance`."""
        for _ in self._moments(seconds):
            await self.asettle()

    def settle(self) -> None:
        """Wait until the clients, all on other threads, have done everything they can while time stands still.

        Published events are then in the log, operations have published their progress, clients have received the
        events of the log, and every client that can connect is connected.

        Raises:
            RuntimeError: A client in this event loop could not take part. Use `await hub.asettle()`.
            TimeoutError: A client's thread is blocked.
        """
        self._check_thread("asettle")
        self._settle_threads()

    async def asettle(self) -> None:
        """Wait until the clients, also those in this event loop, have done everything they can; see `settle`."""
        sample_progress()
        while True:
            before = self._world.activity
            await wait_quiet(self._activity)
            here = asyncio.get_running_loop()
            if self._other_loops(here):
                await asyncio.to_thread(self._settle_threads, except_for=here)
            if self._world.activity == before:
                return

    def settle_others(self) -> None:
        """Wait for the clients on other threads, such as producers, without those in this event loop."""
        self._settle_threads()

    def _moments(self, seconds: float) -> Iterator[None]:
        """Advance the clock, and yield at each moment at which something happens to a client."""
        if seconds < 0:
            raise ValueError(f"time cannot go back by {-seconds} s")
        world = self._world
        yield
        end = world.clock.now + seconds
        found = True
        while found:
            with world.entered():
                before = world.activity
                found = world.loop.advance_to_timer(end)
            if world.activity != before:
                yield
        yield

    def _check_thread(self, instead: str) -> None:
        loop = _running_loop()
        if loop is not None and loop in self._loops:
            raise RuntimeError(
                f"a client in this event loop cannot run during the call: use await hub.{instead}(...) instead"
            )

    def _settle_threads(self, except_for: asyncio.AbstractEventLoop | None = None) -> None:
        sample_progress()
        here = except_for or _running_loop()
        while True:
            before = self._world.activity
            settle_threads(self._other_loops(here), self._activity)
            if self._world.activity == before:
                return

    def _other_loops(self, here: asyncio.AbstractEventLoop | None) -> list[asyncio.AbstractEventLoop]:
        loops = {**self._loops, **dict.fromkeys(list_live_loops())}
        return [loop for loop in loops if loop is not here and loop.is_running()]

    def _activity(self) -> int:
        return self._world.activity

    def _add_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Register the event loop of a client."""
        with self._world.entered():
            self._world.activity += 1
            self._loops[loop] = None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
