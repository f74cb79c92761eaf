"""What the embedded log costs the event loop, on a log that holds a million events: `python -m benchmarks.log`.

Each figure is the time a call held the loop; waiting for the checkpoint thread, during which the loop runs, is not.
"""

import argparse
import os
import platform
import random
import secrets
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath

from tidings.exceptions import LogError
from tidings.log.base import EventToAppend, Page, Query, Retention
from tidings.log.sqlite.log import SqliteLog
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass
from tidings.protocol.paths import NO_PATHS, Path, PathSet

ROWS = 1_000_000
KEYS = 100_000
HOT = 50
FILL = 2_000
BATCHES = (1, 10, 100, 500)
STEPS = 200
EVENTS = 20_000
"""Appended for each figure, or 500 batches."""
DATA = b'{"operation_id":"op","level":"info","message":"%b"}' % (b"x" * 200)
OPERATIONS = PathSet.of([Path("operations")])


class Loop:
    """What the log asks of an event loop; `run` waits as a loop does."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], object]] = deque()

    def call_soon(self, callback: Callable[[], object], /) -> None:
        self.waiting.append(callback)

    def call_later(self, delay: float, callback: Callable[[], object], /) -> None:
        self.waiting.append(callback)

    def run(self) -> None:
        while self.waiting:
            time.sleep(0.001)
            self.waiting.popleft()()


class Bench:
    def __init__(self, folder: FilePath, rows: int) -> None:
        self.folder = folder
        self.rows = rows
        self.loop = Loop()
        self.longest: dict[str, float] = {}
        names = [f"op-{number}" for number in range(KEYS)]
        traces = [secrets.token_hex(16) for _ in range(HOT)]
        self.modes: dict[str, Callable[[], tuple[str, str]]] = {
            f"{HOT} live operations": lambda: (names[(n := random.randrange(HOT))], traces[n]),
            "random keys": lambda: (random.choice(names), traces[0]),
            "random traces": lambda: (names[random.randrange(HOT)], secrets.token_hex(16)),
            "random keys and traces": lambda: (random.choice(names), secrets.token_hex(16)),
        }
        self.log = self.open()

    def open(self, **retention: float) -> SqliteLog:
        kept = Retention(events=2 * self.rows, bytes=1 << 40, **retention)  # type: ignore[arg-type]
        return SqliteLog(self.folder, self.loop, lambda: secrets.token_hex(4), retention=kept)

    def drafts(self, mode: str, count: int, *, latest: float = 0.1) -> list[EventToAppend]:
        pick, now = self.modes[mode], time.time_ns()
        made = []
        for _ in range(count):
            key, trace = pick()
            is_latest = random.random() < latest
            made.append(
                EventToAppend(
                    Event(
                        type="operation:progress" if is_latest else random.choice(("operation:start", "operation:log")),
                        timestamp="2026-01-01T00:00:00.123456Z",
                        trace_id=trace,
                        data=DATA,
                        channel="operations",
                        key=key,
                        event_class=EventClass.LATEST if is_latest else EventClass.DURABLE,
                    ),
                    now,
                )
            )
        return made

    def append(self, batch: list[EventToAppend]) -> float:
        """Append, and return how long the call that stored it took."""
        taken: list[float] = []
        results: list[object] = []
        start = time.perf_counter()

        def done(result: object) -> None:
            results.append(result)

        self.log.append(batch, done)
        taken.append(time.perf_counter() - start)
        while self.loop.waiting:
            time.sleep(0.001)
            start = time.perf_counter()
            self.loop.waiting.popleft()()
            taken.append(time.perf_counter() - start)
        assert isinstance(results[0], list), results
        return max(taken)

    def read(self, **query: object) -> Page:
        pages: list[Page | LogError] = []
        defaults = {"after": 0, "until": self.log.head, "paths": OPERATIONS}
        self.log.read(Query(**(defaults | query)), pages.append)  # type: ignore[arg-type]
        assert isinstance(pages[0], Page), pages
        return pages[0]

    # Figures.

    def fill(self) -> None:
        start = time.perf_counter()
        while self.log.head < self.rows:
            self.append(self.drafts("random keys and traces", FILL))
        print(f"filled with {self.log.head:,} events in {time.perf_counter() - start:.0f} s")

    def appends(self) -> None:
        print(
            "\nappend, us an event            "
            + "".join(f"  batch of {size:>5}" for size in BATCHES)
            + "  longest call"
        )
        for mode in self.modes:
            line, longest = f"  {mode:29}", 0.0
            for size in BATCHES:
                rounds = min(500, EVENTS // size)
                times = [self.append(self.drafts(mode, size)) for _ in range(rounds)]
                line += f"{statistics.median(times) / size * 1e6:16.1f}"
                longest = max(longest, *times)
            print(f"{line}{longest * 1e3:11.1f} ms")

    def timed(self, name: str, call: Callable[[], object], times: int = 200) -> None:
        taken = []
        for _ in range(times):
            start = time.perf_counter()
            result = call()
            taken.append(time.perf_counter() - start)
        self._tell(name, taken, f"{len(result.records)} events" if isinstance(result, Page) else "")

    def _tell(self, name: str, taken: list[float], note: str) -> None:
        print(f"  {name:44}{statistics.median(taken) * 1e3:9.3f} ms{max(taken) * 1e3:9.3f} ms  {note}", flush=True)

    def reads(self) -> None:
        print("\nread, one page                                  median       longest")
        head = self.log.head
        key = PathSet.of([Path("operations", "op-7")])
        prefix = PathSet.of([Path("operations", "op-77", prefix=True)])

        def at() -> int:
            return random.randrange(head)

        self.timed("live reader a little behind", lambda: self.read(after=head - 300))
        self.timed("far behind", lambda: self.read(after=at()))
        self.timed(
            "history of two types",
            lambda: self.read(after=at(), conflate=False, types=frozenset({"operation:progress"})),
        )
        self.timed("one key", lambda: self.read(paths=key))
        self.timed("a prefix of keys", lambda: self.read(after=at(), paths=prefix))
        self.timed("one trace", lambda: self.read(trace_id="0" * 32, conflate=False))
        newest = self.log.newest
        print(f"\nsnapshot, {len(newest):,} keys                      median       longest")
        self.timed("plan, made anew", self._plan_anew, times=10)
        self.timed("plan, gone on with", lambda: newest.page(OPERATIONS, NO_PATHS, after=at(), until=head, limit=500))
        self.timed("one page", lambda: self.read(after=at(), newest_only=True))
        self.timed("of one key", lambda: self.read(paths=key, newest_only=True))
        self.timed("statistics()", self.log.statistics)
        while self.log._state.saved_index.is_due(head):
            self.log.maintain(0)
        self.timed("maintain() with nothing due", lambda: self.log.maintain(0))
        self.saves()

    def _plan_anew(self) -> object:
        self.log.newest._pages._selections.clear()
        return self.log.newest.page(OPERATIONS, NO_PATHS, after=0, until=self.log.head, limit=500)

    def sweeps(self) -> None:
        print("\nretention, one step                              median       longest")
        durable = self.log.statistics().durable_events
        for name, kept in (("step", durable * 100 // 104), ("step, far behind", durable // 2)):
            self.log.close()
            retention = Retention(events=kept, superseded_events=1_000)
            self.log = SqliteLog(self.folder, self.loop, lambda: secrets.token_hex(4), retention=retention)
            self._sweep(name)

    def _sweep(self, name: str) -> None:
        self._settle()
        taken: list[float] = []
        trimmed = [self.log.statistics().trimmed_events]
        while len(taken) < STEPS:
            start = time.perf_counter()
            more = self.log.maintain(time.time_ns())
            now = time.perf_counter()
            trimmed.append(self.log.statistics().trimmed_events)
            if trimmed[-1] > trimmed[-2]:
                taken.append(now - start)
            elif more:  # it waits for a checkpoint
                time.sleep(0.001)
            else:
                break
        self._tell(name, taken, f"{trimmed[-1] - trimmed[0]:,} durable events trimmed in {len(taken)} steps")

    def _settle(self) -> None:
        """Wait until the checkpoint thread finds nothing to do: it would be in the way of what is measured."""
        checkpoints = -1
        while checkpoints != self.log._checkpointer.checkpoints:
            checkpoints = self.log._checkpointer.checkpoints
            time.sleep(1.5)

    def saves(self) -> None:
        """Measure saving the fold, a piece at a time, as retention does at intervals."""
        self._settle()
        index, head, taken = self.log._state.saved_index, self.log.head, []
        index._saved_to = 0
        while index.is_due(head):
            start = time.perf_counter()
            self.log.maintain(0)
            taken.append(time.perf_counter() - start)
        self._tell("saving the fold, one piece", taken, f"{len(taken)} pieces")

    def openings(self) -> None:
        print("\nopen")
        self.log.close()
        for name, prepare in (
            ("after a clean close", None),
            ("after a crash, fold saved earlier", self._crash),
            ("fold never saved", self._forget),
        ):
            if prepare:
                prepare()
            start = time.perf_counter()
            self.log = self.open()
            print(f"  {name:44}{time.perf_counter() - start:9.2f} s")
            self.log.close()

    def _crash(self) -> None:
        self.log = self.open()
        for _ in range(50):
            self.append(self.drafts("random keys and traces", FILL))
        self._settle()  # the copy must not be made while the checkpoint thread moves what is copied
        left = self.folder.with_name("left")
        left.mkdir()
        for name in ("log.db", "log.db-wal"):
            shutil.copyfile(self.folder / name, left / name)
        self.log.close()
        self.folder = left

    def _forget(self) -> None:
        connection = sqlite3.connect(self.folder / "log.db")
        connection.execute("UPDATE meta SET value = 0 WHERE name = 'folded_to'")
        connection.commit()
        connection.close()


def machine() -> Iterator[str]:
    names = (
        [
            line.partition(":")[2].strip()
            for line in FilePath("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ]
        if FilePath("/proc/cpuinfo").exists()
        else []
    )
    name = names[0] if names else platform.machine()
    yield f"machine   {name}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    yield f"load      {os.getloadavg()[0]:.1f} on average over the last minute"
    yield f"python    {platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}"


@contextmanager
def scratch(folder: FilePath | None) -> Iterator[FilePath]:
    with tempfile.TemporaryDirectory(prefix="tidings-bench-", dir=folder) as made:
        yield FilePath(made) / "data"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.log", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS, help="events the log holds before anything is measured")
    parser.add_argument("--folder", type=FilePath, help="folder for the log, on the disk to be measured")
    arguments = parser.parse_args()
    print("\n".join(machine()))
    with scratch(arguments.folder) as folder:
        bench = Bench(folder, arguments.rows)
        bench.fill()
        bench.appends()
        bench.reads()
        bench.sweeps()
        bench.openings()


if __name__ == "__main__":
    main()
