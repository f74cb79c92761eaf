"""The checks that every WebSocket handshake passes first, whatever edge it came to, and while HTTP can refuse it."""

import contextlib
from collections.abc import Iterator

import structlog

from tidings.access.proxies import RequestAddress
from tidings.access.request_check import RequestCheck
from tidings.exceptions import NotFound, OriginRefused
from tidings.server.websocket.handshake import Handshake
from tidings.server.websocket.protocol import WebSocket

log = structlog.get_logger("tidings.server.websocket.handshake_check")


class HandshakeCheck:
    """Checks where a handshake comes from, and its path.

    Args:
        request_check: The check that requests pass, too.
        path: Path of the WebSocket, such as `/ws`.
    """

    def __init__(self, request_check: RequestCheck, path: str) -> None:
        self.request_check = request_check
        self._path = path

    def admit(self, handshake: Handshake, socket: WebSocket) -> RequestAddress:
        """Check a handshake at the native edge, and return where it comes from.

        Raises:
            OriginRefused: It comes from a web page that may not use the hub.
            RequestError: A header is not valid.
            NotFound: Its path is not the WebSocket's.
        """
        with self.logging_refusals():
            address = self.request_check.admit(
                handshake.headers.get_all,
                method="GET",
                peer=handshake.peer[0] if handshake.peer is not None else "",
                scheme=handshake.scheme,
            )
        name = socket.get_extra_info("sockname")
        self.check_path(address.relative(handshake.path), name[1] if isinstance(name, tuple) else None)
        return address

    @contextlib.contextmanager
    def logging_refusals(self) -> Iterator[None]:
        """Log a handshake that is refused for its origin: a web page sees nothing of it, so the operator must."""
        try:
            yield
        except OriginRefused as error:
            log.warning("handshake refused", code=error.code, error=str(error), hint=error.hint, origin=error.origin)
            raise

    def check_path(self, path: str, port: int | None) -> None:
        """Check the path of a handshake (docs/protocol/codes.md).

        Args:
            path: Path of the request.
            port: Port of the hub at which it arrived.

        Raises:
            NotFound: `path` is not the WebSocket's path.
        """
        self.request_check.check_port(path, port)
        if path != self._path:
            raise NotFound(f"no WebSocket at this path; it is at {self._path}", hint=f"Use {self._path}.")
