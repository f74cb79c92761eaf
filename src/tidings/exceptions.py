"""Every error that tidings raises, in one tree.

::

    TidingsError
    ├── ContractError                 a message that the contract does not allow
    │   ├── InvalidJSON               not JSON, or not one JSON value
    │   ├── InvalidUTF8               bytes that are not UTF-8, even in a member that is ignored
    │   ├── TooDeep                   more than 64 levels of nesting
    │   ├── InvalidEnvelope           JSON, but not an envelope
    │   ├── BinaryMessage             a binary frame; messages are text
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
    │   ├── LimitExceeded             one connection asks for more than the hub keeps for it
    │   └── EventIDReused
    ├── OperationError                an event that the operation's state does not allow
    │   ├── OperationUnknown
    │   ├── OperationExists           the operation is live, in another attempt or with another producer
    │   ├── OperationFinished
    │   └── OperationFenced           from an attempt that has ended, or not from the holder
    ├── RequestError                  an HTTP request, or a handshake, that the hub rejects
    │   ├── NotFound
    │   ├── MethodNotAllowed
    │   ├── UnsupportedMediaType      a body that is neither JSON nor NDJSON
    │   ├── RequestTimeout            a body that does not arrive
    │   ├── UrlTooLong
    │   ├── HeadTooLarge              more, or longer, headers than the hub accepts
    │   ├── UpgradeRequired           a plain request to the WebSocket's path, or an unknown WebSocket version
    │   └── OriginRefused             a web page of a foreign origin, or an untrusted host name
    ├── LogError                      the log cannot serve a request
    │   ├── LogInUse
    │   ├── LogForeign                the file is not a tidings log
    │   ├── LogCorrupt
    │   ├── LogTooNew
    │   ├── LogReadOnly
    │   ├── LogFull
    │   ├── LogBusy
    │   └── LogUnavailable
    ├── HubError
    │   ├── Draining
    │   ├── TooManyConnections
    │   ├── RateLimited               a client that sends more than the hub serves for one connection
    │   ├── Overloaded                the hub drops a client to keep its memory bounded
    │   ├── JobOverdue                a recurring job of the hub no longer runs
    │   └── InternalError
    ├── ServeError                    the server cannot start
    │   └── AddressUnavailable
    │       └── AddressInUse
    ├── ClientError                   raised by clients
    │   ├── HubUnreachable
    │   ├── HandshakeRefused
    │   ├── ConnectionLost
    │   ├── HubClosed                 closed by the hub with a code that forbids reconnecting
    │   ├── CommandRefused            the hub replied `connection:error`
    │   ├── NotAHub
    │   └── PublishTimeout
    ├── OperationCancelled            raised in a job whose operation is cancelled
    ├── ConfigError
    ├── InvalidContract               an event type that no contract can hold
    └── MissingExtra

Facts are attributes, the sentence is ``str(error)``, the remedy is ``error.hint``. The wire code, the HTTP status and
the close code of each error stand in one table: `tidings.protocol.codes`.
"""

from typing import ClassVar


class TidingsError(Exception):
    """Base class of all errors that tidings raises on purpose.

    Attributes:
        code: The snake_case code on the wire (docs/protocol/codes.md).
        message: Description of the error, in one sentence.
        hint: Suggested remedy; "" where the hint of the code's row in the table is enough.
        details: Further facts for a log, or "".
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
    """A message that the contract does not allow; `path` is the JSON path of the fault, "" outside a message."""

    usual_path: ClassVar[str] = ""
    """Default of `path`."""

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
    """The message is a binary frame; messages are text."""


class InvalidTimestamp(ContractError, code="invalid_timestamp", path="$.timestamp"):
    """The timestamp is not RFC 3339."""


class InvalidTraceID(ContractError, code="invalid_trace_id", path="$.trace_id"):
    """The trace id is not 1–128 printable ASCII characters."""


class InvalidEventID(ContractError, code="invalid_event_id", path="$.event_id"):
    """The event id is not 16–64 printable ASCII characters."""


class UnknownType(ContractError, code="unknown_type", path="$.type"):
    """No event and no command has this name; `suggestion` is the nearest existing name, or ""."""

    def __init__(self, message: str, *, type: str, suggestion: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.type = type
        self.suggestion = suggestion


class NotPublishable(ContractError, code="not_publishable", path="$.type"):
    """Only the hub writes events of this type."""


class InvalidPayload(ContractError, code="invalid_payload", path="$.data"):
    """`data` does not fit the type's payload."""


class PayloadTooLarge(ContractError, code="payload_too_large", path="$.data"):
    """`data`, or the whole message, is over its limit; `size` and `limit` are in bytes."""

    def __init__(self, message: str, *, size: int, limit: int, path: str | None = None, hint: str = "") -> None:
        super().__init__(message, path=path, hint=hint)
        self.size = size
        self.limit = limit


class InvalidKey(ContractError, code="invalid_key"):
    """The key is not 1–255 bytes of UTF-8 without control characters."""


class UnknownChannel(ContractError, code="unknown_channel"):
    """The contract has no channel of this name."""


class WrongChannel(ContractError, code="wrong_channel", path="$.channel"):
    """The event may go to the channel of its type or to `global`, not to this channel."""


class InvalidPath(ContractError, code="invalid_path"):
    """The subscription path is not valid."""


class InvalidPosition(ContractError, code="invalid_position"):
    """The start of reading is not valid, or its position not from this log."""


class InvalidCommand(ContractError, code="invalid_command", path="$"):
    """The command has no id, or its data does not fit."""


class InvalidParameter(ContractError, code="invalid_parameter"):
    """A query parameter, header or option is not valid."""


class NotSupported(ContractError, code="not_supported"):
    """A command or option of the contract that this hub does not serve."""


class LimitExceeded(ContractError, code="limit_exceeded"):
    """One connection asks for more than the hub keeps for it."""


class EventIDReused(ContractError, code="event_id_reused", path="$.event_id"):
    """An earlier event with this id has another type or other data; `position` is that of the earlier event."""

    def __init__(self, message: str, *, position: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.position = position


class OperationError(TidingsError, code="operation_error"):
    """The state of the operation does not allow the event; `attempt` is the current attempt, 0 where there is none."""

    def __init__(self, message: str, *, operation_id: str, attempt: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.operation_id = operation_id
        self.attempt = attempt


class OperationUnknown(OperationError, code="operation_unknown"):
    """The hub has no operation with this id."""


class OperationExists(OperationError, code="operation_exists"):
    """The operation is live, and the event would start it again."""


class OperationFinished(OperationError, code="operation_finished"):
    """The attempt has ended: an attempt has exactly one end, and no event follows it."""


class OperationFenced(OperationError, code="operation_fenced"):
    """The event names an attempt that has ended or not started, or its sender does not hold the operation."""


class RequestError(TidingsError, code="bad_request"):
    """An HTTP request, or a handshake, that the hub rejects."""


class NotFound(RequestError, code="not_found"):
    """The hub has no route for this path."""


class MethodNotAllowed(RequestError, code="method_not_allowed"):
    """The route does not accept this method."""


class UnsupportedMediaType(RequestError, code="unsupported_media_type"):
    """The body has a content type, or an encoding, that the hub does not read."""


class RequestTimeout(RequestError, code="request_timeout"):
    """The body of the request did not arrive in time."""


class UrlTooLong(RequestError, code="url_too_long"):
    """The URL of the request is over its limit."""


class HeadTooLarge(RequestError, code="head_too_large"):
    """The headers of the request are over their limits."""


class UpgradeRequired(RequestError, code="upgrade_required"):
    """The path is the WebSocket's, and the request is not a handshake of WebSocket version 13."""


class OriginRefused(RequestError, code="origin_refused"):
    """The request comes from a web page that may not use the hub; `origin` is the page's origin, or the host name."""

    def __init__(self, message: str, *, origin: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.origin = origin


class LogError(TidingsError, code="log_error"):
    """The log cannot serve a request."""


class LogInUse(LogError, code="log_in_use"):
    """Another process holds the data folder."""


class LogForeign(LogError, code="log_foreign"):
    """The file is not a tidings log."""


class LogCorrupt(LogError, code="log_corrupt"):
    """The file is a damaged tidings log."""


class LogTooNew(LogError, code="log_too_new"):
    """A newer version of tidings wrote the file."""


class LogReadOnly(LogError, code="log_read_only"):
    """The data folder, or a file in it, is not writable."""


class LogFull(LogError, code="log_full"):
    """The disk is full, or the log has reached its limit; no event of the batch was stored."""


class LogBusy(LogError, code="log_busy"):
    """Too many events are unacknowledged; retry after `retry_after_ms`."""

    def __init__(self, message: str, *, retry_after_ms: int = 1000, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_ms = retry_after_ms


class LogUnavailable(LogError, code="log_unavailable"):
    """The log failed while storing the batch; no event of it was stored."""


class HubError(TidingsError, code="hub_error"):
    """The hub cannot serve the request now."""


class Draining(HubError, code="draining"):
    """The hub is shutting down and accepts nothing new."""


class TooManyConnections(HubError, code="too_many_connections"):
    """The hub has reached its limit of connections."""


class RateLimited(HubError, code="rate_limited"):
    """The client sends more refused messages, Pings or small fragments than the hub serves for one connection."""


class Overloaded(HubError, code="overloaded"):
    """The hub keeps too many incomplete messages, and dropped the largest."""


class JobOverdue(HubError, code="job_overdue"):
    """A recurring job of the hub has not run for three of its intervals."""

    def __init__(self, message: str, *, job: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.job = job


class InternalError(HubError, code="internal"):
    """A fault in tidings; the cause is chained and logged."""


class ServeError(TidingsError, code="serve_error"):
    """The server cannot start."""


class AddressUnavailable(ServeError, code="address_unavailable"):
    """The server cannot listen on this host and port."""

    def __init__(self, message: str, *, host: str, port: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.host = host
        self.port = port


class AddressInUse(AddressUnavailable, code="address_in_use"):
    """Another process listens on this host and port."""


class ClientError(TidingsError, code="client_error"):
    """Base class of the errors that clients raise."""


class HubUnreachable(ClientError, code="hub_unreachable"):
    """The client could not open a TCP connection to the hub in time."""


class HandshakeRefused(ClientError, code="handshake_refused"):
    """The server refused the WebSocket upgrade; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class ConnectionLost(ClientError, code="connection_lost"):
    """The connection was lost before the reply came."""


class HubClosed(ClientError, code="hub_closed"):
    """The hub closed the connection with `close_code`, which forbids reconnecting."""

    def __init__(self, message: str, *, close_code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.close_code = close_code


class CommandRefused(ClientError, code="command_refused"):
    """The hub refused a command or an event; `refusal` is the code, `recoverable` whether a retry may succeed."""

    def __init__(self, message: str, *, refusal: str, recoverable: bool, hint: str = "", details: str = "") -> None:
        super().__init__(message, hint=hint, details=details)
        self.refusal = refusal
        self.recoverable = recoverable


class NotAHub(ClientError, code="not_a_hub"):
    """The WebSocket server is not a tidings hub."""


class PublishTimeout(ClientError, code="publish_timeout"):
    """No acknowledgement came in time; the event `event_id` may or may not be in the log."""

    def __init__(self, message: str, *, event_id: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.event_id = event_id


class OperationCancelled(TidingsError, code="cancelled"):
    """The operation that this code reports on is cancelled; `reason` and `cancelled_by` may be ""."""

    def __init__(self, message: str, *, reason: str = "", cancelled_by: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.cancelled_by = cancelled_by


class ConfigError(TidingsError, code="invalid_config"):
    """An option is not valid; `option` is its name and `source` the place where it is set."""

    def __init__(self, message: str, *, option: str = "", source: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.option = option
        self.source = source


class InvalidContract(TidingsError, code="invalid_contract"):
    """The event type `type` cannot be part of a contract."""

    def __init__(self, message: str, *, type: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.type = type


class MissingExtra(TidingsError, code="missing_extra"):
    """The libraries of the extra `extra` are not installed.

    The hint is one command for every extra, so that it leads to no second hint.
    """

    def __init__(self, message: str, *, extra: str) -> None:
        super().__init__(message, hint="pip install 'tidings[all]'")
        self.extra = extra
