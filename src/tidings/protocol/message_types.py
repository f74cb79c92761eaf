"""The names of the contract: event types, channels, and event classes (docs/protocol/events.md)."""

import warnings
from enum import EnumType, IntEnum, StrEnum

ALIASES = {
    "PIPELINE_START": "OPERATION_START",
    "PIPELINE_PROGRESS": "OPERATION_PROGRESS",
    "PIPELINE_COMPLETE": "OPERATION_COMPLETE",
}
"""Deprecated names of `MessageType` constants, and their current names."""


class _WithAliases(EnumType):
    """Adds the deprecated constant names of the original contract, as aliases of the same members."""

    def __getattr__(cls, name: str) -> "MessageType":
        current = ALIASES.get(name)
        if current is None:
            raise AttributeError(name)
        warnings.warn(f"MessageType.{name} is deprecated; use MessageType.{current}", DeprecationWarning, stacklevel=2)
        return MessageType[current]


class MessageType(StrEnum, metaclass=_WithAliases):
    """The types of the contract's events, as they stand in an envelope's `type`."""

    OPERATION_START = "operation:start"
    OPERATION_PROGRESS = "operation:progress"
    OPERATION_LOG = "operation:log"
    OPERATION_COMPLETE = "operation:complete"
    OPERATION_FAILED = "operation:failed"
    OPERATION_CANCELLED = "operation:cancelled"
    OPERATION_ESTIMATE = "operation:estimate"
    OPERATION_ERROR = "operation:error"
    """The old name of `operation:failed`. Read as `operation:failed`; written only for revision 2025-01-30."""

    DATA_UPDATE = "data:update"
    DATA_PROCESSED = "data:processed"
    DATA_ERROR = "data:error"
    REPORT_READY = "report:ready"

    SYSTEM_STATUS = "system:status"
    SYSTEM_ALERT = "system:alert"
    SYSTEM_METRICS = "system:metrics"

    CONNECTION_ESTABLISHED = "connection:established"
    CONNECTION_CLOSED = "connection:closed"

    AUTH_REQUIRED = "auth:required"
    AUTH_SUCCESS = "auth:success"
    AUTH_FAILED = "auth:failed"
    LICENSE_EXPIRED = "license:expired"


class ChannelType(StrEnum):
    """The built-in channels; an application's contract may add more."""

    GLOBAL = "global"
    OPERATIONS = "operations"
    DATA = "data"
    SYSTEM = "system"


class EventClass(StrEnum):
    """Delivery guarantee of an event type."""

    DURABLE = "durable"
    """Every subscriber receives every event."""
    LATEST = "latest"
    """A newer event of the same channel, type and key supersedes it for subscribers that have not read it yet."""
    DIRECT = "direct"
    """Sent to one connection, and never logged."""


class SlotEffect(IntEnum):
    """Effect of an event on the newest events of its key. The numbers are stored in logs: never change one."""

    REPLACE = 0
    """The event becomes the newest of its (channel, type, key)."""
    CLEAR = 1
    """The event empties its slot: a cleared alert leaves the snapshot."""
    END = 2
    """The event becomes the newest, and all events of its key leave the snapshot soon: a finished operation."""


LEGACY_TYPES: dict[str, MessageType] = {MessageType.OPERATION_ERROR: MessageType.OPERATION_FAILED}
"""Old type names that the hub accepts, and their current types (docs/protocol/events.md, "Old names")."""

RESERVED_DOMAINS = frozenset({"connection", "auth", "channel", "event", "producer", "operation"})
"""Domains in which an application may not declare events."""
