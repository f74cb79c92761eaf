"""The trace that an operation belongs to: the one its surroundings are in, else one of its own."""

import os
import re
import secrets
import sys
from collections.abc import Mapping

VARIABLE = "TRACEPARENT"
"""How a process is told the trace it belongs to (OpenTelemetry, "Environment Variables as Context Propagation")."""
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def current_trace_id(environment: Mapping[str, str] | None = None) -> str:
    """Return the trace id that an operation begun here and now has.

    OpenTelemetry's current span's, where the job uses OpenTelemetry; else that of the variable TRACEPARENT (W3C Trace
    Context §3.2); else a new one of 32 lower-case hex digits.
    """
    return _span_trace_id() or _inherited_trace_id(os.environ if environment is None else environment) or new_trace_id()


def new_trace_id() -> str:
    """Return a random W3C trace id."""
    return secrets.token_hex(16)


def _inherited_trace_id(environment: Mapping[str, str]) -> str | None:
    match = _TRACEPARENT.fullmatch(environment.get(VARIABLE, "").strip())
    return None if match is None else match[1]


def _span_trace_id() -> str | None:
    # A job that has a span has imported this; for one that has not, importing it would cost a tenth of a second.
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    try:
        context = api.get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else None
    except Exception:  # another library's, and half imported perhaps: no trace id is worth a job
        return None
