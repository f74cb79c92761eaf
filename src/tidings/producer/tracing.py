"""Tracing: the trace of an operation, inherited from its environment or new."""

import os
import re
import secrets
import sys
from collections.abc import Mapping

from tidings.producer.sanitize import read

TRACEPARENT_VARIABLE = "TRACEPARENT"
"""Environment variable with the trace of a process (OpenTelemetry, "Environment Variables as Context Propagation")."""
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def current_trace_id(environment: Mapping[str, str] | None = None) -> str:
    """Return the trace id for an operation that begins now: 32 lowercase hex digits.

    It is that of the current OpenTelemetry span, else that of the variable TRACEPARENT (W3C Trace Context §3.2), else a
    new one.

    Args:
        environment: Environment variables. Default: those of the process.
    """
    return _span_trace_id() or _inherited_trace_id(os.environ if environment is None else environment) or new_trace_id()


def new_trace_id() -> str:
    """Return a random W3C trace id."""
    return secrets.token_hex(16)


def _inherited_trace_id(environment: Mapping[str, str]) -> str | None:
    match = _TRACEPARENT.fullmatch(environment.get(TRACEPARENT_VARIABLE, "").strip())
    return None if match is None else match[1]


def _span_trace_id() -> str | None:
    # A job with a span has imported this module; for any other, importing it would cost a tenth of a second.
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None

    def trace_id() -> str | None:
        context = api.get_current_span().get_span_context()
        return f"{context.trace_id:032x}" if context.is_valid else None

    return read(trace_id, None)  # another library, perhaps half imported
