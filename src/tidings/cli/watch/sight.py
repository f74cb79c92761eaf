"""What the view needs of an event, whoever read it, and how its times and texts are prepared for a screen."""

from typing import Protocol

from msgspec import Struct

from tidings.protocol.timestamps import nanoseconds

_MAX_TEXT = 500
"""Characters of one text that can be worth showing on a line."""


class Sight(Protocol):
    """An event as a watcher reads it."""

    @property
    def type(self) -> str:
        """Its name."""
        ...

    @property
    def timestamp(self) -> str:
        """When it happened, RFC 3339."""
        ...

    @property
    def payload(self) -> Struct | None:
        """Its data as a struct; None where this contract does not know the type, or not this form of it."""
        ...

    @property
    def data(self) -> bytes:
        """Its data as JSON."""
        ...


def seconds(event: Sight) -> float:
    """Return when `event` happened, in seconds since 1970."""
    return nanoseconds(event.timestamp) / 1e9


def clean(text: str | None) -> str:
    """Return `text` for one line of a terminal.

    What others publish must not move the cursor, ring the bell or turn the writing round: whatever is not printable
    becomes a space, and runs of spaces one.
    """
    cut = (text or "")[:_MAX_TEXT]
    return " ".join("".join(each if each.isprintable() else " " for each in cut).split())
