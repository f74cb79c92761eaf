"""Notes between the nodes of a hub: in the journal, so that they need no connection and no order of their own."""

from collections.abc import Callable
from typing import Protocol

import structlog

from tidings.hub.hub import Hub
from tidings.log.base import ReceivedControl
from tidings.log.journal.controls import MAX_NOTE_BYTES, HubNote

Receiver = Callable[[int, bytes], object]
"""Called with the number and the body of a note."""

log = structlog.get_logger("tidings.server.cluster.notes")


class NoteExchange(Protocol):
    """Notes between the processes of a hub."""

    @property
    def source(self) -> str:
        """The name of this process."""

    @property
    def receivers(self) -> dict[str, Receiver]:
        """The functions that are called with notes, by the subject of the note; the own notes come back, too."""

    def tell(self, about: str, body: bytes) -> None:
        """Send a note to all processes."""


class NodeNotes:
    """A `NoteExchange` of the nodes of a hub. Others may read notes later on the disks of the engine.

    Args:
        hub: The hub.
        source: The name of this node.
    """

    def __init__(self, hub: Hub, source: str) -> None:
        self._hub = hub
        self._number = 0
        self.source = source
        """See `NoteExchange.source`."""
        self.receivers: dict[str, Receiver] = {}
        """See `NoteExchange.receivers`."""
        hub.on_control.append(self._receive)

    def tell(self, about: str, body: bytes) -> None:
        """Send a note to all nodes; one that is too large for an entry is left out."""
        if len(body) <= MAX_NOTE_BYTES:
            self._hub.log.record(HubNote(about, body))

    def _receive(self, received: ReceivedControl) -> None:
        note = received.control
        if isinstance(note, HubNote):
            self._number += 1
            receiver = self.receivers.get(note.about)
            if receiver is not None:
                try:
                    receiver(self._number, note.body)
                except ValueError as error:  # another version wrote it, or no node: msgspec's errors are such, too
                    log.warning("a note of a node is left out", about=note.about, error=str(error))
                except Exception:  # the others go on
                    log.exception("a note of a node cannot be used", about=note.about)
