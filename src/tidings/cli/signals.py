"""Ctrl-C and SIGTERM as a request to end in order."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Yield an event that the first Ctrl-C or SIGTERM sets; a second one has its usual effect. Main thread only."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    before: dict[int, Any] = {}

    def request_stop(number: int, frame: FrameType | None) -> None:
        restore()
        loop.call_soon_threadsafe(stop.set)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in _SIGNALS:
        before[number] = signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        restore()
