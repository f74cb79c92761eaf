"""Outcomes: how an operation ends, and the outcome that an exception means.

The exception continues in the job, so reading it must neither fail nor change it, whatever its class has overridden.
"""

import asyncio
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Literal, TypeGuard, TypeVar

from msgspec import Struct

from tidings.exceptions import OperationCancelled
from tidings.producer.sanitize import MAX_DETAILS_BYTES, class_name, read, read_attribute, redacted_text, tail, text
from tidings.redaction import redact_text

E = TypeVar("E", bound=BaseException)

State = Literal["new", "queued", "running", "complete", "failed", "cancelled", "inherited"]
"""State of an operation in this process; `inherited` is a forked child's copy of its parent's operation."""

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CODE = re.compile(r"[A-Za-z][\w.:-]{0,127}", re.ASCII)
_NOT_CODE = re.compile(r"[^A-Za-z0-9.:-]+")
_TRANSIENT = (ConnectionError, TimeoutError, InterruptedError, BlockingIOError)
"""System errors that may not occur on a second attempt; a missing file, for example, stays missing."""
_CANCELLATIONS = (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, OperationCancelled)
_EXCEPTIONS = BaseExceptionGroup.__dict__["exceptions"]
_MAX_FRAMES = 64
"""Most frames of a traceback in the details of a failure, the newest: formatting a deep recursion costs a second."""
_STATE = [
    BaseException.__dict__[name] for name in ("__traceback__", "__context__", "__cause__", "__suppress_context__")
]
"""Attributes that Python changes in an exception that is raised again; setting the cause sets the last one, too."""


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
    with _unchanged(error):
        return _outcome(error)


def failure_of(error: BaseException) -> Failed:
    """Return the failure that `error` means.

    The code is the `code` of a tidings error, else the class name in snake case; the details are the end of the
    traceback; the hint is the attribute `hint`, else the notes (PEP 678). Unreadable parts are left out.
    """
    with _unchanged(error):
        return _failure(error)


def failure_described(error: object, message: object = None) -> Failed:
    """Return the failure that a job describes itself, by an error code, by a sentence, or by both.

    A single word, as `no_prices`, is a code, and anything else a sentence, whose code is `failed`.
    """
    described = text(error)
    is_code = _CODE.fullmatch(described) is not None
    if message is None:
        sentence = described.replace("_", " ") if is_code else described
        return Failed(code=described if is_code else "failed", message=redacted_text(sentence))
    code = described if is_code else _NOT_CODE.sub("_", described).strip("_").lower()[:128]
    return Failed(code=code or "failed", message=redacted_text(message))


def code_of(error: BaseException) -> str:
    """Return the code of an error: `zero_division_error` for `ZeroDivisionError`, `http_error` for `HTTPError`."""
    own = read_attribute(error, "code")
    if str(type.__dict__["__module__"].__get__(type(error))).partition(".")[0] == "tidings" and type(own) is str:
        return own
    return _WORD_BOUNDARY.sub("_", text(class_name(error))).lower().strip("_")[:128] or "error"


@contextmanager
def _unchanged(error: BaseException) -> Iterator[None]:
    """Restore the traceback and the context of `error`, which its own methods may change by raising it."""
    state = [(member, member.__get__(error)) for member in _STATE]
    try:
        yield
    finally:
        for member, value in state:
            member.__set__(error, value)


def _outcome(error: BaseException) -> Failed | Cancelled | None:
    if _is_a(error, SystemExit):
        return _exit(error)
    if _is_a(error, OperationCancelled):
        reason = read_attribute(error, "reason") or read_attribute(error, "message") or ""
        cancelled_by = read_attribute(error, "cancelled_by")
        return Cancelled(reason=redacted_text(reason), cancelled_by=text(cancelled_by) if cancelled_by else None)
    if _is_a(error, KeyboardInterrupt):
        return Cancelled(reason="interrupted from the keyboard")
    if _is_a(error, asyncio.CancelledError):
        return Cancelled(reason=redacted_text(error) or "the task was cancelled")
    if _is_a(error, GeneratorExit):
        return Cancelled(reason="the generator around the operation was closed")
    if _is_a(error, BaseExceptionGroup) and all(issubclass(type(leaf), _CANCELLATIONS) for leaf in _leaves(error)):
        return _outcome(next(_leaves(error)))
    return _failure(error)


def _failure(error: BaseException) -> Failed:
    return Failed(
        code=code_of(error),
        message=_message(error),
        details=_traceback(error) or None,
        recoverable=_is_recoverable(error),
        hint=_hint(error) or None,
    )


def _is_a(error: BaseException, kind: type[E]) -> TypeGuard[E]:
    # `isinstance` reads `__class__`, which the error may have overridden.
    return issubclass(type(error), kind)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop()
        if _is_a(error, BaseExceptionGroup):
            waiting.extend(reversed(_EXCEPTIONS.__get__(error)))
        else:
            yield error


def _exit(error: SystemExit) -> Failed | None:
    """Return the outcome of an exit as Python and the operating system see it (documentation of `sys.exit`)."""
    unread: object = error
    code = read(lambda: error.code, unread)
    if code is None:
        return None
    if not isinstance(code, int):  # Python writes it to stderr
        return Failed(code="exit_1", message=redacted_text(code), details=_traceback(error) or None)
    # A parent process receives 8 bits of it on POSIX, and 32 on Windows; a number beyond a C long counts as -1.
    status = (code if abs(code) < 1 << 63 else -1) & (0xFF if os.name == "posix" else 0xFFFF_FFFF)
    if not status:
        return None
    return Failed(code=f"exit_{status}", message=f"exited with code {status}", details=_traceback(error) or None)


def _message(error: BaseException) -> str:
    with _unchanged(error):
        message = read(lambda: redacted_text(str(error)), "")
    return message or text(class_name(error))


def _traceback(error: BaseException) -> str:
    whole = _STATE[0].__get__(error)
    newest, left_out = _newest_frames(whole)
    formatted = read(lambda: "".join(traceback.format_exception(type(error), error, newest, limit=-_MAX_FRAMES)), None)
    if formatted is None:  # an attribute that the traceback contains cannot be read
        frames = read(lambda: "".join(traceback.format_tb(newest)), "")
        formatted = f"{frames}{class_name(error)}: {_message(error)}"
    note = f"… {left_out:,} frames left out\n" if left_out else ""
    return note + tail(redact_text(tail(formatted, 4 * MAX_DETAILS_BYTES)), MAX_DETAILS_BYTES - len(note.encode()))


def _newest_frames(frames: TracebackType | None) -> tuple[TracebackType | None, int]:
    """Return the last `_MAX_FRAMES` of a traceback, and the number of frames before them."""
    number, frame = 0, frames
    while frame is not None:
        number, frame = number + 1, frame.tb_next
    left_out = max(0, number - _MAX_FRAMES)
    for _ in range(left_out):
        frames = frames and frames.tb_next
    return frames, left_out


def _is_recoverable(error: BaseException) -> bool:
    own = read_attribute(error, "recoverable")
    return own if type(own) is bool else issubclass(type(error), _TRANSIENT)


def _hint(error: BaseException) -> str:
    own = read_attribute(error, "hint")
    if issubclass(type(own), str) and (hint := redacted_text(own)):
        return hint
    notes = read_attribute(error, "__notes__")
    if not issubclass(type(notes), list | tuple):
        return ""
    return redacted_text("\n".join(read(lambda: [text(note) for note in notes], [])))
