import threading
from typing import Any

import pytest

from tidings.cli.run.reader.output import Source
from tidings.cli.run.reader.worker import MAX_BACKLOG_BYTES, ReaderThread

TIMEOUT_S = 60.0


class RecordingReporter:
    """A reporter that keeps what it is told, and can be held up or made to fail."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.changed = threading.Condition()
        self.free = threading.Event()
        self.free.set()
        self.error: Exception | None = None

    def _note(self, *call: Any) -> None:
        with self.changed:
            self.calls.append(call)
            self.changed.notify_all()
        assert self.free.wait(TIMEOUT_S)
        if self.error is not None:
            raise self.error

    def wait_for(self, *call: Any) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: call in self.calls, TIMEOUT_S), self.calls

    def started(self, name: str, host: str, pid: int, command: str, user: str, total_steps: int | None = None) -> None:
        self._note("started", name)

    def progress(self, percent: float | None, current_step: str, total_steps: int, message: str) -> None:
        self._note("progress", percent, current_step, total_steps, message)

    def completed(self, duration_ms: int) -> None:
        self._note("completed", duration_ms)

    def failed(self, code: str, message: str, details: str, hint: str) -> None:
        self._note("failed", details)

    def cancelled(self, reason: str, cancelled_by: str = "") -> None:
        self._note("cancelled", reason)


@pytest.fixture
def reporter() -> RecordingReporter:
    return RecordingReporter()


@pytest.fixture
def mentions() -> list[str]:
    return []


@pytest.fixture
def listener(reporter: RecordingReporter, mentions: list[str]) -> ReaderThread:
    started = ReaderThread(reporter, mentions.append)
    started.start()
    return started


def test_calls_arrive_in_order(listener: ReaderThread, reporter: RecordingReporter) -> None:
    listener.post(lambda: reporter.started("a", "h", 1, "a", "u"))
    listener.offer(b"Epoch 2/4\n", Source.STDOUT)
    listener.finish(lambda tail: reporter.failed("c", "m", tail, "h"))
    assert reporter.calls == [
        ("started", "a"),
        ("progress", 25.0, "Epoch 2/4", 4, "Epoch 2/4"),
        ("failed", "Epoch 2/4"),
    ]


def test_unfinished_line_is_reported_during_a_pause(listener: ReaderThread, reporter: RecordingReporter) -> None:
    listener.offer(b"\rwork:  10%|#         | 1/10", Source.STDERR)
    reporter.wait_for("progress", 10.0, "work", 0, "work: 10% 1/10")
    listener.finish(lambda _: reporter.completed(1))


def test_reporter_error_is_mentioned_and_the_end_still_reported(
    listener: ReaderThread, reporter: RecordingReporter, mentions: list[str]
) -> None:
    reporter.error = ConnectionRefusedError("nobody there")
    listener.post(lambda: reporter.started("a", "h", 1, "a", "u"))
    listener.offer(b"a line\n", Source.STDOUT)
    listener.finish(lambda _: reporter.completed(1))
    assert reporter.calls[-1] == ("completed", 1)
    assert all("nobody there" in mention for mention in mentions)
    assert mentions


def test_blocked_reporter_neither_delays_nor_grows_the_backlog(
    listener: ReaderThread, reporter: RecordingReporter
) -> None:
    reporter.free.clear()
    listener.post(lambda: reporter.started("a", "h", 1, "a", "u"))
    reporter.wait_for("started", "a")
    line = b"x" * 999 + b"\n"
    for _ in range(10 * MAX_BACKLOG_BYTES // len(line)):
        listener.offer(line, Source.STDOUT)
    listener.offer(b"the last line\n", Source.STDOUT)
    assert listener.backlog_bytes <= MAX_BACKLOG_BYTES
    reporter.free.set()
    listener.finish(lambda tail: reporter.failed("c", "m", tail, "h"))
    assert reporter.calls[-1][1].splitlines()[-1] == "the last line"


def test_reporter_that_never_returns_is_abandoned_and_mentioned(
    listener: ReaderThread, reporter: RecordingReporter, mentions: list[str]
) -> None:
    reporter.free.clear()
    listener.post(lambda: reporter.started("a", "h", 1, "a", "u"))
    reporter.wait_for("started", "a")
    listener.finish(lambda _: reporter.completed(1))
    assert len(mentions) == 1
    reporter.free.set()
    reporter.wait_for("completed", 1)
