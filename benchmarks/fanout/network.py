"""A network namespace of our own, so that other programs' traffic and settings are not measured."""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000  # linux/sched.h
CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS = 0x8913  # linux/sockios.h
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFREQ_SIZE = 40
CONGESTION_CONTROL = Path("/proc/sys/net/ipv4/tcp_congestion_control")
EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _unshare_as_user() -> None:
    """Become root of a user namespace that owns the network namespace: no privilege is needed."""
    user, group = os.getuid(), os.getgid()
    _unshare(CLONE_NEWUSER | CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh", b"lo", 0).ljust(IFREQ_SIZE, b"\0")
        answer = fcntl.ioctl(control, SIOCGIFFLAGS, request)
        (flags,) = struct.unpack_from("h", answer, 16)
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP).ljust(IFREQ_SIZE, b"\0"))


def _congestion_control() -> str:
    try:
        return CONGESTION_CONTROL.read_text().strip()
    except OSError:
        return "unknown congestion control"


def enter_private_network() -> str:
    """Move this process into a new network namespace with TCP `reno`, where it may.

    With `bbr` the kernel paces: it moves send work out of the sender's account, and a server's
    CPU seconds no longer say what it costs. Children inherit the namespace; it ends with them.

    Returns:
        A sentence for the report that says which network is measured.
    """
    if sys.platform != "linux":
        return "the host's own network"
    try:
        if os.geteuid() == 0:
            _unshare(CLONE_NEWNET)
        else:
            _unshare_as_user()
    except OSError as error:
        return f"the host's own network, TCP {_congestion_control()} (no namespace: {error.strerror})"
    _raise_loopback()
    try:
        CONGESTION_CONTROL.write_text("reno")
        EPHEMERAL_PORTS.write_text("10000 65000")
    except OSError as error:
        return f"a private namespace, TCP {_congestion_control()} (reno not set: {error.strerror})"
    return f"a private namespace, TCP {_congestion_control()}"
