"""What the exception that ends an operation says of its end."""

import asyncio
import re
import traceback

from msgspec import Struct

from tidings.exceptions import OperationCancelled
from tidings.producer.sanitize import ending, text

_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TRANSIENT = (ConnectionError, TimeoutError, InterruptedError, BlockingIOError)
"""Of the system's errors, those that a second try may not meet: a missing file is missing the next time, too."""
_CANCELS = (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, OperationCancelled)


class Failed(Struct, frozen=True, kw_only=True):
    """An end of the kind `operation:failed`."""

    code: str
    message: str
    details: str | None = None
    recoverable: bool = False
    hint: str | None = None


class Cancelled(Struct, frozen=True, kw_only=True):
    """An end of the kind `operation:cancelled`."""

    reason: str
    cancelled_by: str | None = None


def end_of(error: BaseException) -> Failed | Cancelled | None:
    """Return the end that an exception which leaves an operation's block means; None is an end that is well.

    `SystemExit` is judged by its code, as the shell does: 0 is well, others are `exit_<n>`.
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
        return Cancelled(reason="the generator that it ran in was closed")
    if isinstance(error, BaseExceptionGroup) and error.split(_CANCELS)[1] is None:
        return end_of(_first_leaf(error))
    return failure_of(error)


def failure_of(error: BaseException) -> Failed:
    """Return what `operation:failed` says of `error`.

    The code is the error's own `code` where it is one of tidings', else its class's name in snake case; the details are
    the end of its traceback; the hint is its attribute `hint`, else its notes (PEP 678).
    """
    return Failed(
        code=code_of(error),
        message=text(_sentence(error)),
        details=_trace(error) or None,
        recoverable=_is_recoverable(error),
        hint=_hint(error) or None,
    )


def code_of(error: BaseException) -> str:
    """Return the code of an error: `ZeroDivisionError` is `zero_division_error`, `HTTPError` is `http_error`."""
    own = getattr(error, "code", None)
    if type(error).__module__.partition(".")[0] == "tidings" and isinstance(own, str):
        return own
    return _WORD_ENDS.sub("_", type(error).__name__).lower().strip("_")[:128] or "error"


def _exit(error: SystemExit) -> Failed | None:
    code = error.code
    if code is None or code == 0:
        return None
    number = code if isinstance(code, int) else 1
    message = f"exited with code {number}" if isinstance(code, int) else text(code)
    return Failed(code=f"exit_{number}", message=message, details=_trace(error) or None)


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first


def _sentence(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:  # an exception's own __str__ may fail
        return type(error).__name__


def _trace(error: BaseException) -> str:
    try:
        return ending("".join(traceback.format_exception(error)))
    except Exception:  # likewise
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
