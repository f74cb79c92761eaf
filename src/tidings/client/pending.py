"""Messages to the hub, and cancel requests that wait for its answer."""

from collections.abc import Iterator

import msgspec
from msgspec import Raw, Struct

from tidings.exceptions import AccessError, CommandRefused, NotSupported, OperationUnknown, TidingsError
from tidings.protocol.codes import CODES
from tidings.protocol.messages import Cancel
from tidings.protocol.payloads import ErrorData


class Command(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message to the hub, with its fields in the order of PROTOCOL.md, "Envelope"."""

    type: str
    timestamp: str | None = None
    trace_id: str | None = None
    data: Raw
    channel: str | None = None
    id: str | None = None
    reply_to: str | None = None
    event_id: str | None = None


encode_command = msgspec.json.Encoder().encode


class PendingCancellations:
    """The cancel requests of one client by command id; each connection sends them again within their own time."""

    def __init__(self) -> None:
        self._requests: dict[str, tuple[Cancel, float]] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, id: str, request: Cancel, now: float) -> None:
        """Keep `request` until it is settled."""
        self._requests[id] = (request, now + request.timeout_s)

    def due(self, now: float) -> Iterator[tuple[str, Cancel]]:
        """Yield the requests for a new connection, each with the time that is left.

        A request whose time is up is sent, too: the hub answers it immediately.
        """
        for id, (request, deadline) in self._requests.items():
            yield id, msgspec.structs.replace(request, timeout_s=max(0.0, deadline - now))

    def settle(self, id: str) -> Cancel | None:
        """Forget a request that is answered or abandoned; return it, or None if there is none."""
        pending = self._requests.pop(id, None)
        return None if pending is None else pending[0]


def make_cancel_error(error: ErrorData, request: Cancel) -> TidingsError:
    """Return the exception for the hub's refusal of `request`: a specific one for some codes."""
    hint = error.hint or ""
    if error.code == OperationUnknown.code:
        return OperationUnknown(error.message, operation_id=request.operation_id, hint=hint)
    if error.code == NotSupported.code:
        return NotSupported(error.message, hint=hint)
    return make_access_error(error.code, error.message, hint) or make_refusal(error)


def make_access_error(code: str, message: str, hint: str) -> AccessError | None:
    """Return the exception for a code of access, such as `forbidden`; None for any other."""
    row = CODES.get(code)
    if row is None or not issubclass(row.exception, AccessError):
        return None
    return row.exception(message, hint=hint)


def make_refusal(error: ErrorData) -> CommandRefused:
    """Return the hub's `connection:error` as an exception."""
    return CommandRefused(
        error.message,
        refusal=error.code,
        recoverable=error.recoverable,
        hint=error.hint or "",
        details=error.details or "",
    )
