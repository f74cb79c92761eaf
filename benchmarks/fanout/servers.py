"""Starting and stopping the servers under test, each as a process of its own."""

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 120.0  # a hub that opens a log of a million rows may check it first
STOP_TIMEOUT_S = 20.0
ADDRESS = re.compile(r"(?:ws|http)s?://(?P<host>[\d.]+):(?P<port>\d+)")


class ServerError(Exception):
    """A server that did not start; the message holds what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server under test."""

    pid: int
    host: str
    port: int


def _read_address(process: subprocess.Popen[bytes], log: Path) -> tuple[str, int]:
    """Wait for the line that a server prints when it is ready.

    Raises:
        ServerError: it ended, or printed no address in time.
    """
    assert process.stdout is not None
    deadline = time.monotonic() + START_TIMEOUT_S
    said = b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([process.stdout], [], [], left)[0]:
            break
        chunk = os.read(process.stdout.fileno(), 4096)
        said += chunk
        if b"\n" in said and (found := ADDRESS.search(said.decode(errors="replace"))):
            return found["host"], int(found["port"])
        if not chunk:
            break
    errors = log.read_text(errors="replace")[-2000:]
    raise ServerError(f"{process.args!r} printed no address.\nstdout: {said!r}\nstderr: {errors}")


@contextmanager
def running_server(
    command: Sequence[str], *, core: int | None, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a server pinned to a core (None leaves it free) for the length of a `with` block.

    Args:
        command: the program and its arguments; it prints its address on stdout when ready.
        core: the only core it may use.
        log: the file that takes its stderr.
        environment: variables added to ours.

    Raises:
        ServerError: it did not become ready.
    """

    def pin() -> None:
        if core is not None:
            os.sched_setaffinity(0, {core})

    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            preexec_fn=pin,  # this program has one thread, so forking with Python code in between is safe
            env={**os.environ, **(environment or {})},
        )
    try:
        host, port = _read_address(process, log)
        yield Server(pid=process.pid, host=host, port=port)
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def hub_command(data: Path, extra: Sequence[str] = ()) -> list[str]:
    """Return the command that serves a data folder with the hub of this environment."""
    return [str(Path(sys.executable).with_name("tidings")), "serve", "--port", "0", "--data", str(data), *extra]
