"""The wire forms of this server: plain and versioned envelopes as WebSocket frames or lines, and Server-Sent Events.

An envelope is one line of JSON: `Contract.read` turns line breaks between the tokens of `data` into spaces, and our own
encoders write none.
"""

from functools import cache
from typing import Final

from tidings.hub.wire import WireForm
from tidings.protocol.envelope import Event, encode_event, encode_event_v1
from tidings.server.websocket.deflate import Deflate
from tidings.server.websocket.frames import text_frame


def _line(body: bytes) -> bytes:
    return body + b"\n"


def _stream_event(event: Event, position: str) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (position.encode(), encode_event_v1(event, position))


PLAIN: Final = WireForm("plain", lambda event, _: text_frame(encode_event(event)), text_frame)
"""The five fields of a plain envelope; one envelope per text frame."""
VERSIONED: Final = WireForm("v1", lambda event, position: text_frame(encode_event_v1(event, position)), text_frame)
"""`tidings.v1`: with positions and event ids; one envelope per text frame."""
PLAIN_LINES: Final = WireForm("plain lines", lambda event, _: _line(encode_event(event)), _line)
"""`PLAIN` for servers that frame messages themselves (ASGI), and for tests: one envelope per line."""
VERSIONED_LINES: Final = WireForm("v1 lines", lambda event, position: _line(encode_event_v1(event, position)), _line)
"""`VERSIONED` for servers that frame messages themselves (ASGI), and for tests: one envelope per line."""
EVENT_STREAM: Final = WireForm("sse", _stream_event, lambda body: b"data: %b\n\n" % body)
"""Server-Sent Events (WHATWG HTML §9.2): `tidings.v1` envelopes as `data:`, positions as `id:`."""


@cache
def deflate_form(form: WireForm, deflate: Deflate) -> WireForm:
    """Return `form` with compressed events: the same object each time, so that its readers share lanes.

    Other messages are for one client each, and stay as they are.
    """
    window = "small window" if deflate.small_window else "deflate"
    return WireForm(
        f"{form.name}, {window} from {deflate.min_bytes} bytes",
        lambda event, position: deflate.compress(form.event(event, position)),
        form.message,
    )
