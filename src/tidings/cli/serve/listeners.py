"""The sockets that a hub listens on: opened by its process, or by the parent of its workers, or inherited from that."""

import socket
from collections.abc import Sequence

from msgspec import Struct

from tidings.cli.serve.addresses import explain_in_use
from tidings.cli.serve.settings import ServeSettings
from tidings.exceptions import AddressInUse, ConfigError
from tidings.server.serve import listen
from tidings.server.workers.messages import WorkerRole


class Listeners(Struct, frozen=True):
    """The sockets of one process."""

    hub: Sequence[socket.socket]
    admin: Sequence[socket.socket] = ()
    """Those of the admin listener."""

    @property
    def all(self) -> list[socket.socket]:
        """All of them, those of the hub first."""
        return [*self.hub, *self.admin]

    @classmethod
    def inherited(cls, role: WorkerRole) -> "Listeners":
        """Return the sockets that a parent has passed to a worker."""
        return cls(
            [socket.socket(fileno=each) for each in role.listeners],
            [socket.socket(fileno=each) for each in role.admin_listeners],
        )

    def duplicate(self) -> "Listeners":
        """Return further descriptors of the same sockets."""
        return Listeners([each.dup() for each in self.hub], [each.dup() for each in self.admin])

    def close(self) -> None:
        """Close all of them."""
        for opened in self.all:
            opened.close()


def open_listeners(settings: ServeSettings, *, loopback_only: bool, reuse_port: bool = False) -> Listeners:
    """Open the sockets that settings name.

    Raises:
        AddressInUse: Another process listens there.
        AddressUnavailable: An address cannot be listened on.
        InsecureAddress: Other machines could reach it, and the hub identifies no one.
        ConfigError: The port of the admin listener is the same.
    """
    try:
        hub = listen(settings.host, settings.port, loopback_only=loopback_only, reuse_port=reuse_port)
    except AddressInUse as error:
        raise explain_in_use(error) from error
    try:
        return Listeners(hub, _listen_for_admins(settings, hub[0].getsockname()[1], loopback_only, reuse_port))
    except BaseException:
        for opened in hub:
            opened.close()
        raise


def _listen_for_admins(
    settings: ServeSettings, port: int, loopback_only: bool, reuse_port: bool
) -> Sequence[socket.socket]:
    """Open the admin listener, if there is one; `port` is the hub's other port."""
    if settings.admin_listen is None:
        return ()
    host, _, admin_port = settings.admin_listen.rpartition(":")
    if int(admin_port) == port:
        raise ConfigError(
            f"--admin-listen: port {port} is the hub's own port",
            option="admin-listen",
            hint="Choose another port: the hub distinguishes the listeners by it.",
        )
    return listen(host.strip("[]"), int(admin_port), loopback_only=loopback_only, reuse_port=reuse_port)
