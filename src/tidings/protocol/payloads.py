"""The payload of each event, as a struct (docs/protocol/events.md).

Fields with a default may be absent when read. When written, fields that the contract marks with ``?`` are left out
where they hold their default; the others have a `default_factory`, which msgspec always writes. Limits are in the
annotations, so that one decode checks type, range and presence. Unknown members are ignored here, and the hub forwards
them unchanged.
"""

from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

# One integer beyond Go's int64 would end the connection of every reader in Go.
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer in the range of Go's int64."""
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A number of things: an integer from 0."""
Percent = Annotated[float, Meta(ge=0, le=100)]
Milliseconds = Annotated[float, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
Code = Annotated[str, Meta(min_length=1, max_length=128)]
Timestamp = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A time that the hub writes: RFC 3339 in UTC. Its text is kept, because a `datetime` would lose nanoseconds."""
LogLevel = Literal["debug", "info", "warning", "error", "critical"]


class Payload(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Base class of all payloads."""


def encode_payload(payload: Struct) -> bytes:
    """Return `payload` as JSON in Go's form: optional fields are left out where they are empty."""
    empty = {name: None for name in _nullable(type(payload)) if getattr(payload, name) in _EMPTY}
    return msgspec.json.encode(msgspec.structs.replace(payload, **empty) if empty else payload)


_EMPTY: tuple[object, ...] = ("", [], {})


@cache
def _nullable(payload_type: type[Struct]) -> tuple[str, ...]:
    return tuple(fact.name for fact in msgspec.structs.fields(payload_type) if fact.default is None)


class ErrorData(Payload, frozen=True, kw_only=True):
    """An error, in the form that every part of the contract uses."""

    code: Code
    """Kind of error. Ours are snake_case, from docs/protocol/codes.md; an application defines its own."""
    message: str
    """Description of the error, in one sentence."""
    details: str | None = None
    """Further facts for a log, such as a stack or the last lines of output."""
    recoverable: bool
    """Whether trying again may succeed."""
    hint: str | None = None
    """Suggested remedy."""


class OperationStartData(Payload, frozen=True, kw_only=True):
    """Sent by a producer when an operation starts, or is accepted and queued."""

    operation_id: str
    name: str = field(default_factory=str)
    """Name of the operation for people. The hub compares runs of the same name."""
    attempt: Count | None = None
    """Number of the attempt, from 1; absent means the next one."""
    total_steps: Count | None = None
    steps: list[str] | None = None
    """The names of the steps, in order."""
    queued: bool = False
    """True: accepted, but not started."""
    parent_id: str | None = None
    resumes: str | None = None
    """The operation, or attempt, that this one resumes."""
    host: str | None = None
    pid: Count | None = None
    command: str | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None


class OperationProgressData(Payload, frozen=True, kw_only=True):
    """Sent by a producer as often as it likes; a newer event supersedes an older one."""

    operation_id: str
    progress: Percent
    """Percent done, 0–100."""
    # These two are always written; `Contract` fills them in where a publisher left them out.
    current_step: str = field(default_factory=str)
    total_steps: Count = field(default_factory=int)
    """Number of steps; 0 where it is unknown."""
    message: str | None = None
    attempt: Count | None = None
    indeterminate: bool = False
    """True: the operation is alive, and the remaining work is unknown."""


class OperationLogData(Payload, frozen=True, kw_only=True):
    """Sent by a producer for a line worth keeping. Unlike progress, log lines are never conflated."""

    operation_id: str
    level: LogLevel = field(default_factory=lambda: "info")
    message: str
    attempt: Count | None = None


class OperationCompleteData(Payload, frozen=True, kw_only=True):
    """Sent by a producer when an operation succeeded."""

    operation_id: str
    attempt: Count | None = None
    message: str | None = None
    duration_ms: Milliseconds | None = None
    result: Any = None


class OperationFailedData(Payload, frozen=True, kw_only=True):
    """Sent by a producer when an operation failed; compatible with readers of plain ErrorData."""

    operation_id: str | None = None
    """Id of the operation. Absent from a writer of plain ErrorData; the event then has no key."""
    attempt: Count | None = None
    code: Code
    message: str
    details: str | None = None
    recoverable: bool
    hint: str | None = None


class OperationCancelledData(Payload, frozen=True, kw_only=True):
    """Sent by a producer when an operation ended because it was cancelled."""

    operation_id: str
    attempt: Count | None = None
    reason: str | None = None
    cancelled_by: str | None = None


class OperationEstimateData(Payload, frozen=True, kw_only=True):
    """Sent by the hub: the remaining time of a running operation, and what needs a person's attention.

    Times are RFC 3339, by the hub's clock.
    """

    operation_id: str
    rate: float | None = None
    """Progress in percent per second."""
    remaining_s: Seconds | None = None
    remaining_low_s: Seconds | None = None
    remaining_high_s: Seconds | None = None
    stalled: bool
    """True: the operation is alive, but does not advance."""
    began_at: Timestamp | None = None
    """Time at which it began; absent unless its producer's clock, which its events have, seems to be slow."""
    stalled_since: str | None = None
    """Time of its last advance; absent unless it is stalled."""
    silent_since: Timestamp | None = None
    """Time of its last event; absent unless there was none for a minute."""
    away_since: str | None = None
    """Time since which its producer is not connected; absent while it is connected, or if it has no producer."""
    cancel_requested_at: Timestamp | None = None
    """Time of the request to cancel it; absent without one."""
    cancelled_by: str | None = None
    """The person or program that requested to cancel it, if known."""


class DataUpdateData(Payload, frozen=True, kw_only=True):
    """Sent when new data is available."""

    dataset: str | None = None
    version: str | Int64 | None = None
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
    """Sent when processing data failed; the members of ErrorData stand beside the dataset."""

    dataset: str | None = None
    code: Code
    message: str
    details: str | None = None
    recoverable: bool
    hint: str | None = None


class ReportReadyData(Payload, frozen=True, kw_only=True):
    """Sent when a report is ready to be fetched."""

    report_id: str | None = None
    name: str | None = None
    url: str | None = None
    format: str | None = None
    size_bytes: Count | None = None
    expires_at: str | None = None
    """RFC 3339 timestamp."""


class SystemStatusData(Payload, frozen=True, kw_only=True):
    """Sent by a system, such as the hub, to report its health."""

    status: Annotated[str, Meta(min_length=1)]
    """`healthy`, `degraded`, `unhealthy`, or a word of the system's own."""
    uptime: Int64
    """Time since the start, in whole seconds."""
    active_operations: Int64
    metrics: dict[str, float] | None
    """Figures by name; Go writes null for an empty map."""
    source: str | None = None
    """Name of the system; the hub's is "tidings"."""


class SystemAlertData(Payload, frozen=True, kw_only=True):
    """Sent when something needs a person's attention, and again when it no longer does."""

    alert_id: str | None = None
    """Id of the alert. Default: the code, followed by the operation where there is one."""
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
    """Sent by a system to report its figures over a time window."""

    source: str | None = None
    window_s: Seconds | None = None
    metrics: dict[str, float] | None


class LicenseExpiredData(Payload, frozen=True, kw_only=True):
    """Sent by the hub when its license has expired."""

    expired_at: Timestamp | None = None
    license_id: str | None = None
    message: str | None = None
    hint: str | None = None


class ContractIdentity(Payload, frozen=True, kw_only=True):
    """Identity of the contract that a hub uses."""

    version: str
    """Date of the revision."""
    hash: str
    """Hash of everything that a client can see of the contract; equal hashes mean equal contracts."""


class ConnectionEstablished(Payload, frozen=True, kw_only=True):
    """Sent by the hub as the first message on a connection."""

    connection_id: str
    contract: ContractIdentity
    position: str
    """Position of the log's head."""
    now: Timestamp
    """The hub's clock."""
    heartbeat_s: float
    """Heartbeat interval in seconds. After two intervals of silence the connection is lost."""
    channels: list[str]
    """The channels of which this connection may read something."""
    auth: str
    """`none`: the hub identifies no one. `required`: send `auth:token`. Otherwise the name of the subject."""


class ConnectionClosed(Payload, frozen=True, kw_only=True):
    """Sent by the hub just before it closes a connection."""

    code: int
    """The WebSocket close code that follows."""
    reason: str
    reconnect: bool
    """Whether the client should reconnect."""
    retry_after_ms: Count | None = None


class AuthRequired(Payload, frozen=True, kw_only=True):
    """Sent by the hub when a connection must authenticate."""

    methods: list[str]
    """The kinds of credentials that the hub accepts: `token`, `key`, and others."""
    reason: str
    """`missing`: the connection has no credential yet. `expiring`: the present one expires in `deadline_s` seconds."""
    deadline_s: Seconds
    """Time for `auth:token`, in seconds; then the hub closes the connection with 4001."""


class AuthSuccess(Payload, frozen=True, kw_only=True):
    """Sent by the hub when it has accepted a token."""

    subject: str
    """Name of the person, service or program that the hub has identified."""
    grants: list[str]
    """Its grants, as lines (docs/access.md)."""
    expires_at: Timestamp | None = None
    """When the credential expires; absent if it does not."""
    removed: list[str] | None = None
    """Paths that the connection read, and may no longer read."""


class AuthFailed(ErrorData, frozen=True, kw_only=True):
    """Sent by the hub when it has rejected a token."""
