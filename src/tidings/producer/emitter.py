"""What one operation says to its hub: its payloads, redacted, in order, and its end in any case.

Where an operation runs: machine, process, command and user.
"""

import getpass
import os
import shlex
import socket
import sys
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tidings.producer.diagnostics import DIAGNOSTICS
from tidings.producer.event_sink import EventSink, NullSink, OnCancel
from tidings.producer.options import Redact, Settings
from tidings.producer.outcome import Cancelled, Failed
from tidings.producer.sanitize import jsonable, text
from tidings.producer.signals import UNDISTURBED
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import (
    LogLevel,
    OperationCancelledData,
    OperationCompleteData,
    OperationFailedData,
    OperationLogData,
    OperationProgressData,
    OperationStartData,
    Payload,
    encode_payload,
)


class Origin(Struct, frozen=True, kw_only=True):
    """What `operation:start` says of the process it comes from."""

    host: str
    pid: int
    command: str
    user: str | None


def origin() -> Origin:
    """Return where this process runs."""
    return Origin(host=text(socket.gethostname()), pid=os.getpid(), command=_command(), user=_user())


def _command() -> str:
    return text(shlex.join(sys.orig_argv))


def _user() -> str | None:
    try:
        return text(getpass.getuser())
    except (KeyError, OSError):  # a container's user id may have no name
        return None


MAX_LINE = 16_000
"""Characters of a log line; four times as many bytes, at worst, are one event."""
_MIN_LEASE_S, _MAX_LEASE_S = 1.0, 86_400.0
"""What the contract allows."""
_LEVELS: dict[object, LogLevel] = {
    "warn": "warning",
    "fatal": "critical",
    10: "debug",
    20: "info",
    30: "warning",
    40: "error",
    50: "critical",
    **{level: level for level in ("debug", "info", "warning", "error", "critical")},
}


class Completed(Struct, frozen=True, kw_only=True):
    """An end of the kind `operation:complete`."""

    message: str | None = None
    result: Any = None


End = Completed | Failed | Cancelled


class OperationEmitter:
    """The way one operation's events take out of the process.

    Args:
        operation_id: Whose.
        redact: See `tidings.operation`.
    """

    def __init__(self, operation_id: str, redact: Redact | None) -> None:
        self._id = operation_id
        self._redact = redact
        self.trace_id = ""
        self.transport: EventSink = NullSink()

    def hold(self, lease_s: float | None, on_cancel: OnCancel) -> None:
        """Claim the operation, so that the hub notices the process's death, and asks it to stop."""
        lease_s = None if lease_s is None else min(_MAX_LEASE_S, max(_MIN_LEASE_S, float(lease_s)))
        with UNDISTURBED:
            self.transport.hold(self._id, lease_s=lease_s, trace_id=self.trace_id, on_cancel=on_cancel)

    def release(self) -> None:
        """Claim the operation no longer than until the hub has its end."""
        with UNDISTURBED:
            self.transport.release(self._id)

    def start(self, settings: Settings, *, queued: bool, steps: list[str], attempt: int | None = None) -> None:
        """Say that the operation begins, or that it is queued; without `attempt`, as the next where one has ended."""
        where = origin()
        self._put(
            MessageType.OPERATION_START,
            OperationStartData(
                operation_id=self._id,
                name=text(settings.name),
                attempt=attempt,
                total_steps=len(steps) or None,
                steps=steps or None,
                queued=queued,
                parent_id=settings.parent_id,
                resumes=settings.resumes,
                host=where.host,
                pid=where.pid,
                command=where.command,
                user=where.user,
                metadata=None if settings.metadata is None else _object(jsonable(dict(settings.metadata))),
            ),
            bare={"queued": queued} if attempt is None else {"queued": queued, "attempt": attempt},
        )

    def progress(self, payload: OperationProgressData) -> None:
        """Say how far it is."""
        self._put(MessageType.OPERATION_PROGRESS, payload)

    def log(self, message: object, level: str | int) -> None:
        """Say a line worth keeping."""
        known = _LEVELS.get(level.lower() if isinstance(level, str) else level, "info")
        self._put(
            MessageType.OPERATION_LOG,
            OperationLogData(operation_id=self._id, level=known, message=text(message, MAX_LINE)),
        )

    def end(self, end: End, duration_s: float) -> None:
        """Say how it ended."""
        if isinstance(end, Completed):
            self._put(
                MessageType.OPERATION_COMPLETE,
                OperationCompleteData(
                    operation_id=self._id,
                    message=end.message,
                    duration_ms=round(duration_s * 1000, 3),
                    result=jsonable(end.result),
                ),
                bare={},
            )
        elif isinstance(end, Failed):
            self._put(
                MessageType.OPERATION_FAILED,
                OperationFailedData(
                    operation_id=self._id,
                    code=end.code,
                    message=end.message,
                    details=end.details,
                    recoverable=end.recoverable,
                    hint=end.hint,
                ),
                bare={"code": end.code, "message": "", "recoverable": end.recoverable},
            )
        else:
            self._put(
                MessageType.OPERATION_CANCELLED,
                OperationCancelledData(operation_id=self._id, reason=end.reason or None, cancelled_by=end.cancelled_by),
                bare={},
            )

    def _put(self, type: MessageType, payload: Payload, bare: dict[str, Any] | None = None) -> None:
        """Send a payload; where it cannot be sent, send `bare` instead: an end without its words is still the end."""
        said: Payload | dict[str, Any] | None = payload
        if self._redact is not None:
            said = self._redacted(payload, self._redact, bare)
        if said is None:
            return
        with UNDISTURBED:
            taken = self.transport.put_nowait(type, said, trace_id=self.trace_id)
            if not taken and bare is not None:
                self.transport.put_nowait(type, {"operation_id": self._id, **bare}, trace_id=self.trace_id)

    def _redacted(self, payload: Payload, redact: Redact, bare: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            said = redact(msgspec.json.decode(encode_payload(payload)))
            # The operation is known by it: to its lease, to who cancels it.
            return None if said is None else {**said, "operation_id": self._id}
        except Exception as error:
            DIAGNOSTICS.fault("redact: a payload was dropped, because redact", error)
            return None if bare is None else {"operation_id": self._id, **bare}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"value": value}


State = Literal["new", "queued", "running", "complete", "failed", "cancelled", "inherited"]
"""Where an operation is; `inherited` is a forked child's copy of its parent's."""


def state_after(end: End) -> State:
    """Return the state that an end leads to."""
    if isinstance(end, Completed):
        return "complete"
    return "failed" if isinstance(end, Failed) else "cancelled"
