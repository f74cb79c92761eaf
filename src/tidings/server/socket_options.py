"""What the operating system is told about a subscriber's TCP connection."""

import asyncio
import contextlib
import socket
from typing import Final

UNSENT_LOW_WATER: Final = 128 * 1024
"""Bytes that may wait unsent in the kernel. Without a bound megabytes do, and a 200 KB/s reader then reads what is
10.5 s old instead of 1.6 s."""

DEAD_PEER_S: Final = 60
"""Seconds after which a peer that acknowledges nothing is given up. The kernel counts a window that stays shut, too:
a reader that stands still for so long is cut off, and resumes by its position."""

KEEPALIVE_IDLE_S: Final = 30
"""Seconds of silence before the kernel probes."""

KEEPALIVE_INTERVAL_S: Final = 10
"""Seconds between probes."""


def _available_options() -> tuple[tuple[int, int, int], ...]:
    """List (level, option, value) of what this platform has; each is absent somewhere."""
    tcp = socket.IPPROTO_TCP
    named = [
        (tcp, "TCP_USER_TIMEOUT", DEAD_PEER_S * 1000),
        (tcp, "TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        (tcp, "TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
    ]
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        named.append((tcp, "TCP_NOTSENT_LOWAT", UNSENT_LOW_WATER))
    else:
        named.append((socket.SOL_SOCKET, "SO_SNDBUF", UNSENT_LOW_WATER))
    named.append((socket.SOL_SOCKET, "SO_KEEPALIVE", 1))
    return tuple((level, getattr(socket, name), value) for level, name, value in named if hasattr(socket, name))


_OPTIONS = _available_options()


def tune(transport: asyncio.BaseTransport) -> None:
    """Set the options on the transport's socket; does nothing for what is no TCP socket.

    TCP_NODELAY is not among them: asyncio and uvloop both set it on every TCP connection.
    """
    tcp_socket = transport.get_extra_info("socket")
    if tcp_socket is None or tcp_socket.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for level, option, value in _OPTIONS:
        # A kernel may know an option's number and still refuse it (containers, old kernels); the connection works.
        with contextlib.suppress(OSError):
            tcp_socket.setsockopt(level, option, value)
