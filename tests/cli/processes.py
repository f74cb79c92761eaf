"""`tidings` as real processes, in pipes or on a terminal of their own."""

import contextlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from fcntl import ioctl
from pathlib import Path
from typing import IO, Self

import msgspec
from tests.cli.fork_server import TIDINGS as TIDINGS
from tests.cli.fork_server import open_process, take_terminal

from tidings.client.http import HTTPClient

TIMEOUT_S = 150.0
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07]*\x07")


def environment(**variables: str) -> dict[str, str]:
    """Return an environment in which nothing of the developer's own changes what is seen."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TIDINGS_", "COV_"))}
    # The spool falls back to the temporary folder, which the developer's own jobs use as well.
    kept["TMPDIR"] = os.environ["XDG_STATE_HOME"]
    return {**kept, "COLUMNS": "100", "LINES": "24", "TERM": "xterm-256color", "NO_COLOR": "1", **variables}


def limited_by_permissions() -> list[str]:
    """Return a prefix for a command that permissions of files apply to, also where root runs the tests."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return []
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def tidings(
    *arguments: str, stdin: str | bytes = b"", wrapper: Sequence[str] = (), **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command of ours to its end."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with open_process([*wrapper, *TIDINGS, *arguments], env=environment(**variables), **pipes) as process:
        try:
            stdout, stderr = process.communicate(stdin if isinstance(stdin, bytes) else stdin.encode(), TIMEOUT_S)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, stdout.decode(), stderr.decode())


class Process:
    """A command of ours that goes on until it is told to stop; its stdout is a pipe."""

    def __init__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        stdin: int | IO[bytes] = subprocess.PIPE,
        program: Sequence[str] = TIDINGS,
    ) -> None:
        self.process = open_process(
            [*wrapper, *program, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(**(env or {})),
        )

        self._read = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=TIMEOUT_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):  # what stdin still held
                    stream.close()

    def read_line(self) -> str:
        """Return the next line of stdout; "" at its end."""
        assert self.process.stdout is not None
        while b"\n" not in self._read:
            ready, _, _ = select.select([self.process.stdout], [], [], TIMEOUT_S)
            assert ready, f"no line came; {self._read!r} did"
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                break
            self._read += data
        line, end, self._read = self._read.partition(b"\n")
        return (line + end).decode()

    def read_until(self, text: str) -> list[str]:
        """Return the lines of stdout up to the one that holds `text`."""
        lines: list[str] = []
        while not lines or text not in lines[-1]:
            line = self.read_line()
            assert line, f"stdout ended without {text!r}: {lines}"
            lines.append(line)
        return lines

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self) -> tuple[int, str, str]:
        """Wait for the end, and return the exit code and the rest of stdout and stderr."""
        stdout, stderr = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode, (self._read + stdout).decode(), stderr.decode()


class Hub(Process):
    """A hub on a free port, keeping no file unless told otherwise."""

    def __init__(
        self,
        *options: str,
        memory: bool = True,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        chosen = ("--memory",) if memory else ()
        super().__init__("serve", "--port", "0", *chosen, *options, env=env, wrapper=wrapper)

    def __enter__(self) -> Self:
        try:
            self.ready = self.read_line()
            if not self.ready:
                raise RuntimeError(f"the hub did not start: {self.wait()[2]}")
        except BaseException:
            self.__exit__()
            raise
        self.url, self.http = self.ready.split()
        return self

    @property
    def port(self) -> int:
        return int(self.url.split("/")[2].rpartition(":")[2])

    def stop(self) -> tuple[int, str, str]:
        """Stop it as a service manager does, and return what `wait` does."""
        self.signal(signal.SIGTERM)
        return self.wait()


def publish_operation(hub: Hub, verb: str, id: str, **data: object) -> None:
    """Publish an event of an operation over HTTP, such as `operation:start` for the verb `start`."""
    envelope = {"type": f"operation:{verb}", "data": {"operation_id": id, **data}}
    with HTTPClient(hub.url) as client:
        client.publish(msgspec.json.encode(envelope))


class Terminal:
    """A command of ours on a pseudo-terminal."""

    def __init__(
        self, *arguments: str, columns: int = 100, lines: int = 24, env: Mapping[str, str] | None = None
    ) -> None:
        self._master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        variables = environment(**(env or {}))
        for name in ("COLUMNS", "LINES"):  # the terminal itself says how large it is
            del variables[name]
        self.process = open_process(
            [*TIDINGS, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=variables,
            start_new_session=True,
            preexec_fn=take_terminal,
        )
        os.close(slave)
        self.raw = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=TIMEOUT_S)
        os.close(self._master)

    @property
    def shown(self) -> str:
        """All that was written so far, without escape sequences."""
        return _ESCAPES.sub("", self.raw)

    def wait_for(self, text: str, *, after: int = 0) -> str:
        """Read until `text` appears after this many characters, and return all output."""
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self.shown[after:]:
            assert time.monotonic() < deadline, f"{text!r} was not shown: {self.shown!r}"
            assert self._read(), f"the end came before {text!r}: {self.shown!r}"
        return self.shown

    def hang_up(self) -> None:
        """Close the terminal, as its window does: its programs get SIGHUP, and their writes fail."""
        os.dup2(os.open(os.devnull, os.O_RDWR), self._master)

    def press(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def resize(self, columns: int, lines: int) -> None:
        ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def wait(self) -> int:
        """Read to the end, and return the exit code."""
        while self._read():
            continue
        return self.process.wait(timeout=TIMEOUT_S)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], TIMEOUT_S)
        assert ready, f"nothing came: {self.shown!r}"
        with contextlib.suppress(OSError):  # Linux tells the end of a terminal so
            data = os.read(self._master, 65536)
            self.raw += data.decode(errors="replace")
            return bool(data)
        return False


@contextlib.contextmanager
def without_modules(folder: Path, *names: str) -> Iterator[dict[str, str]]:
    """Return variables under which a Python process finds none of `names`, as if they were not installed."""
    blocker = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {set(names)!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    (folder / "sitecustomize.py").write_text(blocker)
    yield {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])}
