"""The operations that are live: a fold over the log, from which events that came without a trace id or key get theirs.

The whole life of an operation (attempts, leases, fencing; CONTRACT §4) builds on this fold.
"""

from collections.abc import Iterable

from tidings.contract.envelope import Event
from tidings.contract.vocabulary import ChannelType, MessageType, SlotEffect

_BEGINS = frozenset({MessageType.OPERATION_START, MessageType.OPERATION_PROGRESS})
_ENDS = frozenset({MessageType.OPERATION_COMPLETE, MessageType.OPERATION_FAILED, MessageType.OPERATION_CANCELLED})

LIFE: frozenset[str] = _BEGINS | _ENDS
"""The types that begin or end an operation."""
LIFE_CHANNELS = frozenset({ChannelType.OPERATIONS, ChannelType.GLOBAL})
"""Where they go."""

Changes = dict[str, str | None]
"""What a batch makes of operations: the trace that one begins with, None for one that ends."""


class LiveOperations:
    """Operations that have begun and not ended."""

    def __init__(self) -> None:
        self._traces: dict[str, str] = {}
        self._by_trace: dict[str, dict[str, None]] = {}

    def __len__(self) -> int:
        return len(self._traces)

    def note(self, event: Event) -> None:
        """Fold in an event, in log order."""
        key = event.key
        if key is None or event.type not in LIFE:
            return
        if event.effect is SlotEffect.END:
            trace_id = self._traces.pop(key, None)
            if trace_id is not None:
                operations = self._by_trace[trace_id]
                del operations[key]
                if not operations:
                    del self._by_trace[trace_id]
        elif key not in self._traces:
            self._traces[key] = event.trace_id
            self._by_trace.setdefault(event.trace_id, {})[key] = None

    def trace_id(self, operation_id: str) -> str | None:
        """Return the trace id that a live operation began with, or None."""
        return self._traces.get(operation_id)

    def of_trace(self, trace_id: str) -> Iterable[str]:
        """Return the live operations of a trace."""
        return self._by_trace.get(trace_id, ())


class OperationView:
    """The live operations as they will be when what is staged is in the log.

    Args:
        live: The operations of the log.
        layers: What the batches under way make of them, the oldest first.
    """

    __slots__ = ("_layers", "_live")

    def __init__(self, live: LiveOperations, layers: Iterable[Changes]) -> None:
        self._live = live
        self._layers = tuple(layers)

    def trace_id(self, operation_id: str) -> str | None:
        """Return the trace id that a live operation began with, or None."""
        for changes in reversed(self._layers):
            if operation_id in changes:
                return changes[operation_id]
        return self._live.trace_id(operation_id)

    def only_of_trace(self, trace_id: str) -> str | None:
        """Return the one live operation of a trace; None where there is none, or more than one."""
        found = set(self._live.of_trace(trace_id))
        for changes in self._layers:
            for operation_id, begun in changes.items():
                if begun == trace_id:
                    found.add(operation_id)
                else:
                    found.discard(operation_id)
        return found.pop() if len(found) == 1 else None

    def note(self, event: Event) -> None:
        """Fold an event that is staged into the newest layer."""
        key = event.key
        if key is None or event.type not in LIFE:
            return
        if event.effect is SlotEffect.END:
            self._layers[-1][key] = None
        elif self.trace_id(key) is None:
            self._layers[-1][key] = event.trace_id
