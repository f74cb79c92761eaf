"""Wire forms, which turn events into the bytes of one kind of connection, and the outlets that bytes go to."""

from collections.abc import Callable
from functools import cache
from typing import Protocol

from tidings.protocol.envelope import Event
from tidings.protocol.revisions import REVISION, REVISIONS, Revision


class WireForm(Protocol):
    """One encoding of events and messages. Hashable; one instance per form, so that lanes are shared."""

    name: str

    def __hash__(self) -> int: ...

    def event(self, event: Event, position: str) -> bytes:
        """Return `event`, encoded and framed."""
        ...

    def message(self, body: bytes) -> bytes:
        """Return `body`, an encoded envelope that is not in the log, framed."""
        ...


class RevisedForm:
    """A form that encodes events as an older revision of the contract defines them; made by `revise_form`."""

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
    """The output to one client: a socket, or a substitute."""

    def write(self, frames: bytes, /) -> None:
        """Write prebuilt frames. May call the connection's `pause_writing` before it returns."""
        ...

    def direct(self) -> Callable[[bytes], int | None]:
        """Return the function that writes to a live subscriber while no bytes are unsent.

        It gives bytes to the kernel and returns how many the kernel took; BlockingIOError means none, and any other
        OSError means that the peer is gone. An outlet without such a function returns `write`, which returns None.
        """
        ...

    def write_buffer_size(self) -> int:
        """Return the number of unsent bytes.

        `pause_writing` is called as soon as bytes have to wait, and `resume_writing` when all are sent.
        """
        ...

    def pause_reading(self) -> None:
        """Stop reading messages from the client until `resume_reading`."""
        ...

    def resume_reading(self) -> None:
        """Read messages again."""
        ...

    def ping(self) -> None:
        """Send a ping, which keeps an idle connection alive through proxies."""
        ...

    def set_peer_timeout(self, within_s: float) -> None:
        """Let the operating system close the connection if the peer's machine is silent for about `within_s` seconds.

        The peer's program, which may be busy, does not need to answer. An outlet without such a means does nothing.
        """
        ...

    def close(self, code: int, reason: str) -> None:
        """Close with a WebSocket close code, after all that was written."""
        ...
