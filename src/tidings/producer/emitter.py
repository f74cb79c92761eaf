"""The emitter: builds and sends the events of one operation.

It applies `redact`, and always sends a terminal event. The start event names the host, process, command (without what
looks like a secret) and user. Building an event runs code of the job, such as `redact` or the `__str__` of a message;
sending one runs none.
"""

import getpass
import os
import shlex
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from tidings.client.deferring_lock import LockBusy, TryLock
from tidings.client.drafts import new_event_id
from tidings.printable import decode_argument
from tidings.producer.diagnostics import call_hook
from tidings.producer.event_sink import EventSink, NullSink, OnCancel
from tidings.producer.options import Redact, Settings, number_of
from tidings.producer.outcome import Completed, End, Failed
from tidings.producer.sanitize import jsonable, read, text
from tidings.producer.signals import CALLS_DEFERRED
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
from tidings.redaction import redact_command

MAX_LINE_CHARS = 16_000
"""Longest log line, in characters. Its UTF-8 form, at worst four times as long, fits in one event."""
_MIN_LEASE_S, _MAX_LEASE_S = 1.0, 86_400.0
"""Bounds of a lease, in seconds (docs/protocol/limits.md, "Limits")."""
_CALLS_OF_A_REPORT = 100
"""Calls inside each other that a sink may need at most."""
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


class BuiltEvent(Struct, frozen=True):
    """An event that is ready to be sent."""

    type: MessageType
    data: Payload | dict[str, Any] | None
    """Its payload; None if `redact` drops it."""
    bare: dict[str, Any] | None = None
    """Payload to send if `data` is refused: a terminal event without details still ends the operation."""
    event_id: str | None = None
    """Its id: the hub ignores a second event with the same one. None: the sink chooses one."""
    error: BaseException | None = None
    """To raise once it is sent, such as the SystemExit of a signal handler that interrupted `redact`."""


class OperationEmitter:
    """Builds and sends the events of one operation.

    Args:
        operation_id: Id of the operation.
        redact: See `tidings.operation`.
        sink: Destination of the events; by default they are dropped.
        trace_id: Trace of the events.
    """

    def __init__(
        self, operation_id: str, redact: Redact | None, sink: EventSink | None = None, trace_id: str = ""
    ) -> None:
        self._id = operation_id
        self._redact = redact
        self.sink = NullSink() if sink is None else sink
        self.trace_id = trace_id
        self._building_end = TryLock()

    def hold(self, lease_s: float | None, on_cancel: OnCancel) -> None:
        """Claim the operation: the hub then fails it if the process dies, and sends cancel requests to `on_cancel`."""
        lease_s = number_of(lease_s, "reading lease_s=")
        lease_s = None if lease_s is None else min(_MAX_LEASE_S, max(_MIN_LEASE_S, float(lease_s)))
        with CALLS_DEFERRED, CALLS_DEFERRED.region:
            self.sink.hold(self._id, lease_s=lease_s, trace_id=self.trace_id, on_cancel=on_cancel)

    def release(self) -> None:
        """Give up the claim once the hub has the terminal event."""
        with CALLS_DEFERRED, CALLS_DEFERRED.region:
            self.sink.release(self._id)

    def start(
        self,
        settings: Settings,
        *,
        queued: bool,
        steps: list[str],
        attempt: int | None = None,
    ) -> BuiltEvent:
        """Build `operation:start`; without `attempt`, the hub counts a new attempt if the last one has ended."""
        return self._build(
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
                host=text(read(socket.gethostname, "")),
                pid=os.getpid(),
                command=text(shlex.join(map(decode_argument, redact_command(sys.orig_argv)))),
                # A container's user id may have no name.
                user=read(lambda: text(decode_argument(getpass.getuser())), None),
                metadata=_metadata(settings.metadata),
            ),
            {"operation_id": self._id, "queued": queued, **({} if attempt is None else {"attempt": attempt})},
            new_event_id(time.time_ns()),
        )

    def progress(self, payload: OperationProgressData) -> BuiltEvent:
        """Build `operation:progress`."""
        return self._build(MessageType.OPERATION_PROGRESS, payload)

    def log(self, message: object, level: str | int) -> BuiltEvent:
        """Build `operation:log`; an unknown level counts as `info`."""
        known = _LEVELS.get(level) if type(level) is str else None
        if known is None:  # levels of other types, such as an enumeration, are code of the job
            known = read(lambda: _LEVELS.get(level.lower() if isinstance(level, str) else level), None) or "info"
        return self._build(
            MessageType.OPERATION_LOG,
            OperationLogData(operation_id=self._id, level=known, message=text(message, MAX_LINE_CHARS)),
        )

    def end(self, end: End, duration_s: float) -> BuiltEvent:
        """Build the terminal event.

        It is bare if another one is being built, by code of the job that this call interrupts or cannot wait for.
        """
        type, bare = self._bare_end(end)
        event_id = new_event_id(time.time_ns())
        try:
            with self._building_end:
                return self._build(type, self._end_payload(end, duration_s), bare, event_id)
        except LockBusy:
            return BuiltEvent(type, bare, None, event_id)

    def _bare_end(self, end: End) -> tuple[MessageType, dict[str, Any]]:
        if isinstance(end, Completed):
            return MessageType.OPERATION_COMPLETE, {"operation_id": self._id}
        if isinstance(end, Failed):
            failure = {"code": end.code, "message": "", "recoverable": end.recoverable}
            return MessageType.OPERATION_FAILED, {"operation_id": self._id, **failure}
        return MessageType.OPERATION_CANCELLED, {"operation_id": self._id}

    def _end_payload(self, end: End, duration_s: float) -> Payload:
        if isinstance(end, Completed):
            return OperationCompleteData(
                operation_id=self._id,
                message=end.message,
                duration_ms=round(duration_s * 1000, 3),
                result=jsonable(end.result),
            )
        if isinstance(end, Failed):
            return OperationFailedData(
                operation_id=self._id,
                code=end.code,
                message=end.message,
                details=end.details,
                recoverable=end.recoverable,
                hint=end.hint,
            )
        return OperationCancelledData(operation_id=self._id, reason=end.reason or None, cancelled_by=end.cancelled_by)

    def send(self, event: BuiltEvent) -> None:
        """Send an event, and then raise its `error`."""
        with CALLS_DEFERRED, CALLS_DEFERRED.region:
            self.put(event)
        if event.error is not None:
            raise event.error

    def put(self, event: BuiltEvent) -> None:
        """Put an event, or its `bare` payload if it is refused, into the sink; the caller defers signals."""
        put = self.sink.put_nowait
        taken = event.data is None or put(event.type, event.data, trace_id=self.trace_id, event_id=event.event_id)
        if not taken and event.bare is not None:
            taken = put(event.type, event.bare, trace_id=self.trace_id, event_id=event.event_id)
            if not taken:
                _require_stack(_CALLS_OF_A_REPORT)

    def _build(
        self,
        type: MessageType,
        payload: Payload,
        bare: dict[str, Any] | None = None,
        event_id: str | None = None,
    ) -> BuiltEvent:
        if self._redact is None:
            return BuiltEvent(type, payload, bare, event_id)
        try:
            return BuiltEvent(type, self._redacted(payload, self._redact, bare), bare, event_id)
        except BaseException as error:  # such as the SystemExit of a signal handler, which ends the job
            if bare is None:
                raise
            return BuiltEvent(type, bare, None, event_id, error)

    def _redacted(self, payload: Payload, redact: Redact, least: dict[str, Any] | None) -> dict[str, Any] | None:
        def call() -> tuple[dict[str, Any] | None]:
            data = redact(msgspec.json.decode(encode_payload(payload)))
            # Leases and cancel requests refer to the operation by its id.
            return (None if data is None else {**data, "operation_id": self._id},)

        called = call_hook("redact: a payload was dropped, because redact", call)
        return least if called is None else called[0]


def _require_stack(calls: int) -> None:
    """Raise RecursionError if the stack has no room for `calls` more calls, as when the sink refused an event."""
    if calls:
        _require_stack(calls - 1)


def _metadata(facts: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if facts is None:
        return None
    value = jsonable(read(lambda: dict(facts), facts))
    return value if isinstance(value, dict) else {"value": value}
