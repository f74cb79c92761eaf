"""Sockets that listen, and errors that say why none does."""

import errno
import os
import socket
from collections.abc import Sequence

from tidings.exceptions import AddressInUse, AddressUnavailable

_ATTEMPTS_FOR_ONE_PORT = 8
_BACKLOG = 2048  # connections the kernel completes before they are accepted; 5,000 clients may come back at once
_DOORS = 16
"""Connections let in by one tick of a loop that accepts once a descriptor: 1 ms of work, and 300 a second even while
live delivery takes 50 ms a tick. Whoever connects to an idle hub costs as many system calls in vain."""

_IN_USE_HINT = (
    "Another program, perhaps another tidings, listens there: stop it, or choose another port with --port "
    "(--port 0 picks a free one)."
)
_HINTS = {
    errno.EACCES: "Ports below 1024 need a privilege; choose a higher one with --port.",
    errno.EADDRNOTAVAIL: "No interface of this machine has that address; --host 127.0.0.1 is this machine alone, "
    "--host 0.0.0.0 every interface.",
}
_NO_NAME_HINT = "Check the spelling of --host; an IP address needs no name service."
_PORT_RANGE_HINT = "A port is a number from 0 to 65535; 0 picks a free one."


def listen(host: str, port: int) -> list[socket.socket]:
    """Open a listening socket on every address of a host, all on one port.

    Args:
        host: An IP address or a name; "" stands for every interface.
        port: 0 picks a free one.

    Raises:
        AddressInUse: If another process listens there.
        AddressUnavailable: If the host has no address here, or the port may not be used.
    """
    if not 0 <= port <= 0xFFFF:
        raise AddressUnavailable(f"{port} is no port", host=host, port=port, hint=_PORT_RANGE_HINT)
    addresses = _resolve(host, port)
    for attempt in range(_ATTEMPTS_FOR_ONE_PORT):
        try:
            return _listen_on_all(addresses, port)
        except OSError as error:
            # A port that was free on the first address can be taken on the second.
            picked_badly = port == 0 and error.errno == errno.EADDRINUSE and len(addresses) > 1
            if picked_badly and attempt < _ATTEMPTS_FOR_ONE_PORT - 1:
                continue
            raise _explain(error, host, port) from error
    raise AssertionError("the last attempt returns or raises")


def open_doors(sockets: Sequence[socket.socket]) -> list[socket.socket]:
    """Return further descriptors of listening sockets, for a loop that accepts once a descriptor and tick.

    uvloop's does (https://github.com/libuv/libuv/pull/3696). With one descriptor, a hub whose ticks take 50 ms
    would let in 20 clients a second, and of thousands who come at once most would wait until the kernel gives them up.
    """
    return [opened.dup() for opened in sockets for _ in range(_DOORS - 1)]


def _resolve(host: str, port: int) -> Sequence[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "not a host name"
        message = f"cannot listen on {host!r}: {reason}"
        raise AddressUnavailable(message, host=host, port=port, hint=_NO_NAME_HINT) from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _listen_on_all(addresses: Sequence[tuple[socket.AddressFamily, str]], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in addresses:
            try:
                sockets.append(_listen_on(family, address, port))
            except OSError as error:
                # `localhost` is often ::1 too, on machines whose kernel has no IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error
                continue
            port = sockets[-1].getsockname()[1]
        if not sockets and absent is not None:
            raise absent
    except BaseException:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def _listen_on(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # Lets a restart bind while connections of the last run are in TIME_WAIT. Windows means theft by it.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((address, port))
        opened.listen(_BACKLOG)
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened


def _explain(error: OSError, host: str, port: int) -> AddressInUse | AddressUnavailable:
    where = f"{host or '*'} port {port}"
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(f"cannot listen on {where}: {reason}", host=host, port=port, hint=_IN_USE_HINT)
    hint = _HINTS.get(error.errno or 0, "")
    return AddressUnavailable(f"cannot listen on {where}: {reason}", host=host, port=port, hint=hint)
