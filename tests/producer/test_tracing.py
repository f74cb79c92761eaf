import re
import subprocess
import sys

import pytest
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from tidings.producer.tracing import current_trace_id

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_trace_id_without_context_is_new() -> None:
    first, second = current_trace_id({}), current_trace_id({})
    assert re.fullmatch("[0-9a-f]{32}", first)
    assert first != second


@pytest.mark.parametrize("variable", [f"00-{TRACE}-00f067aa0ba902b7-01", f" 42-{TRACE}-00f067aa0ba902b7-00-more "])
def test_trace_id_comes_from_traceparent(variable: str) -> None:
    assert current_trace_id({"TRACEPARENT": variable}) == TRACE


@pytest.mark.parametrize(
    "variable",
    [
        "",
        "00",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
    ],
)
def test_invalid_traceparent_is_ignored(variable: str) -> None:
    assert current_trace_id({"TRACEPARENT": variable}) not in (TRACE, "0" * 32)


def test_current_span_precedes_traceparent() -> None:
    span = NonRecordingSpan(SpanContext(int(TRACE, 16), 1, is_remote=False, trace_flags=TraceFlags(1)))
    with trace.use_span(span):
        assert current_trace_id({"TRACEPARENT": f"00-{'1' * 32}-00f067aa0ba902b7-01"}) == TRACE
    assert current_trace_id({"TRACEPARENT": f"00-{'1' * 32}-00f067aa0ba902b7-01"}) == "1" * 32


def test_trace_id_does_not_import_opentelemetry() -> None:
    code = (
        "import sys, tidings; tidings.operation('x').trace_id; "
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
