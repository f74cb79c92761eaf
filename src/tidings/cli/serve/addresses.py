"""The addresses at which people and programs reach a hub: what `tidings serve` prints when it is ready."""

import json
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from ipaddress import IPv6Address, ip_address

from tidings.access.proxies import parse_address
from tidings.client.url import DEFAULT_URL
from tidings.exceptions import AddressInUse
from tidings.server.serve import ListenAddress

_HOST_NAME = re.compile(r"[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*")
_PROBE_TIMEOUT_S = 1.0
_MAX_ANSWER_BYTES = 65_536
# Addresses for documentation (RFC 5737, RFC 3849): a datagram socket that is connected to one sends nothing, and has
# the address of the interface that leads out of this machine.
_OUTSIDE = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HubAddresses:
    """The URLs of a hub that listens."""

    websocket: str
    http: str
    elsewhere: str | None
    """HTTP URL for other machines; None if only this machine reaches the hub, or no such address is known."""
    is_public: bool
    """Whether other machines may reach the hub."""

    def greeting(self, version: str, *, has_dashboard: bool = True) -> str:
        """Return two lines for a person at a terminal: where the hub is, and what to do with it.

        Args:
            version: Version of tidings.
            has_dashboard: Whether a browser shows the dashboard at its address.
        """
        others = "" if self.elsewhere is None else f" (from other machines: {self.elsewhere})"
        watch = "Open it in a browser, or watch" if has_dashboard else "Watch"
        url = "" if self.websocket == DEFAULT_URL else f" --url {self.websocket}"
        return (
            f"tidings {version} listens on {self.http}{others}. Ctrl-C stops it.\n"
            f"{watch} it with `tidings watch{url}`, and report with `tidings run{url} -- COMMAND`."
        )


def find_addresses(listening: Sequence[ListenAddress], *, ws_path: str, secure: bool) -> HubAddresses:
    """Return the URLs of a hub: of a wildcard address, those of the loopback interface and of the local network.

    Args:
        listening: The addresses that the hub listens on.
        ws_path: Path of the WebSocket.
        secure: Whether the port speaks TLS.
    """
    host, port = listening[0]
    address = ip_address(host.partition("%")[0])  # a link-local address names its interface
    other: str | None = None
    if address.is_unspecified:
        is_ipv6 = isinstance(address, IPv6Address)
        host = "::1" if is_ipv6 else "127.0.0.1"
        other = _outward_host(socket.AF_INET6 if is_ipv6 else socket.AF_INET)
    scheme = "s" if secure else ""
    return HubAddresses(
        websocket=f"ws{scheme}://{format_place(host, port)}{ws_path}",
        http=f"http{scheme}://{format_place(host, port)}/",
        elsewhere=None if other is None else f"http{scheme}://{format_place(other, port)}/",
        is_public=any(not ip_address(each.host.partition("%")[0]).is_loopback for each in listening),
    )


def find_host_names(host: str) -> list[str]:
    """Return the names under which other machines find a hub: the one in `--host`, and those of this machine.

    No web page can take a machine's own name: it has no dot, or it ends in `.local`, which the machine itself answers.

    Args:
        host: The address or name to listen on.
    """
    machine = socket.gethostname().partition(".")[0]
    names = [host, machine, f"{machine}.local"]
    return [name for name in names if _HOST_NAME.fullmatch(name) and parse_address(name) is None]


def format_place(host: str, port: int) -> str:
    """Return a host and a port as in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _outward_host(family: socket.AddressFamily) -> str | None:
    """Return this machine's address in its network, or None without a network."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_OUTSIDE[family], 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def explain_in_use(error: AddressInUse) -> AddressInUse:
    """Return the error of a port that is in use, with a better hint if a hub listens there.

    Args:
        error: The error, with the host and port.
    """
    host = error.host if error.host not in ("", "0.0.0.0", "::") else "localhost"
    place = format_place(host, error.port)
    connection = HTTPConnection(host, error.port, timeout=_PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/")
        about = json.loads(connection.getresponse().read(_MAX_ANSWER_BYTES))
    except (OSError, HTTPException, ValueError):
        return error
    finally:
        connection.close()
    if not isinstance(about, dict) or about.get("name") != "tidings":
        return error
    hint = (
        f"A hub listens there already: use it (`tidings watch --url http://{place}`), stop it, or choose another port "
        "with --port (--port 0 picks a free one)."
    )
    return AddressInUse(str(error), host=error.host, port=error.port, hint=hint)
