"""Errors of messages: what the contract or the state of an operation does not allow."""

from typing import ClassVar

from tidings.exceptions.base import TidingsError


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
    """A client asks for more than the hub keeps for one client, or for all."""


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
