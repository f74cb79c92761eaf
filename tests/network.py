"""Machines with networks of their own: network namespaces on one switch, whose connections a test cuts. Only root may.

Packets between two machines that are cut off from each other are lost without a sign, as with a broken switch.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_CLONE_NEWNET = 0x40000000
_NOWHERE = "02:00:00:00:00:00"
_libc = ctypes.CDLL(None, use_errno=True)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _can_create() -> bool:
    if os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "--net", "ip", "link"], capture_output=True, check=False).returncode == 0


needs_network = pytest.mark.skipif(
    not _can_create() and not os.environ.get("CI"), reason="creates network namespaces, which only root may"
)


class Machine:
    """One machine.

    Args:
        namespace: Its network namespace.
        address: Its IP address.
    """

    def __init__(self, namespace: str, address: str) -> None:
        self.namespace = namespace
        self.address = address
        self.wrapper = ("ip", "netns", "exec", namespace)
        """Begins the command of a process of this machine."""

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let what this thread connects and starts be on this machine."""
        with Path("/proc/thread-self/ns/net").open() as before, Path("/run/netns", self.namespace).open() as inside:
            _enter(inside.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns failed")


class Network:
    """A switch, and the machines on it."""

    def __init__(self) -> None:
        self._prefix = f"tidings-{os.getpid()}"
        self._switch = f"{self._prefix}-switch"
        self._namespaces: list[str] = []
        self._cut: list[tuple[Machine, Machine]] = []
        self._create(self._switch)
        _ip("-n", self._switch, "link", "add", "switch", "type", "bridge")
        _ip("-n", self._switch, "link", "set", "switch", "up")

    def _create(self, namespace: str) -> None:
        _ip("netns", "add", namespace)
        self._namespaces.append(namespace)
        _ip("-n", namespace, "link", "set", "lo", "up")

    def add(self) -> Machine:
        """Return a new machine."""
        number = len(self._namespaces)
        machine = Machine(f"{self._prefix}-{number}", f"198.18.0.{number}")  # of the range for tests of networks
        self._create(machine.namespace)
        port = f"port{number}"
        _ip("-n", self._switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", machine.namespace)
        _ip("-n", self._switch, "link", "set", port, "master", "switch", "up")
        _ip("-n", machine.namespace, "address", "add", f"{machine.address}/24", "dev", "eth0")
        _ip("-n", machine.namespace, "link", "set", "eth0", "up")
        return machine

    def cut(self, one: Machine, other: Machine) -> None:
        """Lose all packets between two machines."""
        for sender, receiver in ((one, other), (other, one)):
            to = ("to", receiver.address, "lladdr", _NOWHERE, "dev", "eth0", "nud", "permanent")
            _ip("-n", sender.namespace, "neighbor", "replace", *to)
            self._cut.append((sender, receiver))

    def heal(self) -> None:
        """End all cuts."""
        for sender, receiver in self._cut:
            _ip("-n", sender.namespace, "neighbor", "del", receiver.address, "dev", "eth0")
        self._cut.clear()

    def close(self) -> None:
        """Remove the machines, whose processes have ended."""
        for namespace in reversed(self._namespaces):
            _ip("netns", "del", namespace)
