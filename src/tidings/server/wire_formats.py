"""The wire forms of this server: plain and versioned envelopes as WebSocket frames or lines, and Server-Sent Events.

An envelope is one line of JSON: `Contract.read` turns line breaks between the tokens of `data` into spaces, and our own
encoders write none.
"""

from tidings.hub.wire import WireForm
from tidings.protocol.envelope import Event, encode_event, encode_event_v1
from tidings.server.websocket.frames import text_frame


class PlainWebSocket:
    """The five fields of a plain envelope; one envelope per text frame."""

    name = "plain"

    def event(self, event: Event, position: str) -> bytes:
        """See `WireForm.event`."""
        return text_frame(encode_event(event))

    def message(self, body: bytes) -> bytes:
        """See `WireForm.message`."""
        return text_frame(body)


class VersionedWebSocket:
    """`tidings.v1`: with positions and event ids; one envelope per text frame."""

    name = "v1"

    def event(self, event: Event, position: str) -> bytes:
        """See `WireForm.event`."""
        return text_frame(encode_event_v1(event, position))

    def message(self, body: bytes) -> bytes:
        """See `WireForm.message`."""
        return text_frame(body)


class PlainLines:
    """`PlainWebSocket` for servers that frame messages themselves (ASGI), and for tests: one envelope per line."""

    name = "plain lines"

    def event(self, event: Event, position: str) -> bytes:
        """See `WireForm.event`."""
        return encode_event(event) + b"\n"

    def message(self, body: bytes) -> bytes:
        """See `WireForm.message`."""
        return body + b"\n"


class VersionedLines:
    """`VersionedWebSocket` for servers that frame messages themselves (ASGI), and for tests: one envelope per line."""

    name = "v1 lines"

    def event(self, event: Event, position: str) -> bytes:
        """See `WireForm.event`."""
        return encode_event_v1(event, position) + b"\n"

    def message(self, body: bytes) -> bytes:
        """See `WireForm.message`."""
        return body + b"\n"


class EventStreamForm:
    """Server-Sent Events (WHATWG HTML §9.2): `tidings.v1` envelopes as `data:`, positions as `id:`."""

    name = "sse"

    def event(self, event: Event, position: str) -> bytes:
        """See `WireForm.event`."""
        return b"id: %b\ndata: %b\n\n" % (position.encode(), encode_event_v1(event, position))

    def message(self, body: bytes) -> bytes:
        """See `WireForm.message`."""
        return b"data: %b\n\n" % body


PLAIN: WireForm = PlainWebSocket()
VERSIONED: WireForm = VersionedWebSocket()
PLAIN_LINES: WireForm = PlainLines()
VERSIONED_LINES: WireForm = VersionedLines()
EVENT_STREAM: WireForm = EventStreamForm()
