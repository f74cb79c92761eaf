"""All connections of one hub: their heartbeat, their bound, and how they end."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from tidings.exceptions import TooManyConnections
from tidings.hub.hub import Hub
from tidings.hub.wire import WireForm
from tidings.protocol.messages import PositionNotice, encode_hub_message

_SLICES = 25
"""A heartbeat is spread over so many moments, so that ten thousand connections do not all beat at once."""


class RegisteredConnection(Protocol):
    """A client as `ConnectionRegistry` knows it: a WebSocket connection, an event stream."""

    def close(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Say why, and close."""
        ...

    def send_heartbeat(self, position_frame: Callable[[WireForm, int], bytes], /) -> None:
        """Show a sign of life if nothing else did; see `HubConnection.send_heartbeat`."""
        ...


class ConnectionRegistry:
    """The open connections of a hub.

    One timer beats for all of them: a slice of the connections each time.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._slices: deque[dict[RegisteredConnection, None]] = deque({} for _ in range(_SLICES))
        self._of: dict[RegisteredConnection, dict[RegisteredConnection, None]] = {}
        self._beating = False
        self.opened = 0
        """Connections opened since the hub began."""

    def __len__(self) -> int:
        return len(self._of)

    def check_limit(self) -> None:
        """Check that one more connection may come.

        Raises:
            TooManyConnections: It may not.
        """
        most = self._hub.config.max_connections
        if len(self._of) >= most:
            raise TooManyConnections(f"{most} connections are open")

    def add(self, connection: RegisteredConnection) -> None:
        """Let `connection` have its heartbeats."""
        # Into the slice that has just beaten: its first heartbeat is a whole interval away.
        beaten = self._slices[-1]
        beaten[connection] = None
        self._of[connection] = beaten
        self.opened += 1
        if not self._beating:
            self._beating = True
            self._hub.scheduler.call_later(self._hub.config.heartbeat_s / _SLICES, self._beat)

    def remove(self, connection: RegisteredConnection) -> None:
        """Forget `connection`."""
        beaten = self._of.pop(connection, None)
        if beaten is not None:
            del beaten[connection]

    def close_all(self, code: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        """Say goodbye to everyone."""
        for connection in list(self._of):
            connection.close(code, reason, retry_after_ms=retry_after_ms)

    def _beat(self) -> None:
        if self._hub.closed or not self._of:
            self._beating = False
            return
        self._hub.scheduler.call_later(self._hub.config.heartbeat_s / _SLICES, self._beat)
        due = self._slices[0]
        self._slices.rotate(-1)
        frame = self._position_frames()
        for connection in list(due):
            connection.send_heartbeat(frame)

    def _position_frames(self) -> Callable[[WireForm, int], bytes]:
        made: dict[tuple[WireForm, int], bytes] = {}

        def frame(form: WireForm, offset: int) -> bytes:
            known = made.get((form, offset))
            if known is None:
                hub = self._hub
                now = hub.timestamp()
                notice = PositionNotice(position=str(hub.log.position(offset)), now=now)
                body = encode_hub_message(notice, timestamp=now, trace_id=hub.mint())
                known = made[form, offset] = form.message(body)
            return known

        return frame
