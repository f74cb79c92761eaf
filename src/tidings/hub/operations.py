"""The operations that are live: a fold over the log, from which events that came without a trace id or key get theirs.

The whole life of an operation (attempts, leases, fencing; CONTRACT §4) builds on this fold.
"""

import msgspec

from tidings.contract.envelope import Event
from tidings.contract.vocabulary import MessageType, SlotEffect

_BEGINS = frozenset({MessageType.OPERATION_START, MessageType.OPERATION_PROGRESS})


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
        if key is None:
            return
        if event.effect is SlotEffect.END:
            trace_id = self._traces.pop(key, None)
            if trace_id is not None:
                operations = self._by_trace[trace_id]
                del operations[key]
                if not operations:
                    del self._by_trace[trace_id]
        elif event.type in _BEGINS and key not in self._traces:
            self._traces[key] = event.trace_id
            self._by_trace.setdefault(event.trace_id, {})[key] = None

    def trace_id(self, operation_id: str) -> str | None:
        """Return the trace id that a live operation began with, or None."""
        return self._traces.get(operation_id)

    def only_of_trace(self, trace_id: str) -> str | None:
        """Return the one live operation of a trace; None where there is none, or more than one."""
        operations = self._by_trace.get(trace_id)
        return next(iter(operations)) if operations is not None and len(operations) == 1 else None


def with_operation(event: Event, operation_id: str) -> Event:
    """Return `event`, a failure that names no operation, with `operation_id` as its key and first in its data."""
    member = b'{"operation_id":' + msgspec.json.encode(operation_id)
    rest = event.data[1:].lstrip()
    data = member + (b"}" if rest == b"}" else b"," + rest)
    return msgspec.structs.replace(event, key=operation_id, data=data)
