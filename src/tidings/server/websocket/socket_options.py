"""What the operating system is told about a subscriber's TCP connection."""

import asyncio
import contextlib
import socket
from typing import Final

MAX_UNSENT_BYTES: Final = 128 * 1024
"""Bytes that may wait unsent in the kernel. Without a bound megabytes do, and a 200 KB/s reader then reads what is
10.5 s old instead of 1.6 s."""

DEFAULT_PEER_TIMEOUT_S: Final = 60
"""Seconds after which a peer that acknowledges nothing is given up. The kernel counts a window that stays shut, too:
a reader that stands still for so long is cut off, and resumes by its position."""

_SOONEST_S: Final = 10
"""Seconds: a network that is gone for less is no death."""

KEEPALIVE_IDLE_S: Final = 30
"""Seconds of silence before the kernel probes."""

KEEPALIVE_INTERVAL_S: Final = 10
"""Seconds between probes."""


def _available_options() -> tuple[tuple[int, int, int], ...]:
    """List (level, option, value) of what this platform has; each is absent somewhere."""
    tcp = socket.IPPROTO_TCP
    named = [
        (tcp, "TCP_USER_TIMEOUT", DEFAULT_PEER_TIMEOUT_S * 1000),
        (tcp, "TCP_KEEPIDLE", KEEPALIVE_IDLE_S),
        (tcp, "TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S),
    ]
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        named.append((tcp, "TCP_NOTSENT_LOWAT", MAX_UNSENT_BYTES))
    else:
        named.append((socket.SOL_SOCKET, "SO_SNDBUF", MAX_UNSENT_BYTES))
    named.append((socket.SOL_SOCKET, "SO_KEEPALIVE", 1))
    return tuple((level, getattr(socket, name), value) for level, name, value in named if hasattr(socket, name))


_OPTIONS = _available_options()


def set_peer_timeout(transport: asyncio.BaseTransport, within_s: float) -> None:
    """Have the kernel give up a peer that acknowledges nothing for `within_s` seconds, 10–60, probing it meanwhile.

    For a producer with a lease: without this, a machine that lost its power would be missed a minute after its lease.
    """
    tcp_socket = transport.get_extra_info("socket")
    if tcp_socket is None or tcp_socket.family not in (socket.AF_INET, socket.AF_INET6):
        return
    within = min(DEFAULT_PEER_TIMEOUT_S, max(_SOONEST_S, int(within_s)))
    tcp = socket.IPPROTO_TCP
    for name, value in (
        ("TCP_USER_TIMEOUT", within * 1000),
        ("TCP_KEEPIDLE", min(KEEPALIVE_IDLE_S, within // 2)),
        ("TCP_KEEPINTVL", min(KEEPALIVE_INTERVAL_S, within // 4)),
    ):
        if hasattr(socket, name):
            with contextlib.suppress(OSError):
                tcp_socket.setsockopt(tcp, getattr(socket, name), value)


def apply_socket_options(transport: asyncio.BaseTransport) -> None:
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
