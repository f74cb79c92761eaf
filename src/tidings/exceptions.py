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
    │   ├── UnknownCommand
    │   ├── InvalidCommand
    │   ├── InvalidParameter          a query parameter or header outside its range
    │   ├── NotSupported              a command or option of the contract that this hub does not serve
    │   └── EventIDReused
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
    │   ├── AddressInUse
    │   └── AddressUnavailable
    ├── ClientError                   seen from a client
    │   ├── HubUnreachable
    │   ├── HandshakeRefused
    │   ├── ConnectionLost
    │   ├── HubClosed                 closed by the hub with a code that forbids coming back
    │   ├── CommandRefused            the hub answered `connection:error`
    │   ├── NotAHub
    │   └── PublishTimeout
    ├── ConfigError
    ├── InvalidContract               an event type that no contract can hold
    └── MissingExtra

Facts are attributes, the sentence is ``str(error)``, the way out is ``error.hint``. The wire code, the HTTP status and
the close code of each stand in one table: `tidings.contract.codes`.
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

    def __init__(self, message: str, *, hint: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return self.message


class ContractError(TidingsError):
    """Something that was sent is not what the contract allows; `path` is its JSON path, "" outside a message."""

    code = "invalid_message"
    usual_path: ClassVar[str] = ""
    """What `path` is unless it is given."""

    def __init__(self, message: str, *, path: str | None = None, hint: str = "", details: str = "") -> None:
        super().__init__(message, hint=hint, details=details)
        self.path = self.usual_path if path is None else path


class InvalidJSON(ContractError):
    """The body is not one JSON value."""

    code = "invalid_json"
    usual_path = "$"


class InvalidUTF8(ContractError):
    """The body holds bytes that are not UTF-8."""

    code = "invalid_utf8"
    usual_path = "$"


class TooDeep(ContractError):
    """The body nests deeper than the limit."""

    code = "too_deep"
    usual_path = "$"


class InvalidEnvelope(ContractError):
    """The body is JSON, but not an envelope."""

    code = "invalid_envelope"
    usual_path = "$"


class BinaryMessage(ContractError):
    """A binary frame arrived where text is spoken."""

    code = "binary_message"
    usual_path = "$"


class InvalidTimestamp(ContractError):
    """The timestamp is not RFC 3339."""

    code = "invalid_timestamp"
    usual_path = "$.timestamp"


class InvalidTraceID(ContractError):
    """The trace id is not 1–128 printable ASCII characters."""

    code = "invalid_trace_id"
    usual_path = "$.trace_id"


class InvalidEventID(ContractError):
    """The event id is not 16–64 printable ASCII characters."""

    code = "invalid_event_id"
    usual_path = "$.event_id"


class UnknownType(ContractError):
    """No event and no command has this name; `suggestion` is the nearest that does, or ""."""

    code = "unknown_type"
    usual_path = "$.type"

    def __init__(self, message: str, *, type: str, suggestion: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.type = type
        self.suggestion = suggestion


class NotPublishable(ContractError):
    """Only the hub writes events of this type."""

    code = "not_publishable"
    usual_path = "$.type"


class InvalidPayload(ContractError):
    """`data` does not fit the type's payload."""

    code = "invalid_payload"
    usual_path = "$.data"


class PayloadTooLarge(ContractError):
    """`data`, or the whole message, is over its limit; `size` and `limit` in bytes."""

    code = "payload_too_large"
    usual_path = "$.data"

    def __init__(self, message: str, *, size: int, limit: int, path: str | None = None, hint: str = "") -> None:
        super().__init__(message, path=path, hint=hint)
        self.size = size
        self.limit = limit


class InvalidKey(ContractError):
    """The key is not 1–255 bytes of UTF-8 without control characters."""

    code = "invalid_key"


class UnknownChannel(ContractError):
    """The contract has no channel of this name."""

    code = "unknown_channel"


class WrongChannel(ContractError):
    """The event may go to its own channel or to `global`, not here."""

    code = "wrong_channel"
    usual_path = "$.channel"


class InvalidPath(ContractError):
    """A subscription path that cannot be read."""

    code = "invalid_path"


class InvalidPosition(ContractError):
    """A position that no log of ours could have written."""

    code = "invalid_position"


class UnknownCommand(ContractError):
    """No command has this name."""

    code = "unknown_command"
    usual_path = "$.type"


class InvalidCommand(ContractError):
    """A command without an id, or whose data does not fit."""

    code = "invalid_command"
    usual_path = "$"


class InvalidParameter(ContractError):
    """A query parameter, header or option outside its range."""

    code = "invalid_parameter"


class NotSupported(ContractError):
    """Something the contract names and this hub does not serve."""

    code = "not_supported"


class EventIDReused(ContractError):
    """The event id was used before with another type or other data; `position` is that event's."""

    code = "event_id_reused"
    usual_path = "$.event_id"

    def __init__(self, message: str, *, position: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.position = position


class RequestError(TidingsError):
    """An HTTP request, or a handshake, that is not served."""

    code = "bad_request"


class NotFound(RequestError):
    """Nothing is at this path."""

    code = "not_found"


class MethodNotAllowed(RequestError):
    """What is at this path does not take this method."""

    code = "method_not_allowed"


class UnsupportedMediaType(RequestError):
    """The body is of a type, or of an encoding, that the hub does not read."""

    code = "unsupported_media_type"


class OriginRefused(RequestError):
    """The request comes from a web page that may not use the hub; `origin` is what it named, or its host."""

    code = "origin_refused"

    def __init__(self, message: str, *, origin: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.origin = origin


class LogError(TidingsError):
    """The log cannot do what was asked of it."""

    code = "log_error"


class LogInUse(LogError):
    """Another process holds the data folder."""

    code = "log_in_use"


class LogForeign(LogError):
    """The file is not a tidings log."""

    code = "log_foreign"


class LogCorrupt(LogError):
    """The file is a tidings log, and damaged."""

    code = "log_corrupt"


class LogTooNew(LogError):
    """The file was written by a newer tidings."""

    code = "log_too_new"


class LogReadOnly(LogError):
    """The data folder or its file cannot be written."""

    code = "log_read_only"


class LogFull(LogError):
    """The disk, or the log's own bound, is full; nothing of the batch was stored."""

    code = "log_full"


class LogBusy(LogError):
    """Too much is unacknowledged already; `retry_after_ms` says when to come again."""

    code = "log_busy"

    def __init__(self, message: str, *, retry_after_ms: int = 1000, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_ms = retry_after_ms


class LogUnavailable(LogError):
    """The log failed while storing the batch; nothing of it was stored."""

    code = "log_unavailable"


class HubError(TidingsError):
    """The hub will not serve this now."""

    code = "hub_error"


class Draining(HubError):
    """The hub is shutting down and takes nothing new."""

    code = "draining"


class TooManyConnections(HubError):
    """The hub's bound on connections is reached."""

    code = "too_many_connections"


class InternalError(HubError):
    """A fault of ours; the cause is chained and logged."""

    code = "internal"


class ServeError(TidingsError):
    """The server cannot start."""

    code = "serve_error"


class AddressInUse(ServeError):
    """Another process listens on that host and port."""

    code = "address_in_use"

    def __init__(self, message: str, *, host: str, port: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.host = host
        self.port = port


class AddressUnavailable(ServeError):
    """That host and port cannot be listened on."""

    code = "address_unavailable"

    def __init__(self, message: str, *, host: str, port: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.host = host
        self.port = port


class ClientError(TidingsError):
    """Something a client sees."""

    code = "client_error"


class HubUnreachable(ClientError):
    """No TCP connection, or none in time, to the hub's address."""

    code = "hub_unreachable"


class HandshakeRefused(ClientError):
    """Something answered, and refused the WebSocket upgrade; `status` is its HTTP status."""

    code = "handshake_refused"

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ConnectionLost(ClientError):
    """The connection went away before the answer came."""

    code = "connection_lost"


class HubClosed(ClientError):
    """The hub closed the connection with a code that forbids coming back; `close_code` is that code."""

    code = "hub_closed"

    def __init__(self, message: str, *, close_code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.close_code = close_code


class CommandRefused(ClientError):
    """The hub refused a command or an event; `refusal` is its code, `recoverable` its word on trying again."""

    code = "command_refused"

    def __init__(self, message: str, *, refusal: str, recoverable: bool, hint: str = "", details: str = "") -> None:
        super().__init__(message, hint=hint, details=details)
        self.refusal = refusal
        self.recoverable = recoverable


class NotAHub(ClientError):
    """A WebSocket server answered that does not speak tidings."""

    code = "not_a_hub"


class PublishTimeout(ClientError):
    """No acknowledgement within the time given; the event may or may not be in the log."""

    code = "publish_timeout"


class ConfigError(TidingsError):
    """An option that cannot be used; `option` names it and `source` says where it came from."""

    code = "invalid_config"

    def __init__(self, message: str, *, option: str = "", source: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.option = option
        self.source = source


class InvalidContract(TidingsError):
    """An event type that no contract can hold; `type` is its name."""

    code = "invalid_contract"

    def __init__(self, message: str, *, type: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.type = type


class MissingExtra(TidingsError):
    """A part of tidings whose libraries are not installed; the hint is the install line."""

    code = "missing_extra"

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message, hint=f"pip install 'tidings[{extra}]'")
        self.extra = extra
