"""The payload of each event, as a struct (CONTRACT §3).

Fields with a default may be absent when read. When written, those that the contract marks with ``?`` are left out
where they hold their default; the others have a `default_factory`, which msgspec always writes. Limits are in the
annotations, so that one decode checks type, range and presence at once. Unknown members are ignored here and forwarded
by the hub untouched.
"""

from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

# One integer that Go's int64 cannot hold would end the connection of every reader in Go.
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What Go's int64 holds."""
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A number of things."""
Percent = Annotated[float, Meta(ge=0, le=100)]
Milliseconds = Annotated[float, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
Code = Annotated[str, Meta(min_length=1, max_length=128)]
LogLevel = Literal["debug", "info", "warning", "error", "critical"]


class Payload(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The base of all payloads."""


def encode_payload(payload: Struct) -> bytes:
    """Return `payload` as JSON, as Go writes it: fields that may be absent are left out where they are empty."""
    empty = {name: None for name in _nullable(type(payload)) if getattr(payload, name) in _EMPTY}
    return msgspec.json.encode(msgspec.structs.replace(payload, **empty) if empty else payload)


_EMPTY: tuple[object, ...] = ("", [], {})


@cache
def _nullable(payload_type: type[Struct]) -> tuple[str, ...]:
    return tuple(fact.name for fact in msgspec.structs.fields(payload_type) if fact.default is None)


class ErrorData(Payload, frozen=True, kw_only=True):
    """An error as every part of the contract tells it."""

    code: Code
    """What kind of error: ours are snake_case from one table, an application's are its own."""
    message: str
    """What happened."""
    details: str | None = None
    """More for a log: a stack, the last lines of output."""
    recoverable: bool
    """Whether trying again may help."""
    hint: str | None = None
    """What to do about it (guideline 7)."""


class OperationStartData(Payload, frozen=True, kw_only=True):
    """Sent by a producer when an operation begins, or is accepted and queued."""

    operation_id: str
    name: str = field(default_factory=str)
    """What a person calls it; runs of one name are compared with each other."""
    attempt: Count | None = None
    """1 for the first; absent means "the next one"."""
    total_steps: Count | None = None
    steps: list[str] | None = None
    """The names of the steps, in order."""
    queued: bool = False
    """True: accepted, not begun."""
    parent_id: str | None = None
    resumes: str | None = None
    """The operation, or attempt, that this one takes up again."""
    host: str | None = None
    pid: Count | None = None
    command: str | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None


class OperationProgressData(Payload, frozen=True, kw_only=True):
    """Sent by a producer as often as it likes: only the newest matters."""

    operation_id: str
    progress: Percent
    """0–100."""
    # The source writes these two always; a publisher that left them out is read kindly, and `Contract` fills them in.
    current_step: str = field(default_factory=str)
    total_steps: Count = field(default_factory=int)
    """0 where it is not known."""
    message: str | None = None
    attempt: Count | None = None
    indeterminate: bool = False
    """True: alive, and nobody knows how much is left."""


class OperationLogData(Payload, frozen=True, kw_only=True):
    """Sent by a producer for a line worth keeping: conflated progress must not swallow messages."""

    operation_id: str
    level: LogLevel = field(default_factory=lambda: "info")
    message: str
    attempt: Count | None = None


class OperationCompleteData(Payload, frozen=True, kw_only=True):
    """Sent by a producer when an operation ended well."""

    operation_id: str
    attempt: Count | None = None
    message: str | None = None
    duration_ms: Milliseconds | None = None
    result: Any = None


class OperationFailedData(Payload, frozen=True, kw_only=True):
    """Sent by a producer when an operation ended badly; a reader of plain ErrorData understands it."""

    operation_id: str | None = None
    """Absent from a writer of plain ErrorData: the event then has no key."""
    attempt: Count | None = None
    code: Code
    message: str
    details: str | None = None
    recoverable: bool
    hint: str | None = None


class OperationCancelledData(Payload, frozen=True, kw_only=True):
    """Sent by a producer when an operation ended because somebody wanted it to."""

    operation_id: str
    attempt: Count | None = None
    reason: str | None = None
    cancelled_by: str | None = None


class OperationEstimateData(Payload, frozen=True, kw_only=True):
    """Written by the hub: how long a running operation will still take."""

    operation_id: str
    rate: float | None = None
    """Percent a second."""
    remaining_s: Seconds | None = None
    remaining_low_s: Seconds | None = None
    remaining_high_s: Seconds | None = None
    stalled: bool
    """Alive, and not advancing."""


class DataUpdateData(Payload, frozen=True, kw_only=True):
    """Sent when new data is available."""

    dataset: str | None = None
    version: str | int | None = None
    records: Count | None = None
    url: str | None = None
    metadata: dict[str, Any] | None = None


class DataProcessedData(Payload, frozen=True, kw_only=True):
    """Sent when data has been processed."""

    dataset: str | None = None
    records: Count | None = None
    duration_ms: Milliseconds | None = None
    url: str | None = None
    metadata: dict[str, Any] | None = None


class DataErrorData(Payload, frozen=True, kw_only=True):
    """Sent when processing data failed: a dataset and ErrorData at the same level."""

    dataset: str | None = None
    code: Code
    message: str
    details: str | None = None
    recoverable: bool
    hint: str | None = None


class ReportReadyData(Payload, frozen=True, kw_only=True):
    """Sent when a report can be fetched."""

    report_id: str | None = None
    name: str | None = None
    url: str | None = None
    format: str | None = None
    size_bytes: Count | None = None
    expires_at: str | None = None
    """RFC 3339."""


class SystemStatusData(Payload, frozen=True, kw_only=True):
    """Sent by a system, the hub among them, to say how it is."""

    status: Annotated[str, Meta(min_length=1)]
    """`healthy`, `degraded`, `unhealthy`, or a word of its own."""
    uptime: Int64
    """Whole seconds."""
    active_operations: Int64
    metrics: dict[str, float] | None
    """By name; Go writes null for an empty map."""
    source: str | None = None
    """Which system; the hub's own is "tidings"."""


class SystemAlertData(Payload, frozen=True, kw_only=True):
    """Sent when something needs a person, and again when it no longer does."""

    alert_id: str | None = None
    """Default: the code, with the operation where there is one."""
    severity: Literal["info", "warning", "critical"]
    state: Literal["raised", "cleared"] | None = None
    """Absent means raised; a cleared alert leaves the snapshot."""
    operation_id: str | None = None
    code: Code
    message: str
    details: str | None = None
    recoverable: bool
    hint: str | None = None


class SystemMetricsData(Payload, frozen=True, kw_only=True):
    """Sent by a system for its figures over a window."""

    source: str | None = None
    window_s: Seconds | None = None
    metrics: dict[str, float] | None


class LicenseExpiredData(Payload, frozen=True, kw_only=True):
    """Written by the hub when its license has expired."""

    expired_at: str | None = None
    """RFC 3339."""
    license_id: str | None = None
    message: str | None = None
    hint: str | None = None


class ContractIdentity(Payload, frozen=True, kw_only=True):
    """Which contract a hub speaks."""

    version: str
    """The revision's date."""
    hash: str
    """Of everything a client can see of the contract; equal hashes mean equal contracts."""


class ConnectionEstablished(Payload, frozen=True, kw_only=True):
    """Sent by the hub as the first thing on a connection."""

    connection_id: str
    contract: ContractIdentity
    position: str
    """The log's head."""
    now: str
    """The hub's clock, RFC 3339."""
    heartbeat_s: float
    """Silence longer than two of these means the connection is gone."""
    channels: list[str]
    """Those this connection may read."""
    auth: str
    """`none`, `required`, or the subject."""


class ConnectionClosed(Payload, frozen=True, kw_only=True):
    """Sent by the hub just before it closes a connection."""

    code: int
    """The close code that follows."""
    reason: str
    reconnect: bool
    """Whether coming back makes sense."""
    retry_after_ms: Count | None = None


class AuthRequired(Payload, frozen=True, kw_only=True):
    """Sent by the hub when a connection must name itself."""

    methods: list[str]
    reason: str
    deadline_s: Seconds


class AuthSuccess(Payload, frozen=True, kw_only=True):
    """Sent by the hub when a token was good."""

    subject: str
    grants: list[str]
    expires_at: str | None = None
    """RFC 3339."""


class AuthFailed(ErrorData, frozen=True, kw_only=True):
    """Sent by the hub when a token was not good."""
