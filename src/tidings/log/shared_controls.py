"""The controls that the hubs of a shared log record for each other: folded, and stored with the events."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from tidings.log.base import EventToAppend, StoredRows
from tidings.log.journal.controls import CancelAnswered, CancelRequested, HubControl, KeyRemoved, KeyShared
from tidings.log.producers import FoldedControl, ProducerTable
from tidings.log.shared_keys import SharedKeyTable
from tidings.operations.table import OperationTable

_PRODUCER = "producer:"
_CANCEL = "cancel:"
_KEY = "key:"
_encode = msgspec.msgpack.encode
_decode_request = msgspec.msgpack.Decoder(CancelRequested).decode


class SharedControls:
    """The producers, the open requests to cancel, and the API keys of all nodes.

    Args:
        producers: The table of the local log, whose judge needs it.
        operations: The operations of the local log.
    """

    def __init__(self, producers: ProducerTable, operations: OperationTable) -> None:
        self._producers = producers
        self._operations = operations
        self._requests: dict[str, CancelRequested] = {}
        """Open requests by operation id, in the order of the log."""
        self._changed: dict[str, None] = {}
        self.keys = SharedKeyTable()
        """The API keys of all nodes."""

    @property
    def requests(self) -> Sequence[CancelRequested]:
        """The open requests to cancel, the oldest first."""
        return [request for request in self._requests.values() if self._is_open(request)]

    def fold(self, control: HubControl, session: str) -> FoldedControl:
        """Apply a control, in log order; see `ProducerTable.fold`."""
        match control:
            case CancelRequested(operation_id):
                before = self._requests.get(operation_id)
                if before is None or before.attempt != control.attempt:
                    if self._is_open(control):
                        self._replace(operation_id, control)
                elif control.is_due and not before.is_due:
                    self._replace(operation_id, msgspec.structs.replace(before, is_due=True))
            case CancelAnswered(operation_id, push_id, "refused"):
                request = self._requests.get(operation_id)
                if request is not None and request.push_id == push_id:
                    self._drop(operation_id)
            case KeyShared() | KeyRemoved():
                self.keys.fold(control)
            case _:
                return self._producers.fold(control, session)
        return FoldedControl()

    def end_session(self, session: str) -> Sequence[str]:
        """See `ProducerTable.end_session`."""
        return self._producers.end_session(session)

    def apply_events(self, batch: Sequence[EventToAppend]) -> None:
        """Drop the requests that a batch answered, after it was stored."""
        if not self._requests:
            return
        for entry in batch:
            request = self._requests.get(entry.event.key or "")
            if request is not None and not self._is_open(request):
                self._drop(request.operation_id)

    def _is_open(self, request: CancelRequested) -> bool:
        life = self._operations.life(request.operation_id)
        return life is not None and life.live and life.attempt == request.attempt

    def _replace(self, operation_id: str, request: CancelRequested) -> None:
        self._requests[operation_id] = request
        self._changed[operation_id] = None

    def _drop(self, operation_id: str) -> None:
        del self._requests[operation_id]
        self._changed[operation_id] = None

    # Storing.

    def take_changes(self) -> StoredRows:
        """Return the rows that changed since the last call; None for a row to delete."""
        rows: StoredRows = {_PRODUCER + key: row for key, row in self._producers.take_changes().items()}
        rows |= {_KEY + id: row for id, row in self.keys.take_changes().items()}
        for operation_id in self._changed:
            request = self._requests.get(operation_id)
            rows[_CANCEL + operation_id] = None if request is None else _encode(request)
        self._changed.clear()
        return rows

    def restore(self, rows: Mapping[str, bytes]) -> None:
        """Restore the stored rows.

        Raises:
            msgspec.MsgspecError: A row is damaged.
        """
        self._producers.restore(_of_kind(_PRODUCER, rows))
        self.keys.restore(row for _, row in _of_kind(_KEY, rows))
        requests = [_decode_request(row) for _, row in _of_kind(_CANCEL, rows)]
        for request in sorted(requests, key=lambda each: (each.requested_ns, each.operation_id)):
            self._requests[request.operation_id] = request
            if not self._is_open(request):
                self._drop(request.operation_id)


def _of_kind(prefix: str, rows: Mapping[str, bytes]) -> Iterable[tuple[str, bytes]]:
    return [(key.removeprefix(prefix), row) for key, row in rows.items() if key.startswith(prefix)]
