"""What a task's message says of the operation that the task is."""

from collections.abc import Mapping
from typing import Any

from tidings.producer.sanitize import jsonable

TRACE_HEADER = "tidings_trace_id"
PARENT_HEADER = "tidings_parent_id"
SENT_HEADER = "tidings_sent_at"
"""When the message was sent, seconds since 1970."""
_MOST_ARGUMENTS = 16 << 10
"""Bytes of the positional and of the named arguments that are told."""


def parent_of(request: Any) -> str | None:
    """Return what a task is a part of: the operation that sent it, else the task that did.

    Args:
        request: The headers of a message, or the `request` of a task.
    """
    parent = request.get(PARENT_HEADER) or request.get("parent_id")
    return parent if isinstance(parent, str) else None


def trace_of(request: Any) -> str | None:
    """Return the trace that a task belongs to; its workflow's, where its sender does not report."""
    trace_id = request.get(TRACE_HEADER) or str(request.get("root_id") or "").replace("-", "")
    return trace_id if isinstance(trace_id, str) and trace_id else None


def sent_at(request: Any) -> float | None:
    """Return when a task's message was sent, seconds since 1970; None where its sender does not report."""
    at_s = request.get(SENT_HEADER)
    return float(at_s) if isinstance(at_s, int | float) else None


def facts_of(request: Any, queue: object, arguments: tuple[Any, Any] | None) -> Mapping[str, Any] | None:
    """Return an operation's metadata.

    Args:
        request: The headers of a message, or the `request` of a task.
        queue: Where the message is sent.
        arguments: The task's, positional and named, where they are told.
    """
    facts = {"queue": queue or None, "retries": request.get("retries") or None, "eta": request.get("eta")}
    if arguments is not None:
        args, kwargs = arguments
        facts["arguments"] = {
            "args": jsonable(list(args or ()), _MOST_ARGUMENTS),
            "kwargs": jsonable(dict(kwargs or {}), _MOST_ARGUMENTS),
        }
    return {name: fact for name, fact in facts.items() if fact is not None} or None
