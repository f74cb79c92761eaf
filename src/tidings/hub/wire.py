"""Wire forms, which turn events into the bytes of one kind of connection, and the outlets that bytes go to."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from tidings.protocol.details import conceal_details
from tidings.protocol.envelope import Event
from tidings.protocol.revisions import REVISION, REVISIONS

Send = Callable[[bytes], int]
"""See `Outlet.direct`."""


@dataclass(frozen=True, eq=False, slots=True)
class WireForm:
    """One encoding of events and messages. Equal only to itself: one instance per form, so that lanes are shared."""

    name: str
    event: Callable[[Event, str], bytes]
    """Returns an event at a position, encoded and framed."""
    message: Callable[[bytes], bytes]
    """Returns an encoded envelope that is not in the log, framed."""
    revealing: "WireForm | None" = None
    """The same form with details, for one that conceals them: both write the same bytes for events without details."""


@cache
def revise_form(form: WireForm, date: str) -> WireForm:
    """Return `form` for readers of the revision of `date`: the same object each time, so that they share lanes."""
    if date == REVISION:
        return form
    read = REVISIONS[date].read
    return WireForm(f"{form.name} of {date}", lambda event, position: form.event(read(event), position), form.message)


@cache
def conceal_form(form: WireForm) -> WireForm:
    """Return `form` for readers without the grant `details`: the same object each time, so that they share lanes."""
    return WireForm(
        f"{form.name} without details",
        lambda event, position: form.event(conceal_details(event), position),
        form.message,
        form,
    )


class Outlet(Protocol):
    """The output to one client: a socket, or a substitute."""

    def write(self, frames: bytes | memoryview, /) -> None:
        """Write prebuilt frames, whatever waits. May call the connection's `pause_writing` before it returns."""

    def direct(self) -> Send:
        """Return the function that writes while the connection is not paused.

        It takes the front of some frames and returns its size in bytes; BlockingIOError means that it took none, and
        any other OSError that the peer is gone. It takes no more than the kernel does, or a small buffer.
        """

    def write_buffer_size(self) -> int:
        """Return the number of unsent bytes.

        `pause_writing` is called as soon as more bytes wait than `direct` would leave, and `resume_writing` when all
        are sent.
        """

    def pause_reading(self) -> None:
        """Stop reading messages from the client until `resume_reading`."""

    def resume_reading(self) -> None:
        """Read messages again."""

    def ping(self) -> None:
        """Send a ping, which keeps an idle connection alive through proxies."""

    def set_peer_timeout(self, within_s: float) -> None:
        """Let the operating system close the connection if the peer's machine is silent for about `within_s` seconds.

        The peer's program, which may be busy, does not need to answer. An outlet without such a means does nothing.
        """

    def close(self, code: int, reason: str) -> None:
        """Close with a WebSocket close code, after all that was written."""

    def abort(self) -> None:
        """End the connection immediately; unsent bytes are lost."""
