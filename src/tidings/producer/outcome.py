"""Outcomes: how an operation ends, and the outcome that an exception means."""

import asyncio
import re
import traceback
from typing import Any, Literal

from msgspec import Struct

from tidings.exceptions import OperationCancelled
from tidings.producer.sanitize import tail, text

State = Literal["new", "queued", "running", "complete", "failed", "cancelled", "inherited"]
"""State of an operation in this process; `inherited` is a forked child's copy of its parent's operation."""

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TRANSIENT = (ConnectionError, TimeoutError, InterruptedError, BlockingIOError)
"""System errors that may not occur on a second attempt; a missing file, for example, stays missing."""
_CANCELLATIONS = (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, OperationCancelled)


class Completed(Struct, frozen=True, kw_only=True):
    """The outcome of `operation:complete`."""

    message: str | None = None
    result: Any = None


class Failed(Struct, frozen=True, kw_only=True):
    """The outcome of `operation:failed`."""

    code: str
    message: str
    details: str | None = None
    recoverable: bool = False
    hint: str | None = None


class Cancelled(Struct, frozen=True, kw_only=True):
    """The outcome of `operation:cancelled`."""

    reason: str
    cancelled_by: str | None = None


End = Completed | Failed | Cancelled


def state_after(end: End) -> State:
    """Return the state of an operation that ended with `end`."""
    if isinstance(end, Completed):
        return "complete"
    return "failed" if isinstance(end, Failed) else "cancelled"


def end_of(error: BaseException) -> Failed | Cancelled | None:
    """Return the outcome of an operation whose block was left by `error`; None means that it completed.

    A `SystemExit` counts as its code does in a shell: 0 is a success, any other is the failure `exit_<n>`.
    """
    if isinstance(error, SystemExit):
        return _exit(error)
    if isinstance(error, OperationCancelled):
        return Cancelled(reason=text(error.reason or error.message), cancelled_by=error.cancelled_by or None)
    if isinstance(error, KeyboardInterrupt):
        return Cancelled(reason="interrupted from the keyboard")
    if isinstance(error, asyncio.CancelledError):
        return Cancelled(reason=text(error) or "the task was cancelled")
    if isinstance(error, GeneratorExit):
        return Cancelled(reason="the generator around the operation was closed")
    if isinstance(error, BaseExceptionGroup) and error.split(_CANCELLATIONS)[1] is None:
        return end_of(_first_leaf(error))
    return failure_of(error)


def failure_of(error: BaseException) -> Failed:
    """Return the failure that `error` means.

    The code is the `code` of a tidings error, else the class name in snake case; the details are the end of the
    traceback; the hint is the attribute `hint`, else the notes (PEP 678).
    """
    return Failed(
        code=code_of(error),
        message=text(_message(error)),
        details=_traceback(error) or None,
        recoverable=_is_recoverable(error),
        hint=_hint(error) or None,
    )


def code_of(error: BaseException) -> str:
    """Return the code of an error: `zero_division_error` for `ZeroDivisionError`, `http_error` for `HTTPError`."""
    own = getattr(error, "code", None)
    if type(error).__module__.partition(".")[0] == "tidings" and isinstance(own, str):
        return own
    return _WORD_BOUNDARY.sub("_", type(error).__name__).lower().strip("_")[:128] or "error"


def _exit(error: SystemExit) -> Failed | None:
    code = error.code
    if code is None or code == 0:
        return None
    number = code if isinstance(code, int) else 1
    message = f"exited with code {number}" if isinstance(code, int) else text(code)
    return Failed(code=f"exit_{number}", message=message, details=_traceback(error) or None)


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _message(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # the __str__ of an exception may fail
        return type(error).__name__


def _traceback(error: BaseException) -> str:
    try:
        return tail("".join(traceback.format_exception(error)))
    except Exception:  # a __str__ in the chain may fail
        return ""


def _is_recoverable(error: BaseException) -> bool:
    own = getattr(error, "recoverable", None)
    return own if isinstance(own, bool) else isinstance(error, _TRANSIENT)


def _hint(error: BaseException) -> str:
    own = getattr(error, "hint", None)
    if isinstance(own, str) and own:
        return text(own)
    notes = getattr(error, "__notes__", None)
    return text("\n".join(map(str, notes))) if isinstance(notes, list | tuple) else ""
