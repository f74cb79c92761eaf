"""Every error that tidings raises, in one tree.

::

    TidingsError
    ├── ContractError                 what was sent is not what the contract allows
    │   ├── InvalidJSON               not JSON, or not one JSON value
    │   ├── InvalidUTF8               bytes that are no UTF-8, even in a member we would skip
    │   ├── TooDeep                   more than 64 levels of nesting
    │   ├── InvalidEnvelope           JSON, but not an envelope
    │   ├── BinaryMessage             a binary frame; tidings speaks text
    │   ├── InvalidTimestamp
    │   ├── InvalidTraceID
    │   ├── InvalidEventID
    │   ├── UnknownType
    │   ├── NotPublishable            a type that only the hub writes
    │   ├── InvalidPayload            `data` does not fit its type
    │   ├── PayloadTooLarge
    │   ├── InvalidKey
    │   ├── UnknownChannel
    │   ├── WrongChannel              neither the type's own channel nor `global`
    │   ├── InvalidPath
    │   ├── InvalidPosition
    │   ├── InvalidCommand
    │   ├── InvalidParameter          a query parameter or header outside its range
    │   ├── NotSupported              a command or option of the contract that this hub does not serve
    │   └── EventIDReused
    ├── OperationError                what an operation's life does not allow
    │   ├── OperationUnknown
    │   ├── OperationExists           it is live, and another producer's or another attempt's
    │   ├── OperationFinished
    │   └── OperationFenced           from an attempt that is over, or not from its holder
    ├── RequestError                  an HTTP request, or a handshake, that is not served
    │   ├── NotFound
    │   ├── MethodNotAllowed
    │   ├── UnsupportedMediaType      a body that is neither JSON nor NDJSON
    │   └── OriginRefused             a web page of a foreign origin, or a host name that may be a trap
    ├── LogError                      the log cannot do what was asked
    │   ├── LogInUse
    │   ├── LogForeign                the file is no log of ours
    │   ├── LogCorrupt
    │   ├── LogTooNew
    │   ├── LogReadOnly
    │   ├── LogFull
    │   ├── LogBusy
    │   └── LogUnavailable
    ├── HubError
    │   ├── Draining
    │   ├── TooManyConnections
    │   └── InternalError
    ├── ServeError                    the server cannot start
    │   └── AddressUnavailable
    │       └── AddressInUse
    ├── ClientError                   seen from a client
    │   ├── HubUnreachable
    │   ├── HandshakeRefused
    │   ├── ConnectionLost
    │   ├── HubClosed                 closed by the hub with a code that forbids coming back
    │   ├── CommandRefused            the hub answered `connection:error`
    │   ├── NotAHub
    │   └── PublishTimeout
    ├── OperationCancelled            raised in a job whose operation somebody cancels
    ├── ConfigError
    ├── InvalidContract               an event type that no contract can hold
    └── MissingExtra

Facts are attributes, the sentence is ``str(error)``, the way out is ``error.hint``. The wire code, the HTTP status and
the close code of each stand in one table: `tidings.protocol.codes`.
"""

from typing import ClassVar


class TidingsError(Exception):
    """The root of everything tidings raises on purpose.

    Attributes:
        code: The snake_case code on the wire (CONTRACT §7).
        message: What happened, in one sentence.
        hint: What to do about it; "" where the table's own hint for the code says enough.
        details: More facts for a log, or "".
    """

    code: ClassVar[str] = "internal"

    def __init_subclass__(cls, *, code: str = "", **more: str) -> None:
        super().__init_subclass__(**more)
        cls.code = code or cls.code

    def __init__(self, message: str, *, hint: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return self.message


class ContractError(TidingsError, code="invalid_message"):
    """Something that was sent is not what the contract allows; `path` is its JSON path, "" outside a message."""

    usual_path: ClassVar[str] = ""
    """What `path` is unless it is given."""

    def __init_subclass__(cls, *, path: str = "", **more: str) -> None:
        super().__init_subclass__(**more)
        cls.usual_path = path or cls.usual_path

    def __init__(self, message: str, *, path: str | None = None, hint: str = "", details: str = "") -> None:
        super().__init__(message, hint=hint, details=details)
        self.path = self.usual_path if path is None else path


class InvalidJSON(ContractError, code="invalid_json", path="$"):
    """The body is not one JSON value."""


class InvalidUTF8(ContractError, code="invalid_utf8", path="$"):
    """The body holds bytes that are not UTF-8."""


class TooDeep(ContractError, code="too_deep", path="$"):
    """The body nests deeper than the limit."""


class InvalidEnvelope(ContractError, code="invalid_envelope", path="$"):
    """The body is JSON, but not an envelope."""


class BinaryMessage(ContractError, code="binary_message", path="$"):
    """A binary frame arrived where text is spoken."""


class InvalidTimestamp(ContractError, code="invalid_timestamp", path="$.timestamp"):
    """The timestamp is not RFC 3339."""


class InvalidTraceID(ContractError, code="invalid_trace_id", path="$.trace_id"):
    """The trace id is not 1–128 printable ASCII characters."""


class InvalidEventID(ContractError, code="invalid_event_id", path="$.event_id"):
    """The event id is not 16–64 printable ASCII characters."""


class UnknownType(ContractError, code="unknown_type", path="$.type"):
    """No event and no command has this name; `suggestion` is the nearest that does, or ""."""

    def __init__(self, message: str, *, type: str, suggestion: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.type = type
        self.suggestion = suggestion


class NotPublishable(ContractError, code="not_publishable", path="$.type"):
    """Only the hub writes events of this type."""


class InvalidPayload(ContractError, code="invalid_payload", path="$.data"):
    """`data` does not fit the type's payload."""


class PayloadTooLarge(ContractError, code="payload_too_large", path="$.data"):
    """`data`, or the whole message, is over its limit; `size` and `limit` in bytes."""

    def __init__(self, message: str, *, size: int, limit: int, path: str | None = None, hint: str = "") -> None:
        super().__init__(message, path=path, hint=hint)
        self.size = size
        self.limit = limit


class InvalidKey(ContractError, code="invalid_key"):
    """The key is not 1–255 bytes of UTF-8 without control characters."""


class UnknownChannel(ContractError, code="unknown_channel"):
    """The contract has no channel of this name."""


class WrongChannel(ContractError, code="wrong_channel", path="$.channel"):
    """The event may go to its own channel or to `global`, not here."""


class InvalidPath(ContractError, code="invalid_path"):
    """A subscription path that cannot be read."""


class InvalidPosition(ContractError, code="invalid_position"):
    """A position that no log of ours could have written."""


class InvalidCommand(ContractError, code="invalid_command", path="$"):
    """A command without an id, or whose data does not fit."""


class InvalidParameter(ContractError, code="invalid_parameter"):
    """A query parameter, header or option outside its range."""


class NotSupported(ContractError, code="not_supported"):
    """Something the contract names and this hub does not serve."""


class EventIDReused(ContractError, code="event_id_reused", path="$.event_id"):
    """The event id was used before with another type or other data; `position` is that event's."""

    def __init__(self, message: str, *, position: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.position = position


class OperationError(TidingsError, code="operation_error"):
    """What the life of an operation does not allow; `attempt` is its present one, 0 where there is none."""

    def __init__(self, message: str, *, operation_id: str, attempt: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.operation_id = operation_id
        self.attempt = attempt


class OperationUnknown(OperationError, code="operation_unknown"):
    """The hub knows no operation of this id."""


class OperationExists(OperationError, code="operation_exists"):
    """The operation is live, and what was sent would begin it again."""


class OperationFinished(OperationError, code="operation_finished"):
    """The attempt has ended: it has exactly one end, and nothing comes after it."""


class OperationFenced(OperationError, code="operation_fenced"):
    """The event is of an attempt that is over or has not begun, or its sender does not hold the operation."""


class RequestError(TidingsError, code="bad_request"):
    """An HTTP request, or a handshake, that is not served."""


class NotFound(RequestError, code="not_found"):
    """Nothing is at this path."""


class MethodNotAllowed(RequestError, code="method_not_allowed"):
    """What is at this path does not take this method."""


class UnsupportedMediaType(RequestError, code="unsupported_media_type"):
    """The body is of a type, or of an encoding, that the hub does not read."""


class OriginRefused(RequestError, code="origin_refused"):
    """The request comes from a web page that may not use the hub; `origin` is what it named, or its host."""

    def __init__(self, message: str, *, origin: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.origin = origin


class LogError(TidingsError, code="log_error"):
    """The log cannot do what was asked of it."""


class LogInUse(LogError, code="log_in_use"):
    """Another process holds the data folder."""


class LogForeign(LogError, code="log_foreign"):
    """The file is not a tidings log."""


class LogCorrupt(LogError, code="log_corrupt"):
    """The file is a tidings log, and damaged."""


class LogTooNew(LogError, code="log_too_new"):
    """The file was written by a newer tidings."""


class LogReadOnly(LogError, code="log_read_only"):
    """The data folder or its file cannot be written."""


class LogFull(LogError, code="log_full"):
    """The disk, or the log's own bound, is full; nothing of the batch was stored."""


class LogBusy(LogError, code="log_busy"):
    """Too much is unacknowledged already; `retry_after_ms` says when to come again."""

    def __init__(self, message: str, *, retry_after_ms: int = 1000, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_ms = retry_after_ms


class LogUnavailable(LogError, code="log_unavailable"):
    """The log failed while storing the batch; nothing of it was stored."""


class HubError(TidingsError, code="hub_error"):
    """The hub will not serve this now."""


class Draining(HubError, code="draining"):
    """The hub is shutting down and takes nothing new."""


class TooManyConnections(HubError, code="too_many_connections"):
    """The hub's bound on connections is reached."""


class InternalError(HubError, code="internal"):
    """A fault of ours; the cause is chained and logged."""


class ServeError(TidingsError, code="serve_error"):
    """The server cannot start."""


class AddressUnavailable(ServeError, code="address_unavailable"):
    """That host and port cannot be listened on."""

    def __init__(self, message: str, *, host: str, port: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.host = host
        self.port = port


class AddressInUse(AddressUnavailable, code="address_in_use"):
    """Another process listens on that host and port."""


class ClientError(TidingsError, code="client_error"):
    """Something a client sees."""


class HubUnreachable(ClientError, code="hub_unreachable"):
    """No TCP connection, or none in time, to the hub's address."""


class HandshakeRefused(ClientError, code="handshake_refused"):
    """Something answered, and refused the WebSocket upgrade; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ConnectionLost(ClientError, code="connection_lost"):
    """The connection went away before the answer came."""


class HubClosed(ClientError, code="hub_closed"):
    """The hub closed the connection with a code that forbids coming back; `close_code` is that code."""

    def __init__(self, message: str, *, close_code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.close_code = close_code


class CommandRefused(ClientError, code="command_refused"):
    """The hub refused a command or an event; `refusal` is its code, `recoverable` its word on trying again."""

    def __init__(self, message: str, *, refusal: str, recoverable: bool, hint: str = "", details: str = "") -> None:
        super().__init__(message, hint=hint, details=details)
        self.refusal = refusal
        self.recoverable = recoverable


class NotAHub(ClientError, code="not_a_hub"):
    """A WebSocket server answered that does not speak tidings."""


class PublishTimeout(ClientError, code="publish_timeout"):
    """No acknowledgement within the time given; the event of `event_id` may or may not be in the log."""

    def __init__(self, message: str, *, event_id: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.event_id = event_id


class OperationCancelled(TidingsError, code="cancelled"):
    """Somebody cancels the operation that this code reports on; `reason` and `cancelled_by` are theirs, or ""."""

    def __init__(self, message: str, *, reason: str = "", cancelled_by: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.cancelled_by = cancelled_by


class ConfigError(TidingsError, code="invalid_config"):
    """An option that cannot be used; `option` names it and `source` says where it came from."""

    def __init__(self, message: str, *, option: str = "", source: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.option = option
        self.source = source


class InvalidContract(TidingsError, code="invalid_contract"):
    """An event type that no contract can hold; `type` is its name."""

    def __init__(self, message: str, *, type: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.type = type


class MissingExtra(TidingsError, code="missing_extra"):
    """A part of tidings whose libraries are not installed; the hint is the install line."""

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message, hint=f"pip install 'tidings[{extra}]'")
        self.extra = extra
