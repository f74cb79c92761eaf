"""The state that a node stores with its events: how far it has folded the journal, and what follows from it."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from tidings.exceptions import LogCorrupt
from tidings.log.epochs import Epoch
from tidings.log.journal.controls import Control, NewEpoch
from tidings.log.journal.node import FoldState

MAX_EPOCHS = 256
"""Number of epochs that are remembered: they are stored with each batch."""


class _Stored(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    fold: bytes
    epochs: list[tuple[str, int]]


class ReplicaState(Struct, frozen=True):
    """How far a log has folded its journal, and what is not in its tables."""

    fold: FoldState = FoldState()
    epochs: tuple[Epoch, ...] = ()
    """The epochs of the shared log, oldest first; empty before the first entry that names one."""

    def encode(self) -> bytes:
        """Return the state as bytes; see `tidings.log.base.StateAfter`."""
        return msgspec.msgpack.encode(_Stored(self.fold.encode(), [(epoch.name, epoch.start) for epoch in self.epochs]))

    @classmethod
    def decode(cls, stored: bytes) -> "ReplicaState":
        """Return the state that `encode` returned; that of a new log if there are no bytes.

        Raises:
            LogCorrupt: The bytes are not such a state.
        """
        if not stored:
            return cls()
        try:
            state = msgspec.msgpack.decode(stored, type=_Stored)
        except msgspec.MsgspecError as cause:
            raise LogCorrupt(f"the state of the journal in the log is damaged: {cause}") from cause
        return cls(FoldState.decode(state.fold), tuple(Epoch(name, start) for name, start in state.epochs))


def epochs_after(epochs: list[Epoch], controls: Sequence[Control], head: int) -> list[Epoch]:
    """Return the epochs after the controls of an entry; `head` is the offset of its last event."""
    for control in controls:
        if isinstance(control, NewEpoch) and control.instead_of == (epochs[-1].name if epochs else ""):
            if len(epochs) > 1 and epochs[-1].start == head:  # no position has its name
                epochs = epochs[:-1]
            epochs = [*epochs, Epoch(control.name, head if epochs else 0)][-MAX_EPOCHS:]
    return epochs
