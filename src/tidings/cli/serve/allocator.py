"""The C library's allocator, set for a process that runs for months and receives large messages from strangers."""

import ctypes
import sys
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
_MMAP_THRESHOLD_BYTES: Final = 128 << 10


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
