"""Limits of a hub's process: memory that returns to the system, the garbage collector, and open files."""

import contextlib
import ctypes
import gc
import sys
from typing import Final

RESERVED_FILES: Final = 256
"""File descriptors beside those of connections: of the log, the event loop and libraries."""

_M_MMAP_THRESHOLD: Final = -3
_MMAP_THRESHOLD_BYTES: Final = 128 << 10

_SPARE_FILES: Final = 128
"""Those that TCP connections without a request may not take."""

_SPARE_CONNECTIONS: Final = 1_000
"""TCP connections of HTTP requests, beside WebSockets and event streams."""


def return_large_blocks() -> None:
    """Let blocks of 128 KiB and more return to the operating system as soon as they are released.

    glibc starts like this, but raises the threshold to 32 MiB as large blocks are released. The buffers of many large
    messages then leave holes in the heap: twice the memory at the peak, and all of it kept (`man 3 mallopt`, "dynamic
    mmap threshold"). Setting the threshold ends that. C libraries without `mallopt` are left alone.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES)


def reduce_garbage_collection() -> None:
    """Run Python's cycle collector ten times less often than by default.

    A hub creates many objects that live for a while (the ring holds tens of thousands) and hardly any cycle, so that
    the collector finds nothing: it took a quarter of the server's time when events came in batches.

    The second generation is collected after three of the first, not twenty: all that survived those is looked at in one
    turn of the loop, which took 150 ms. Each object is looked at as often as before.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(7_000, 2, 2_000)


def raise_file_limit(connections: int) -> int:
    """Raise the limit of open files for `connections`, and return the number of connections that it allows.

    A hub without free file descriptors does not accept connections; with a known limit it refuses them with a reason.
    """
    if sys.platform == "win32":
        return connections
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = connections + RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < files:
        raised = files if hard == resource.RLIM_INFINITY else min(files, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    if soft == resource.RLIM_INFINITY or soft >= files:
        return connections
    return max(1, soft - RESERVED_FILES)


def limit_tcp_connections(connections: int) -> int:
    """Return the number of TCP connections beside which the hub can still open its files."""
    limit = connections + _SPARE_CONNECTIONS
    if sys.platform == "win32":
        return limit
    import resource

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return limit if files == resource.RLIM_INFINITY else max(1, min(limit, files - _SPARE_FILES))
