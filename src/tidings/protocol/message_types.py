"""The names of the contract: message types, channels, and the classes of events (CONTRACT §2–3)."""

import warnings
from enum import EnumType, IntEnum, StrEnum

ALIASES = {
    "PIPELINE_START": "OPERATION_START",
    "PIPELINE_PROGRESS": "OPERATION_PROGRESS",
    "PIPELINE_COMPLETE": "OPERATION_COMPLETE",
}
"""Deprecated names of constants, and what they are called now."""


class _WithAliases(EnumType):
    """Adds the source contract's deprecated constant names, which are the very same members."""

    def __getattr__(cls, name: str) -> "MessageType":
        current = ALIASES.get(name)
        if current is None:
            raise AttributeError(name)
        warnings.warn(f"MessageType.{name} is deprecated; use MessageType.{current}", DeprecationWarning, stacklevel=2)
        return MessageType[current]


class MessageType(StrEnum, metaclass=_WithAliases):
    """The type of an envelope: every event of the contract."""

    OPERATION_START = "operation:start"
    OPERATION_PROGRESS = "operation:progress"
    OPERATION_LOG = "operation:log"
    OPERATION_COMPLETE = "operation:complete"
    OPERATION_FAILED = "operation:failed"
    OPERATION_CANCELLED = "operation:cancelled"
    OPERATION_ESTIMATE = "operation:estimate"
    OPERATION_ERROR = "operation:error"
    """The old name of `operation:failed`: read as that, written only for the revision 2025-01-30."""

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
    """The channels of the source contract; an application's contract may add more."""

    GLOBAL = "global"
    OPERATIONS = "operations"
    DATA = "data"
    SYSTEM = "system"


class EventClass(StrEnum):
    """What may happen to an event before a subscriber reads it."""

    DURABLE = "durable"
    """Never skipped."""
    LATEST = "latest"
    """Superseded, for whoever has not read it yet, by a newer one of the same channel, type and key."""
    DIRECT = "direct"
    """To one connection, never logged."""


class SlotEffect(IntEnum):
    """What an event does to the newest events of its key. The numbers are stored in logs: never change one."""

    REPLACE = 0
    """It becomes the newest of its (channel, type, key)."""
    CLEAR = 1
    """It empties its slot: a cleared alert leaves the snapshot."""
    END = 2
    """It becomes the newest, and all of its key's leave the snapshot soon: a finished operation."""


LEGACY_TYPES: dict[str, MessageType] = {MessageType.OPERATION_ERROR: MessageType.OPERATION_FAILED}
"""Old names that are accepted on input, and what they are read as (CONTRACT §3, Legacy)."""

RESERVED_DOMAINS = frozenset({"connection", "auth", "channel", "event", "producer", "operation"})
"""Domains in which an application may declare no event of its own."""
