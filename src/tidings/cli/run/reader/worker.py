"""The thread that reads a command's output for progress, beside the path of the output itself."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from tidings.cli.run.reader.output import MIN_INTERVAL_S, CommandProgress, OutputReader, Source
from tidings.cli.run.reporter import Reporter, guarded
from tidings.redaction import redact_text


class OverallProgress:
    """Derives the percentage of the whole run from those of its steps; it never falls, and may be unknown.

    The percentage of the first step counts for the whole: most commands draw one bar. Once a second step begins whose
    total number is unknown, its percentage no longer counts. Numbered parts count from where they exceed the last
    reported percentage, even after an earlier bar, but not when they begin again. The same holds for the whole that
    a known program states.
    """

    def __init__(self) -> None:
        self._step = 0
        self._reported = 0.0
        self._counts = False
        self._numbered = False

    def percent_of(self, reading: CommandProgress) -> float | None:
        """Return the percentage of the whole, 0 to 100, or None if unknown; call it for each reading."""
        numbered = reading.total_steps > 0 or reading.whole
        if reading.step != self._step:
            self._counts = reading.step == 1 or (numbered and not self._numbered)
            self._step = reading.step
            self._numbered = self._numbered or numbered
        if reading.percent is None or not self._counts or reading.percent < self._reported:
            return None
        self._reported = reading.percent
        return self._reported


MAX_BACKLOG_BYTES = 256 * 1024
"""Output that waits for the reader. If a command prints faster, the reader skips the oldest output, and the screen
still shows it: only the present progress matters."""
_BATCH_BYTES = 64 * 1024
"""Output read at a time: about 15 ms of work."""
_MAX_DUTY = 0.1
"""Share of one core for reading while output floods in: the copiers share the interpreter lock."""
FINISH_TIMEOUT_S = 2.0
"""How long the end of a run waits for a reporter that blocks, which its contract forbids."""
_FINISH_TURNS: Final = 5
"""How often it waits that long while the reader reads on: a busy machine takes a while to read the backlog."""


class ReaderThread:
    """A thread that reads the output of one run and calls its reporter.

    `offer` and `post` never wait for the reporter.

    Args:
        reporter: Receiver of the run's events.
        mention: Writes a remark about a failure of reporting to stderr, once.
        redact: Applied to each text of the output that is reported.
        with_text: Whether texts of the output are reported; if not, only percentages and numbers of steps are.
        is_foreign: Called for each chunk; returns whether its progress is that of another operation.
    """

    def __init__(
        self,
        reporter: Reporter,
        mention: Callable[[str], None],
        *,
        redact: Callable[[str], str] = redact_text,
        with_text: bool = True,
        is_foreign: Callable[[], bool] = lambda: False,
    ) -> None:
        self._reporter = reporter
        self._mention = mention
        self._reader = OutputReader(time.monotonic, redact=redact)
        self._with_text = with_text
        self._overall = OverallProgress()
        self._wake = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._is_foreign = is_foreign
        self._chunks: deque[tuple[bytes, Source, bool]] = deque()
        self._backlog = 0
        self._lost: set[Source] = set()
        self._conclude: Callable[[str], None] | None = None
        self._thread = threading.Thread(target=self._run, name="tidings-reader", daemon=True)

    @property
    def backlog_bytes(self) -> int:
        """Bytes of output that wait for the reader."""
        return self._backlog

    def start(self) -> None:
        """Start the thread; call it after the child has started."""
        self._thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """Run `call`, which calls the reporter, in the thread."""
        with self._wake:
            self._calls.append(call)
            self._wake.notify()

    def offer(self, data: bytes, source: Source) -> None:
        """Queue output for reading; drop the oldest beyond MAX_BACKLOG_BYTES."""
        with self._wake:
            self._chunks.append((data, source, self._is_foreign()))
            self._backlog += len(data)
            while self._backlog > MAX_BACKLOG_BYTES and len(self._chunks) > 1:
                dropped, dropped_source, _ = self._chunks.popleft()
                self._backlog -= len(dropped)
                self._lost.add(dropped_source)
            self._wake.notify()

    def finish(self, conclude: Callable[[str], None]) -> None:
        """Read the rest, call `conclude` with the last lines of output, and wait for the thread."""
        with self._wake:
            self._conclude = conclude
            self._wake.notify()
        for _ in range(_FINISH_TURNS):
            backlog = self._backlog
            self._thread.join(FINISH_TIMEOUT_S)
            if not self._thread.is_alive():
                return
            if self._backlog == backlog:
                break
        self._mention("the end of this run may not have been reported: the reporter is blocked.")

    def _run(self) -> None:
        while not self._ended():
            for call in self._take_calls():
                guarded(call, self._mention)
            batch = self._take_batch()
            began = time.monotonic()
            if batch:
                guarded(lambda chunks=batch: self._read(chunks), self._mention)  # type: ignore[misc]
                self._rest(time.monotonic() - began)
            elif not self._wait_for_work():
                guarded(self._settle, self._mention)
        guarded(self._read_rest, self._mention)
        if self._conclude is not None:
            conclude = self._conclude
            guarded(lambda: conclude(self._reader.tail() if self._with_text else ""), self._mention)

    def _ended(self) -> bool:
        with self._wake:
            return self._conclude is not None and not self._chunks and not self._calls

    def _take_calls(self) -> list[Callable[[], None]]:
        with self._wake:
            calls = list(self._calls)
            self._calls.clear()
            return calls

    def _take_batch(self) -> list[tuple[bytes, Source, bool]]:
        with self._wake:
            for source in self._lost:
                self._reader.skip(source)
            self._lost.clear()
            batch: list[tuple[bytes, Source, bool]] = []
            size = 0
            while self._chunks and size < _BATCH_BYTES:
                chunk = self._chunks.popleft()
                batch.append(chunk)
                size += len(chunk[0])
            self._backlog -= size
            return batch

    def _wait_for_work(self) -> bool:
        """Wait for output or a call; return False if an unfinished line should be read first."""
        timeout = MIN_INTERVAL_S if self._reader.unsettled else None
        with self._wake:
            return self._wake.wait_for(lambda: self._chunks or self._calls or self._conclude is not None, timeout) != 0

    def _rest(self, worked_s: float) -> None:
        """Leave the processor to the copiers for a time proportional to the work done."""
        with self._wake:
            self._wake.wait_for(lambda: self._calls or self._conclude is not None, worked_s * (1 / _MAX_DUTY - 1))

    def _read(self, chunks: list[tuple[bytes, Source, bool]]) -> None:
        for data, source, foreign in chunks:
            self._report(self._reader.feed(data, source, foreign=foreign))

    def _settle(self) -> None:
        self._report(self._reader.settle())

    def _read_rest(self) -> None:
        self._report(self._reader.finish())

    def _report(self, readings: list[CommandProgress]) -> None:
        for reading in readings:
            percent = self._overall.percent_of(reading)
            step, message = (reading.current_step, reading.message) if self._with_text else ("", "")
            self._reporter.progress(percent, step, reading.total_steps, message)
