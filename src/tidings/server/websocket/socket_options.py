"""The sockets of the hub's TCP connections: their options, and the descriptor for writes past the transport."""

import asyncio
import contextlib
import socket
from typing import Final

MAX_UNSENT_BYTES: Final = 128 * 1024
"""Unsent bytes that the kernel may buffer. Without a bound it buffers megabytes, and a 200 KB/s reader then reads
events that are 10.5 s old instead of 1.6 s."""

DEFAULT_PEER_TIMEOUT_S: Final = 60
"""Seconds after which the connection to a peer that acknowledges nothing is closed. The kernel also counts a window
that stays closed: a reader that does not read for that time is disconnected, and resumes from its position."""

_MIN_PEER_TIMEOUT_S: Final = 10
"""Lower bound of a peer timeout in seconds: a network may be down for less."""

KEEPALIVE_IDLE_S: Final = 30
"""Seconds of silence before the kernel sends a probe."""

KEEPALIVE_INTERVAL_S: Final = 10
"""Seconds between probes."""


def _available_options() -> tuple[tuple[int, int, int], ...]:
    """Return (level, option, value) of the options that this platform has; each one is missing on some platform."""
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
    """Let the kernel probe the peer, and close the connection if it acknowledges nothing for `within_s` seconds, 10–60.

    For a producer with a lease: without this, a machine that loses its power is noticed a minute after the lease.
    """
    tcp_socket = transport.get_extra_info("socket")
    if tcp_socket is None or tcp_socket.family not in (socket.AF_INET, socket.AF_INET6):
        return
    within = min(DEFAULT_PEER_TIMEOUT_S, max(_MIN_PEER_TIMEOUT_S, int(within_s)))
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
    """Set the options on the transport's socket; does nothing if that is not a TCP socket.

    TCP_NODELAY is not among them: asyncio and uvloop both set it on every TCP connection.
    """
    tcp_socket = transport.get_extra_info("socket")
    if tcp_socket is None or tcp_socket.family not in (socket.AF_INET, socket.AF_INET6):
        return
    for level, option, value in _OPTIONS:
        # A kernel may refuse an option that it has (containers, old kernels); the connection works without it.
        with contextlib.suppress(OSError):
            tcp_socket.setsockopt(level, option, value)


def share_socket(transport: asyncio.Transport) -> socket.socket | None:
    """Return a second object for the transport's descriptor, to be detached before the transport closes it.

    None where a write may not have reached the kernel when it returns: with TLS, or an event loop that completes
    writes later.
    """
    shared = transport.get_extra_info("socket")
    if shared is None or transport.get_extra_info("sslcontext") is not None:
        return None
    loop = asyncio.get_running_loop()
    if not (isinstance(loop, asyncio.SelectorEventLoop) or type(loop).__module__.startswith("uvloop")):
        return None
    return socket.socket(shared.family, shared.type, shared.proto, fileno=shared.fileno())
