"""Copies the output that outlives a command: as a program, it copies stdin to stdout until no process holds it open.

`tidings run` ends with its command, but a process that the command started may keep the pipe or the terminal open and
write to it later. `hand_over` starts this file for it, in a session of its own, as a program of the standard library
only: it starts in a few milliseconds and holds nothing else of ours.
"""

import errno
import os
import select
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

CHUNK_BYTES = 64 * 1024
"""Bytes read at a time: the capacity of a pipe on Linux."""


def hand_over(source: int, target: int, kept: Collection[int] = ()) -> None:
    """Start a process that copies `source` to `target` until its end and holds `kept`; do not wait for it.

    Raises:
        OSError: It cannot be started.
    """
    drain = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(__file__).resolve())],
        stdin=source,
        stdout=target,
        stderr=subprocess.DEVNULL,
        cwd="/",
        pass_fds=kept,
        start_new_session=True,
    )
    # It outlives us by design, which is not worth the warning about a process that was not waited for.
    drain.returncode = 0


def read_some(file: int, size: int = CHUNK_BYTES) -> bytes:
    """Wait for bytes and return them; none at the end, also of a terminal and of a non-blocking descriptor."""
    while True:
        try:
            return os.read(file, size)
        except BlockingIOError:
            select.select([file], [], [])
        except OSError as error:
            # Linux reports EIO once the last process has closed a terminal.
            if error.errno == errno.EIO:
                return b""
            raise


def write_all(file: int, data: bytes) -> None:
    """Write all bytes to a descriptor, even if a process that shares it has made it non-blocking.

    Raises:
        OSError: The descriptor is closed, or its device failed.
    """
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(file, view) :]
        except BlockingIOError:
            select.select([], [file], [])


def main() -> None:
    """Copy stdin to stdout; end if either fails, which closes the pipe as the end of its reader would."""
    try:
        while data := read_some(0):
            write_all(1, data)
    except OSError:
        return


if __name__ == "__main__":
    main()
