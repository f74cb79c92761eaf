"""Bells: one datagram wakes each process that follows a journal in the same folder.

They only save time: a datagram that is lost, or a system without them, costs the wait for the next look.
"""

import asyncio
import logging
import os
import secrets
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FOLDER = "bells"
"""Name of the folder, within the data folder, with one socket for each process that follows."""
_SUFFIX = ".sock"
_MAX_ADDRESS_BYTES = 100
"""Maximum size of a socket's address: `sun_path` has 104 bytes on macOS and 108 on Linux, with a final zero."""
_DATAGRAM = b"\n"
_READ_BYTES = 16

logger = logging.getLogger(__name__)


class Bells:
    """The sockets of one folder: that of this process, and those of the others.

    Args:
        folder: The data folder. Only the hub's user may have access to it.
        loop: The loop that watches the own socket.
        rung: Called on the loop when another process rang.
    """

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop, rung: Callable[[], object]) -> None:
        self._folder = folder / FOLDER
        self._loop = loop
        self._rung = rung
        self._own: socket.socket | None = None
        self._name = ""
        self._others: list[str] = []
        self._descriptor = -1
        """The opened folder: addresses that are too long begin with it (Linux only)."""
        self._sender: socket.socket | None = None
        self._possible = hasattr(socket, "AF_UNIX")
        if self._possible:
            self._try_open()

    @property
    def working(self) -> bool:
        """Whether this process can ring and be rung."""
        return self._own is not None

    def _try_open(self) -> None:
        try:
            self._open()
        except NotImplementedError:  # a loop that watches no sockets, as on Windows
            self._possible = False
            self.close()
        except OSError as error:  # a full disk, or a file system without sockets
            logger.debug("no bells in %s: %s", self._folder, error)
            self.close()

    def _open(self) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        if hasattr(os, "O_DIRECTORY"):
            self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        self._sender = self._new_socket()
        self._listen()
        self._list()

    def _new_socket(self) -> socket.socket:
        new = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        new.setblocking(False)
        return new

    def _listen(self) -> None:
        name = secrets.token_hex(8)  # never used before, so that any process may delete a socket without one
        own = self._new_socket()
        try:
            # Under another name until it is bound: a sender would be refused before that, and delete it.
            own.bind(self._address(name))
            (self._folder / name).chmod(0o600)
            (self._folder / name).rename(self._folder / (name + _SUFFIX))
            self._loop.add_reader(own.fileno(), self._receive)
        except BaseException:
            own.close()
            for left in (name, name + _SUFFIX):
                (self._folder / left).unlink(missing_ok=True)
            raise
        self._own, self._name = own, name + _SUFFIX

    def _address(self, name: str) -> str:
        address = str(self._folder / name)
        if len(os.fsencode(address)) <= _MAX_ADDRESS_BYTES:
            return address
        return f"/proc/self/fd/{self._descriptor}/{name}"

    def _receive(self) -> None:
        own = self._own
        if own is None:
            return
        with suppress(BlockingIOError):
            while own.recv(_READ_BYTES):
                pass
        self._rung()

    def refresh(self) -> None:
        """Find the sockets of the other processes, and make the own one again if it was deleted."""
        if self._possible and not self._list():
            self.close()
            self._try_open()

    def _list(self) -> bool:
        """Find the other sockets; return whether the own one is in its place."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return False
        self._others = [name for name in names if name.endswith(_SUFFIX) and name != self._name]
        return self._name in names

    def ring(self) -> None:
        """Wake all other processes. Costs one system call for each."""
        if self._sender is None:
            return
        gone = []
        for name in self._others:
            try:
                self._sender.sendto(_DATAGRAM, self._address(name))
            except BlockingIOError:
                pass  # it has datagrams that it did not read yet
            except ConnectionRefusedError:
                gone.append(name)
                self._delete(name)
            except OSError:
                gone.append(name)  # it closed, or is not a socket; the next refresh lists it if it exists
        for name in gone:
            self._others.remove(name)

    def _delete(self, name: str) -> None:
        """Delete the socket of a process that was killed."""
        path = self._folder / name
        with suppress(OSError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()

    def close(self) -> None:
        """Close and delete the own socket."""
        if self._own is not None:
            self._loop.remove_reader(self._own.fileno())
            self._own.close()
            self._own = None
            with suppress(OSError):
                (self._folder / self._name).unlink(missing_ok=True)
        self._name = ""
        self._others = []
        if self._sender is not None:
            self._sender.close()
            self._sender = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
