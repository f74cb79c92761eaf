"""The wire forms of this server: WebSocket frames of both kinds, and Server-Sent Events."""

from tidings.contract.envelope import Event, encode_event, encode_event_v1
from tidings.hub.wire import WireForm
from tidings.server.frames import text_frame


class PlainWebSocket:
    """The source contract's five fields, one envelope a text frame."""

    name = "plain"

    def event(self, event: Event, position: str) -> bytes:
        """See `WireForm.event`."""
        return text_frame(encode_event(event))

    def message(self, body: bytes) -> bytes:
        """See `WireForm.message`."""
        return text_frame(body)


class VersionedWebSocket:
    """`tidings.v1`: with positions and event ids, one envelope a text frame."""

    name = "v1"

    def event(self, event: Event, position: str) -> bytes:
        """See `WireForm.event`."""
        return text_frame(encode_event_v1(event, position))

    def message(self, body: bytes) -> bytes:
        """See `WireForm.message`."""
        return text_frame(body)


PLAIN: WireForm = PlainWebSocket()
VERSIONED: WireForm = VersionedWebSocket()
