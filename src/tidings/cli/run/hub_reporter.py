"""Publishes the operation of `tidings run` through an outbox, which never makes the command wait."""

import os
import secrets
import uuid
from collections.abc import Callable

from tidings.cli.errors import is_about_token
from tidings.cli.run.reporter import Mention
from tidings.exceptions import HandshakeRefused, HubUnreachable, NotAHub, TidingsError
from tidings.producer.diagnostics import is_about_spool
from tidings.producer.outbox.outbox import Outbox
from tidings.protocol.codes import error_data
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import CancelAnswer, CancelPush
from tidings.protocol.payloads import (
    OperationCancelledData,
    OperationCompleteData,
    OperationFailedData,
    OperationProgressData,
    OperationStartData,
    Payload,
)

FLUSH_S = 1.5
"""How long the end of a run waits for the hub to acknowledge every event."""
_HOPELESS_FLUSH_S = 0.2
"""The same wait where the hub has accepted no event so far and an error explains why."""
_MAX_DETAILS = 16_000
"""Characters of the last output lines: escaped and in UTF-8 they stay below 65,535 bytes, the limit of `data`."""
_MAX_TEXT = 2_000


class OperationReporter:
    """A `tidings.cli.run.reporter.Reporter` that publishes one operation.

    This process holds the operation: when it dies, the hub fails the operation as `producer_lost`, and the hub sends
    cancel requests to it.

    Args:
        url: URL of the hub; by default that of `TIDINGS_URL`, or a hub on this machine.
        on_cancel: Called in another thread with the reason and the requesting user of a cancel request; both may be
            empty.
        lease_s: Seconds that the operation outlives our connection; by default the hub's setting.
        parent_id: Id of the operation that this one is a part of.
        operation_id: Id of the operation; by default a new one.

    Raises:
        ConfigError: `url` is not a valid address, or `lease_s` is not between 1 and 86,400.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        on_cancel: Callable[[str, str], None] | None = None,
        lease_s: float | None = None,
        parent_id: str | None = None,
        operation_id: str | None = None,
    ) -> None:
        self.operation_id = operation_id or str(uuid.uuid4())
        self._trace_id = secrets.token_hex(16)
        self._mention = Mention(line_end="\r\n" if os.isatty(2) else "\n")
        self._error: TidingsError | None = None
        self._percent = 0.0
        self._spools = True
        """Whether the start and the end of the run can be kept on disk."""
        self._on_cancel = on_cancel
        self._parent_id = parent_id
        self._outbox = Outbox(url, lease_s=lease_s, on_error=self._mention_error)

    def started(self, name: str, host: str, pid: int, command: str, user: str, total_steps: int | None = None) -> None:
        """See `Reporter.started`."""
        self._outbox.hold(
            self.operation_id, trace_id=self._trace_id, on_cancel=self._cancel if self._on_cancel is not None else None
        )
        self._put(
            MessageType.OPERATION_START,
            OperationStartData(
                operation_id=self.operation_id,
                name=_writable(name),
                parent_id=self._parent_id,
                host=_writable(host),
                pid=pid,
                command=_writable(command) or None,
                user=_writable(user),
                total_steps=total_steps,
            ),
        )

    def progress(self, percent: float | None, current_step: str, total_steps: int, message: str) -> None:
        """See `Reporter.progress`. An unknown percentage repeats the last known one."""
        if percent is not None:
            self._percent = min(100.0, max(0.0, percent))
        self._put(
            MessageType.OPERATION_PROGRESS,
            OperationProgressData(
                operation_id=self.operation_id,
                progress=self._percent,
                current_step=_writable(current_step),
                total_steps=total_steps,
                message=_writable(message),
                indeterminate=percent is None,
            ),
        )

    def completed(self, duration_ms: int) -> None:
        """See `Reporter.completed`."""
        self._end(
            MessageType.OPERATION_COMPLETE,
            OperationCompleteData(operation_id=self.operation_id, duration_ms=duration_ms),
        )

    def failed(self, code: str, message: str, details: str, hint: str) -> None:
        """See `Reporter.failed`."""
        self._end(
            MessageType.OPERATION_FAILED,
            OperationFailedData(
                operation_id=self.operation_id,
                code=code,
                message=_writable(message),
                details=_writable(details[-_MAX_DETAILS:], _MAX_DETAILS),
                # Whether a second try would succeed is unknown.
                recoverable=False,
                hint=_writable(hint) or None,
            ),
        )

    def cancelled(self, reason: str, cancelled_by: str = "") -> None:
        """See `Reporter.cancelled`."""
        self._end(
            MessageType.OPERATION_CANCELLED,
            OperationCancelledData(
                operation_id=self.operation_id, reason=_writable(reason), cancelled_by=cancelled_by or None
            ),
        )

    def close(self) -> None:
        """Wait a bounded time until the hub has acknowledged every event; write one line to stderr if it has not."""
        hopeless = self._error is not None and self._outbox.statistics().accepted == 0
        left = self._outbox.close(_HOPELESS_FLUSH_S if hopeless else FLUSH_S)
        if left:
            self._mention(f"the hub did not acknowledge the end of this run within {FLUSH_S:g} s.")

    def _end(self, type: MessageType, payload: Payload) -> None:
        self._put(type, payload)
        self._outbox.release(self.operation_id)

    def _cancel(self, push: CancelPush) -> CancelAnswer:
        if self._on_cancel is not None:
            self._on_cancel(push.reason or "", push.cancelled_by or "")
        return CancelAnswer(verdict="stopping")

    def _put(self, type: MessageType, payload: Payload) -> None:
        self._outbox.put_nowait(type, payload, trace_id=self._trace_id)

    def _mention_error(self, error: TidingsError) -> None:
        if is_about_spool(error):
            self._spools = False  # of no importance as long as a hub answers
            return
        self._error = error
        hint = error_data(error).hint
        # Its start and end stay on disk while no hub takes them, or only a proxy answers; what a hub refuses is lost.
        fate = "not shown"
        if is_about_token(error):
            fate = "kept, and shown when the hub accepts the token"
        elif isinstance(error, HubUnreachable | HandshakeRefused | NotAHub):
            fate = "kept, and shown when a hub answers"
        if not self._spools:
            fate = "not kept, because no file can be written, and shown only if a hub accepts it before it ends"
        self._mention(f"this run is {fate}: {error}. The command goes on. {hint}".strip())


def _writable(text: str, max_chars: int = _MAX_TEXT) -> str:
    """Return `text` cut and valid as UTF-8: names of files and users may hold undecodable bytes."""
    return text[:max_chars].encode(errors="replace").decode()
