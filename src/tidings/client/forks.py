"""Keeping connections out of forked children.

A child inherits every socket of its parent. It would not use ours; but a socket lives until its last holder is gone, so
that a hub would take a dead producer with a living child for alive. A child therefore lets go of them at once.
"""

import os
import weakref
from collections.abc import Awaitable, Callable

from websockets.asyncio.client import ClientConnection

_open: weakref.WeakSet[ClientConnection] = weakref.WeakSet()
_forks = 0
"""Counts up before and after each fork of this process."""


async def open_unforked(opening: Callable[[], Awaitable[ClientConnection]]) -> ClientConnection:
    """Return a connection of which no child has a copy, neither now nor later.

    Args:
        opening: Begins to open one; called again where the process forked meanwhile.
    """
    while True:
        before = _forks
        connection = await opening()
        _open.add(connection)
        if _forks == before:
            return connection
        # The child's copy keeps the socket open; only the closing handshake tells the server that nobody is there.
        await connection.close()


def _count() -> None:
    global _forks
    _forks += 1


def _let_go() -> None:
    """Close the inherited sockets in the child, and no more than that: not a byte may be sent on them.

    Their numbers are given to a file that is nothing, because the objects that hold them close them once more.
    """
    nothing = -1
    for connection in list(_open):
        socket = connection.transport.get_extra_info("socket")
        if socket is None or socket.fileno() < 0:
            continue
        if nothing < 0:
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        os.dup2(nothing, socket.fileno(), inheritable=False)
    if nothing >= 0:
        os.close(nothing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_count, after_in_parent=_count, after_in_child=_let_go)
