"""One worker as its parent sees it: it stays while its processes come and go."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Sequence

import structlog

from tidings.server.workers.messages import ToWorker, write

MIN_BACKOFF_S = 0.1
"""Shortest delay before a process is started again."""

log = structlog.get_logger("tidings.serve")


class SupervisedWorker:
    """A number and its sockets, which stay, and the process that runs at the moment.

    Args:
        number: The number, from 1.
        listeners: The sockets that its processes accept from.
        admin: Those of the admin listener.
    """

    def __init__(self, number: int, listeners: Sequence[socket.socket], admin: Sequence[socket.socket]) -> None:
        self.number = number
        self.listeners = listeners
        self.admin = admin
        self.process: asyncio.subprocess.Process | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.listening = asyncio.Event()
        self.ready = asyncio.Event()
        self.seen = 0.0
        """Monotonic time of its last sign of life."""
        self.backoff_s = MIN_BACKOFF_S
        self.was_ready = False
        self.has_started = False
        """Whether the process that runs, or has run last, was ready."""
        self.must_reload = False
        """Whether files were to be read again while the process did not handle the signal for it yet."""

    def send(self, message: ToWorker) -> None:
        """Send a message, unless no process could receive it."""
        write(self.writer, message)

    def withdraw(self) -> None:
        """Let the kernel give new connections to the other workers, until a process of this one listens again.

        Those that wait for this worker are reset; otherwise they would wait for as long as it cannot start.
        """
        self.listeners = [_reopen(each) for each in self.listeners]
        self.admin = [_reopen(each) for each in self.admin]

    def signal(self, number: int) -> None:
        """Send a signal to the process, if there is one."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)


def _reopen(listener: socket.socket) -> socket.socket:
    """Return a socket with the address of `listener` that does not listen yet; `listener` itself if it is shared."""
    if sys.platform != "linux" or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT):
        return listener
    opened = socket.socket(listener.family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if listener.family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(listener.getsockname())
        opened.setblocking(False)
    except OSError as error:  # such as too many open files: clients wait
        opened.close()
        log.error("a socket cannot be opened again", error=str(error))
        return listener
    listener.close()
    return opened
