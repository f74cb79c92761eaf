"""What `tidings run` tells a hub about its command, through an outbox that never makes the command wait."""

import os
import secrets
import uuid
from collections.abc import Callable

from tidings.cli.run.reporter import Mention
from tidings.exceptions import TidingsError
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
"""How long the end of a run may wait for the hub to have everything."""
_HOPELESS_FLUSH_S = 0.2
"""Likewise, where no hub has taken anything so far and we know why."""
_MAX_DETAILS = 16_000
"""Characters of the last lines: in UTF-8, and escaped, they stay under the contract's 65,535 bytes."""
_MAX_TEXT = 2_000


class OperationReporter:
    """A `tidings.cli.run.reporter.Reporter` that publishes one operation.

    The operation is held: when this process dies, the hub ends it as `producer_lost`, and whoever wants it to end asks
    us.

    Args:
        url: Where the hub is; None is the environment's, or one on this machine.
        on_cancel: Called with the reason, and with who asks, either of which may be empty, when somebody wants the
            command to end; in another thread.
        lease_s: How long the operation outlives our connection; by default what the hub says.

    Raises:
        ConfigError: `url` is no address, or `lease_s` not from 1 to 86,400.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        on_cancel: Callable[[str, str], None] | None = None,
        lease_s: float | None = None,
    ) -> None:
        self.operation_id = str(uuid.uuid4())
        self._trace_id = secrets.token_hex(16)
        self._mention = Mention(line_end="\r\n" if os.isatty(2) else "\n")
        self._trouble: TidingsError | None = None
        self._percent = 0.0
        self._on_cancel = on_cancel
        self._outbox = Outbox(url, lease_s=lease_s, on_trouble=self._tell)

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
                host=_writable(host),
                pid=pid,
                command=_writable(command),
                user=_writable(user),
                total_steps=total_steps,
            ),
        )

    def progress(self, percent: float | None, current_step: str, total_steps: int, message: str) -> None:
        """See `Reporter.progress`. Where nobody knows how much is left, the last known share is repeated."""
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
                # Whether the same command would succeed again is not for us to say; it did not.
                recoverable=False,
                hint=_writable(hint),
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
        """Wait a bounded time until the hub has everything; say so, once, if it has not."""
        hopeless = self._trouble is not None and self._outbox.statistics().accepted == 0
        left = self._outbox.close(_HOPELESS_FLUSH_S if hopeless else FLUSH_S)
        if left:
            self._mention(f"the hub did not take the end of this run within {FLUSH_S:g} s.")

    def _end(self, type: MessageType, payload: Payload) -> None:
        self._put(type, payload)
        self._outbox.release(self.operation_id)

    def _cancel(self, push: CancelPush) -> CancelAnswer:
        if self._on_cancel is not None:
            self._on_cancel(push.reason or "", push.cancelled_by or "")
        return CancelAnswer(verdict="stopping")

    def _put(self, type: MessageType, payload: Payload) -> None:
        self._outbox.put_nowait(type, payload, trace_id=self._trace_id)

    def _tell(self, error: TidingsError) -> None:
        self._trouble = error
        hint = error_data(error).hint
        self._mention(f"this run is not shown: {error}. The command goes on. {hint}".strip())


def _writable(text: str, most: int = _MAX_TEXT) -> str:
    """Return `text` as UTF-8 can hold it: names of files and users may hold bytes that are none."""
    return text[:most].encode(errors="replace").decode()
