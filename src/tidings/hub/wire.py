"""Wire forms: how an event becomes the bytes that a kind of connection reads."""

from typing import Protocol

from tidings.contract.envelope import Event


class WireForm(Protocol):
    """One way of writing events and messages. Hashable; one instance a form, so that lanes are shared."""

    name: str

    def event(self, event: Event, position: str) -> bytes:
        """Return `event`, encoded and framed."""
        ...

    def message(self, body: bytes) -> bytes:
        """Return `body`, an encoded envelope that is no logged event, framed."""
        ...


class Outlet(Protocol):
    """The way out to one client: a socket, or what stands for one."""

    def write(self, frames: bytes, /) -> None:
        """Write prebuilt frames. May call the connection's `pause_writing` before it returns."""
        ...

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """Set at how many unsent bytes `pause_writing` and `resume_writing` are called."""
        ...

    def pause_reading(self) -> None:
        """Take no more messages from the client until `resume_reading`."""
        ...

    def resume_reading(self) -> None:
        """Go on taking messages."""
        ...

    def ping(self) -> None:
        """Send what keeps an idle connection alive through proxies."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Close with a WebSocket close code, after what was written."""
        ...
