"""Files that cannot grow, as on a full disk, by the kernel's limit on their size."""

import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WITHOUT_BYTECODE = {"PYTHONDONTWRITEBYTECODE": "1"}
"""For a process that is limited: CPython caches a module although only a part of its bytecode could be written, and
every later process fails on that file with `EOFError: marshal data too short`."""


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """Let writes beyond `size` bytes of a file fail in this process, and disable its writing of bytecode."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    caching, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        sys.dont_write_bytecode = caching
        signal.signal(signal.SIGXFSZ, handler)
