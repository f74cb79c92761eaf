"""Wire forms, which turn events into the bytes of one kind of connection, and the outlets that bytes go to."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

from tidings.protocol.envelope import Event
from tidings.protocol.revisions import REVISION, REVISIONS


@dataclass(frozen=True, eq=False, slots=True)
class WireForm:
    """One encoding of events and messages. Equal only to itself: one instance per form, so that lanes are shared."""

    name: str
    event: Callable[[Event, str], bytes]
    """Returns an event at a position, encoded and framed."""
    message: Callable[[bytes], bytes]
    """Returns an encoded envelope that is not in the log, framed."""


@cache
def revise_form(form: WireForm, date: str) -> WireForm:
    """Return `form` for readers of the revision of `date`: the same object each time, so that they share lanes."""
    if date == REVISION:
        return form
    read = REVISIONS[date].read
    return WireForm(f"{form.name} of {date}", lambda event, position: form.event(read(event), position), form.message)


class Outlet(Protocol):
    """The output to one client: a socket, or a substitute."""

    def write(self, frames: bytes, /) -> None:
        """Write prebuilt frames. May call the connection's `pause_writing` before it returns."""

    def direct(self) -> Callable[[bytes], int | None]:
        """Return the function that writes to a live subscriber while no bytes are unsent.

        It gives bytes to the kernel and returns how many the kernel took; BlockingIOError means none, and any other
        OSError means that the peer is gone. An outlet without such a function returns `write`, which returns None.
        """

    def write_buffer_size(self) -> int:
        """Return the number of unsent bytes.

        `pause_writing` is called as soon as bytes have to wait, and `resume_writing` when all are sent.
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
