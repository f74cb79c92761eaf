"""Time that a test moves, for a hub in memory and all its clients, on whatever threads they are.

Waiting, without sleeping, until clients have done all they can do at this moment.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotInTime
from datetime import UTC, datetime, timedelta

from tidings.client.background_loop import live_loops
from tidings.testing.producers import tell_progress
from tidings.testing.world import World

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


class ManualTime:
    """The clock of a hub in memory, and of its clients.

    Args:
        stage: What moves with it.
    """

    def __init__(self, stage: World) -> None:
        self._stage = stage
        self._loops: dict[asyncio.AbstractEventLoop, None] = {}

    @property
    def now(self) -> datetime:
        """The hub's clock, in UTC."""
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self._stage.clock.wall_ns() // 1_000)

    def advance(self, seconds: float) -> None:
        """Let time pass, for the hub and its clients on other threads, each doing at each moment what is due.

        Raises:
            RuntimeError: A client in this very event loop could not take part: `await hub.aadvance(...)`.
            TimeoutError: See `settle`.
        """
        self._check_thread("aadvance")
        for _ in self._moments(seconds):
            self._settle_threads()

    async def aadvance(self, seconds: float) -> None:
        """Let time pass, for clients in this event loop, too; see `advance`."""
        for _ in self._moments(seconds):
            await self.asettle()

    def settle(self) -> None:
        """Wait until the clients, all on other threads, have done everything they can while time stands still.

        What was published is then in the log, operations have said how far they are, what is in the log was read, and
        whoever can connect is connected.

        Raises:
            RuntimeError: A client in this very event loop could not take part: `await hub.asettle()`.
            TimeoutError: A client's thread is blocked.
        """
        self._check_thread("asettle")
        self._settle_threads()

    async def asettle(self) -> None:
        """Wait until the clients, those in this event loop too, have done everything they can; see `settle`."""
        tell_progress()
        while True:
            before = self._stage.activity
            await wait_quiet(self._activity)
            here = asyncio.get_running_loop()
            if self._other_loops(here):
                await asyncio.to_thread(self._settle_threads, except_for=here)
            if self._stage.activity == before:
                return

    def settle_others(self) -> None:
        """Wait for the clients on other threads, such as producers, whoever may be in this event loop."""
        self._settle_threads()

    def _moments(self, seconds: float) -> Iterator[None]:
        """Move the clock, and stop at the moments at which something happens to a client."""
        if seconds < 0:
            raise ValueError(f"time does not go back by {-seconds} s")
        stage = self._stage
        yield
        end = stage.clock.now + seconds
        found = True
        while found:
            with stage.entered():
                before = stage.activity
                found = stage.loop.advance_to_timer(end)
            if stage.activity != before:
                yield
        yield

    def _check_thread(self, instead: str) -> None:
        loop = _running_loop()
        if loop is not None and loop in self._loops:
            raise RuntimeError(
                f"a client in this event loop cannot do anything meanwhile: await hub.{instead}(...) instead"
            )

    def _settle_threads(self, except_for: asyncio.AbstractEventLoop | None = None) -> None:
        tell_progress()
        here = except_for or _running_loop()
        while True:
            before = self._stage.activity
            settle_threads(self._other_loops(here), self._activity)
            if self._stage.activity == before:
                return

    def _other_loops(self, here: asyncio.AbstractEventLoop | None) -> list[asyncio.AbstractEventLoop]:
        loops = {**self._loops, **dict.fromkeys(live_loops())}
        return [loop for loop in loops if loop is not here and loop.is_running()]

    def _activity(self) -> int:
        return self._stage.activity

    def _joined(self, loop: asyncio.AbstractEventLoop) -> None:
        """Note that there is a client in an event loop."""
        with self._stage.entered():
            self._stage.activity += 1
            self._loops[loop] = None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
