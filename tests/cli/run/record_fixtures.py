"""Records what real programs print, with timing, into fixtures/: run `python -m tests.cli.run.record_fixtures`.

Needs rsync on the PATH; the rest comes with the test group. Each program is recorded on a terminal of 80 columns
(`<name>.pty.jsonl`) and through pipes (`<name>.pipe.jsonl`). A line of a recording is one read:
`{"at": seconds, "source": "stdout" or "stderr", "data": bytes as Latin-1}`.
"""

import fcntl
import functools
import http.server
import io
import json
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures"
PROGRAMS = HERE / "programs"
ROWS, COLUMNS = 24, 80

Chunk = tuple[float, str, bytes]


def environment(folder: Path) -> dict[str, str]:
    """Return what the programs need and nothing that would show where they were recorded."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
    }


def read_all(process: "subprocess.Popen[bytes]", sources: dict[int, str]) -> Iterator[Chunk]:
    began = time.monotonic()
    while sources:
        ready, _, _ = select.select(list(sources), [], [])
        for file in ready:
            try:
                data = os.read(file, 65536)
            except OSError:
                data = b""  # Linux tells the end of a terminal this way
            if data:
                yield time.monotonic() - began, sources[file], data
            else:
                del sources[file]
    process.wait()


def record_on_terminal(command: list[str], folder: Path) -> list[Chunk]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment(folder), start_new_session=True
    )
    os.close(theirs)
    try:
        return list(read_all(process, {ours: "stdout"}))
    finally:
        os.close(ours)


def record_through_pipes(command: list[str], folder: Path) -> list[Chunk]:
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(folder),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        return list(read_all(process, {process.stdout.fileno(): "stdout", process.stderr.fileno(): "stderr"}))


def write(name: str, chunks: list[Chunk], folder: Path) -> None:
    redactions = [(str(folder).encode(), b"/tmp/demo"), (sys.prefix.encode(), b"/opt/python")]
    with (FIXTURES / f"{name}.jsonl").open("w", encoding="ascii") as file:
        for at, source, data in chunks:
            for private, public in redactions:
                data = data.replace(private, public)
            line = {"at": round(at, 3), "source": source, "data": data.decode("latin-1")}
            file.write(json.dumps(line) + "\n")


def record(name: str, command: list[str], prepare: Callable[[Path], None] = lambda _: None) -> None:
    for suffix, recorder in (("pty", record_on_terminal), ("pipe", record_through_pipes)):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            prepare(folder)
            write(f"{name}.{suffix}", recorder(command, folder), folder)


def pytest_project(folder: Path) -> None:
    """Write 24 tests in four files, one of which fails."""
    for letter in "abcd":
        body = "import time\n"
        for number in range(6):
            check = "assert 95 == 100, 'coverage is 95%, not 100%'" if (letter, number) == ("c", 2) else "pass"
            body += f"\ndef test_{letter}{number}():\n    time.sleep(0.02)\n    {check}\n"
        (folder / f"test_{letter}.py").write_text(body)


def rsync_tree(folder: Path) -> None:
    """Write two files that take a second each at the limited rate, and two that are over at once."""
    source = folder / "source"
    source.mkdir()
    for name, size in (("dump.sql", 3_000_000), ("images.tar", 2_500_000), ("notes.txt", 40), ("readme.md", 300)):
        (source / name).write_bytes(os.urandom(size))


def wheel(name: str, size: int) -> bytes:
    """Return a wheel of about `size` bytes with nothing in it but noise."""
    body = io.BytesIO()
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr(f"{name}/noise.bin", os.urandom(size))
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: demo\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return body.getvalue()


class SlowFiles(http.server.SimpleHTTPRequestHandler):
    """Server of files at about 3 MB/s, so that pip has something to show."""

    def copyfile(self, source: object, outputfile: object) -> None:
        assert hasattr(source, "read")
        assert hasattr(outputfile, "write")
        while data := source.read(64 * 1024):
            outputfile.write(data)
            time.sleep(0.02)

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def package_index() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        for name, size in (("alpha", 3_000_000), ("beta", 40_000), ("gamma", 2_400_000)):
            Path(folder, f"{name}-1.0-py3-none-any.whl").write_bytes(wheel(name, size))
        handler = functools.partial(SlowFiles, directory=folder)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}/"
            finally:
                server.shutdown()
                thread.join()


def main() -> None:
    """Record every fixture anew."""
    FIXTURES.mkdir(exist_ok=True)
    for program in sorted(PROGRAMS.glob("*.py")):
        record(program.stem, [sys.executable, str(program)])
    record("pytest", [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider"], pytest_project)
    rsync = shutil.which("rsync")
    if rsync is None:
        sys.exit("rsync is needed: install it with the system's package manager")
    limited = [rsync, "-a", "--bwlimit=1500", "--no-inc-recursive", "source/", "target/"]
    record("rsync_progress2", [*limited, "--info=progress2"], rsync_tree)
    record("rsync_progress", [*limited, "--progress"], rsync_tree)
    with package_index() as links:
        pip = [sys.executable, "-m", "pip", "install", "--no-cache-dir", "--no-index", "--find-links", links]
        record("pip", [*pip, "--target", "target", "alpha", "beta", "gamma"])


if __name__ == "__main__":
    main()
