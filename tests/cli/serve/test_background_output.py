import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from tests.cli.fork_server import TIDINGS, open_process
from tests.cli.hub_log import until
from tests.cli.processes import TIMEOUT_S, environment

from tidings.cli.serve.background_output import MAX_WAITING_BYTES, BackgroundOutput


@pytest.fixture
def full_pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe that takes no byte more."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for size in (4_096, 1):
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"." * size)
    os.set_blocking(writer, True)
    os.set_blocking(reader, False)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def read_all(reader: int) -> bytes:
    """Return what is in the pipe now."""
    try:
        return os.read(reader, 1 << 20)
    except BlockingIOError:
        return b""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_full_output_holds_up_neither_a_hub_nor_its_end(
    full_pipe: tuple[int, int], workers: str, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--data", str(tmp_path), "--workers", workers, "--log-level", "debug"]
    output = full_pipe[1]
    with open_process([*TIDINGS, "serve", *options], env=environment(), stdout=output, stderr=output) as hub:
        try:

            def is_ready() -> bool:
                with suppress(httpx.TransportError):  # it does not listen yet
                    return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=TIMEOUT_S).is_success
                return False

            until(is_ready)
            hub.send_signal(signal.SIGTERM)
            assert hub.wait(timeout=TIMEOUT_S) == 0
        finally:
            hub.kill()


def test_lines_beyond_the_bound_are_dropped_and_counted(full_pipe: tuple[int, int]) -> None:
    reader, writer = full_pipe
    dropped: list[int] = []
    reported = threading.Event()

    def report(lines: int) -> None:
        dropped.append(lines)
        reported.set()

    with open(writer, "w", closefd=False) as stream:
        output = BackgroundOutput(stream, report)
    line = f"{'x' * 1_023}\n"
    for _ in range(2 * MAX_WAITING_BYTES // len(line)):
        output.write(line)
    assert not dropped
    while not reported.wait(0.001):
        read_all(reader)
    assert dropped == [MAX_WAITING_BYTES // len(line)]
