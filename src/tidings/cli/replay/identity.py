"""Who a replayed event is: the one that was recorded, or another that looks like it."""

import hashlib
import secrets
import time
from collections.abc import Callable

from tidings.client.drafts import new_event_id
from tidings.protocol.envelope import Envelope
from tidings.protocol.paths import MAX_KEY_BYTES
from tidings.relay.translate import event_id_of, rename_operations

_MARK_BYTES = 4


class KeptIds:
    """Everything keeps its id: played again into the same hub, a recording is stored once."""

    def event_id(self, envelope: Envelope) -> str | None:
        """Return the event id; of events that were recorded without, one that is always the same for the same event."""
        if envelope.event_id:
            return envelope.event_id
        if not envelope.timestamp:
            return None
        data = b"" + envelope.data
        return event_id_of(envelope.type, envelope.timestamp, envelope.trace_id or "", envelope.channel or "", data)

    def trace_id(self, trace_id: str) -> str:
        """Return the trace id."""
        return trace_id

    def data(self, type: str, data: bytes) -> bytes:
        """Return the data."""
        return data


class NewIds:
    """Operations, traces and events are new ones, the same new one wherever the old one stands.

    Nothing is remembered: the new ids are computed from the old ones and a mark, so that a recording of any length
    needs no memory.

    Args:
        mark: Tells this playing from every other; random by default.
        now_ns: Returns nanoseconds since 1970.
    """

    def __init__(self, mark: str | None = None, *, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._mark = mark or secrets.token_hex(_MARK_BYTES)
        self._now_ns = now_ns

    def event_id(self, envelope: Envelope) -> str | None:
        """Return a fresh event id."""
        return new_event_id(self._now_ns())

    def trace_id(self, trace_id: str) -> str:
        """Return the new trace id for an old one, as W3C writes them."""
        return hashlib.blake2b(f"{self._mark}:{trace_id}".encode(), digest_size=16).hexdigest()

    def data(self, type: str, data: bytes) -> bytes:
        """Return the data with its operations renamed."""
        return rename_operations(type, data, self.operation_id)

    def operation_id(self, operation_id: str) -> str:
        """Return the new id of an operation: the old one and the mark, behind it, so that prefixes still match."""
        renamed = f"{operation_id}~{self._mark}"
        if len(renamed.encode()) <= MAX_KEY_BYTES:
            return renamed
        return hashlib.blake2b(renamed.encode(), digest_size=16).hexdigest()
