"""Wire forms without frames: one envelope a line, so that what a hub wrote is read back with `splitlines`."""

from tidings.contract.envelope import Event, encode_event, encode_event_v1
from tidings.hub.wire import WireForm


class PlainLines:
    """Lines of the source contract's five fields."""

    name = "plain lines"

    def event(self, event: Event, position: str) -> bytes:
        """See `WireForm.event`."""
        return encode_event(event) + b"\n"

    def message(self, body: bytes) -> bytes:
        """See `WireForm.message`."""
        return body + b"\n"


class VersionedLines:
    """Lines of `tidings.v1`."""

    name = "v1 lines"

    def event(self, event: Event, position: str) -> bytes:
        """See `WireForm.event`."""
        return encode_event_v1(event, position) + b"\n"

    def message(self, body: bytes) -> bytes:
        """See `WireForm.message`."""
        return body + b"\n"


PLAIN_LINES: WireForm = PlainLines()
VERSIONED_LINES: WireForm = VersionedLines()
