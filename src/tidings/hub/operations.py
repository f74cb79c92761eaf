"""The operations as they will be when what is staged is in the log: what may happen next is judged by that."""

from collections.abc import Iterable

from msgspec import structs

from tidings.log.base import Draft
from tidings.operations.lifecycle import ASKS, Life, ask_of, moved
from tidings.operations.table import Operations
from tidings.protocol.envelope import MAX_DATA_BYTES
from tidings.protocol.message_types import MessageType
from tidings.protocol.raw_json import with_last_member

Changes = dict[str, Life]
"""What a batch makes of operations."""


class OperationView:
    """The log's operations, and above them what the batches under way make of them.

    Args:
        operations: Those of the log.
        layers: Of each batch under way, the oldest first.
    """

    __slots__ = ("_layers", "_operations")

    def __init__(self, operations: Operations, layers: Iterable[Changes]) -> None:
        self._operations = operations
        self._layers = tuple(layers)

    def life(self, operation_id: str) -> Life | None:
        """Return the life of an operation, or None."""
        for changes in reversed(self._layers):
            if operation_id in changes:
                return changes[operation_id]
        return self._operations.life(operation_id)

    def trace_id(self, operation_id: str) -> str | None:
        """Return the trace id that a live operation began with, or None."""
        life = self.life(operation_id)
        return life.trace_id if life is not None and life.live else None

    def only_of_trace(self, trace_id: str, producer_id: str = "") -> str | None:
        """Return the one live operation of a trace that a writer may mean; None where there is none, or more than one.

        Args:
            trace_id: The trace.
            producer_id: The writer: what another producer holds is not meant.
        """
        named = set(self._operations.of_trace(trace_id)).union(*self._layers)
        found = [operation_id for operation_id in named if self._is_meant(operation_id, trace_id, producer_id)]
        return found[0] if len(found) == 1 else None

    def _is_meant(self, operation_id: str, trace_id: str, producer_id: str) -> bool:
        life = self.life(operation_id)
        return life is not None and life.live and life.trace_id == trace_id and life.producer_id in ("", producer_id)

    def admit(self, draft: Draft, *, by_hub: bool = False) -> tuple[Draft, Life | None]:
        """Let an event happen to its operation, in the newest layer.

        Args:
            draft: Any event.
            by_hub: Whether the hub itself writes it.

        Returns:
            The event, naming its attempt where it begins one that is not the first; and the operation's life after it,
            None where it is no event of one.

        Raises:
            OperationError: The operation's life does not allow it; nothing has changed.
        """
        event = draft.event
        key = event.key
        if key is None or event.type not in ASKS:
            return draft, None
        before = self.life(key)
        life = moved(key, before, event, producer_id=draft.producer_id, lease_s=draft.lease_s, by_hub=by_hub)
        if life is None or life is before:
            return draft, life
        self._layers[-1][key] = life
        if event.type == MessageType.OPERATION_START and life.attempt > 1 and ask_of(event)[1] is None:
            data = with_last_member(event.data, "attempt", b"%d" % life.attempt)
            if len(data) <= MAX_DATA_BYTES:
                draft = structs.replace(draft, event=structs.replace(event, data=data))
        return draft, life

    def note(self, operation_id: str, life: Life) -> None:
        """Put into the newest layer what `admit` found of an event that is staged again."""
        self._layers[-1][operation_id] = life
