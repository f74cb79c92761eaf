"""Wire forms: how an event becomes the bytes that a kind of connection reads."""

from collections.abc import Callable
from functools import cache
from typing import Protocol

from tidings.protocol.envelope import Event
from tidings.protocol.revisions import REVISION, REVISIONS, Revision


class WireForm(Protocol):
    """One way of writing events and messages. Hashable; one instance a form, so that lanes are shared."""

    name: str

    def __hash__(self) -> int: ...

    def event(self, event: Event, position: str) -> bytes:
        """Return `event`, encoded and framed."""
        ...

    def message(self, body: bytes) -> bytes:
        """Return `body`, an encoded envelope that is no logged event, framed."""
        ...


class RevisedForm:
    """Another form, of events as an older revision of the contract tells them. Made by `revise_form`."""

    def __init__(self, form: WireForm, revision: Revision) -> None:
        self.name = f"{form.name} of {revision.date}"
        self._form = form
        self._revision = revision

    def event(self, event: Event, position: str) -> bytes:
        """See `WireForm.event`."""
        return self._form.event(self._revision.read(event), position)

    def message(self, body: bytes) -> bytes:
        """See `WireForm.message`."""
        return self._form.message(body)


@cache
def revise_form(form: WireForm, date: str) -> WireForm:
    """Return `form` for readers of the revision of `date`: the same object each time, so that they share lanes."""
    return form if date == REVISION else RevisedForm(form, REVISIONS[date])


class Outlet(Protocol):
    """The way out to one client: a socket, or what stands for one."""

    def write(self, frames: bytes, /) -> None:
        """Write prebuilt frames. May call the connection's `pause_writing` before it returns."""
        ...

    def direct(self) -> Callable[[bytes], int | None]:
        """Return what a live subscriber is written to with, while nothing waits to be sent.

        It gives bytes to the kernel and returns how many it took; BlockingIOError is none, and any other OSError means
        that the peer is gone. An outlet without such a way returns `write`, which returns None.
        """
        ...

    def write_buffer_size(self) -> int:
        """Return how many bytes wait to be sent.

        `pause_writing` is called as soon as bytes have to wait, and `resume_writing` when they no longer do.
        """
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

    def set_peer_timeout(self, within_s: float) -> None:
        """Have the operating system give up a peer that it does not hear of for about so long: a machine that is gone.

        Nothing is asked of the peer's program, which may be busy. Nothing happens where there is no such means.
        """
        ...

    def close(self, code: int, reason: str) -> None:
        """Close with a WebSocket close code, after what was written."""
        ...
