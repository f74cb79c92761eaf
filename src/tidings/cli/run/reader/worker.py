"""The thread that reads a command's output for progress, off the path the output takes.

How far a whole run is, as far as the shares of its steps say it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable

from tidings.cli.run.reader.output import INTERVAL_S, CommandProgress, OutputReader, Source
from tidings.cli.run.reporter import Reporter, guarded


class OverallProgress:
    """What may be told of the whole: a share that never falls, or that nobody knows.

    The first step's share is the whole's: most commands draw one bar. Once a second begins, and nobody says how many
    there will be, its share says nothing of the whole any more. Parts that are numbered do, from where they are further
    than what was told; so do they after a bar that came before them, but not when they begin again.
    """

    def __init__(self) -> None:
        self._step = 0
        self._told = 0.0
        self._speaks = False
        self._numbered = False

    def percent_of(self, reading: CommandProgress) -> float | None:
        """Return the share of the whole that is done, 0-100, or None where nobody knows; call it for each reading."""
        numbered = reading.total_steps > 0
        if reading.step != self._step:
            self._speaks = reading.step == 1 or (numbered and not self._numbered)
            self._step = reading.step
            self._numbered = self._numbered or numbered
        if reading.percent is None or not self._speaks or reading.percent < self._told:
            return None
        self._told = reading.percent
        return self._told


# Output waiting to be read. A command that prints faster than we read loses the oldest of it to the reading, never to
# the screen: what counts is how far it is now.
MAX_BACKLOG_BYTES = 256 * 1024
# Read at once; about 15 ms of work.
_BATCH_BYTES = 64 * 1024
# Share of one core that reading may take while output floods in: the interpreter lock is shared with the relays.
_DUTY = 0.1
# How long the end of a run waits for a reporter that, against its contract, blocks.
FINISH_TIMEOUT_S = 2.0


class ReaderThread:
    """Reader and reporter of one run, in a thread of its own.

    `offer` and `post` return at once whatever the reporter does.

    Args:
        reporter: Receiver of what happens.
        mention: Says once on stderr that reporting went wrong.
    """

    def __init__(self, reporter: Reporter, mention: Callable[[str], None]) -> None:
        self._reporter = reporter
        self._mention = mention
        self._reader = OutputReader(time.monotonic)
        self._course = OverallProgress()
        self._wake = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._chunks: deque[tuple[bytes, Source]] = deque()
        self._backlog = 0
        self._lost: set[Source] = set()
        self._conclude: Callable[[str], None] | None = None
        self._thread = threading.Thread(target=self._run, name="tidings-listener", daemon=True)

    @property
    def backlog_bytes(self) -> int:
        """Output that waits to be read."""
        return self._backlog

    def start(self) -> None:
        """Start the thread; call it after the child is started."""
        self._thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """Have the reporter called in the thread."""
        with self._wake:
            self._calls.append(call)
            self._wake.notify()

    def offer(self, data: bytes, source: Source) -> None:
        """Give output to be read; the oldest is dropped where too much is waiting."""
        with self._wake:
            self._chunks.append((data, source))
            self._backlog += len(data)
            while self._backlog > MAX_BACKLOG_BYTES and len(self._chunks) > 1:
                dropped, dropped_source = self._chunks.popleft()
                self._backlog -= len(dropped)
                self._lost.add(dropped_source)
            self._wake.notify()

    def finish(self, conclude: Callable[[str], None]) -> None:
        """Read what is left, call `conclude` with the last lines of output, and wait a little for the thread's end."""
        with self._wake:
            self._conclude = conclude
            self._wake.notify()
        self._thread.join(FINISH_TIMEOUT_S)
        if self._thread.is_alive():
            self._mention("the end of this run may not have been reported: the reporter does not answer.")

    def _run(self) -> None:
        while not self._ended():
            for call in self._take_calls():
                guarded(call, self._mention)
            batch = self._take_batch()
            began = time.monotonic()
            if batch:
                guarded(lambda chunks=batch: self._read(chunks), self._mention)  # type: ignore[misc]
                self._rest(time.monotonic() - began)
            elif not self._await_something():
                guarded(self._settle, self._mention)
        guarded(self._read_rest, self._mention)
        tail = self._reader.tail()
        if self._conclude is not None:
            conclude = self._conclude
            guarded(lambda: conclude(tail), self._mention)

    def _ended(self) -> bool:
        with self._wake:
            return self._conclude is not None and not self._chunks and not self._calls

    def _take_calls(self) -> list[Callable[[], None]]:
        with self._wake:
            calls = list(self._calls)
            self._calls.clear()
            return calls

    def _take_batch(self) -> list[tuple[bytes, Source]]:
        with self._wake:
            for source in self._lost:
                self._reader.lose(source)
            self._lost.clear()
            batch: list[tuple[bytes, Source]] = []
            size = 0
            while self._chunks and size < _BATCH_BYTES:
                chunk = self._chunks.popleft()
                batch.append(chunk)
                size += len(chunk[0])
            self._backlog -= size
            return batch

    def _await_something(self) -> bool:
        """Wait for output or a call; return False if an unfinished line should be read meanwhile."""
        timeout = INTERVAL_S if self._reader.unsettled else None
        with self._wake:
            return self._wake.wait_for(lambda: self._chunks or self._calls or self._conclude is not None, timeout) != 0

    def _rest(self, worked_s: float) -> None:
        """Leave the processor to the relays for a time in proportion to the work done."""
        with self._wake:
            self._wake.wait_for(lambda: self._calls or self._conclude is not None, worked_s * (1 / _DUTY - 1))

    def _read(self, chunks: list[tuple[bytes, Source]]) -> None:
        for data, source in chunks:
            self._tell(self._reader.feed(data, source))

    def _settle(self) -> None:
        self._tell(self._reader.settle())

    def _read_rest(self) -> None:
        self._tell(self._reader.finish())

    def _tell(self, readings: list[CommandProgress]) -> None:
        for reading in readings:
            percent = self._course.percent_of(reading)
            self._reporter.progress(percent, reading.current_step, reading.total_steps, reading.message)
