"""Operations as the hub tells them, at seconds of one fixed day."""

from typing import Any

from tests.cli.watch.event_likes import NOON

from tidings.operations.lifecycle import OperationState
from tidings.operations.views import OperationDetail, OperationSummary
from tidings.protocol.payloads import ErrorData
from tidings.protocol.timestamps import from_nanoseconds

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def at(second: float) -> str:
    """Return the time this many seconds after noon."""
    return from_nanoseconds(int((NOON + second) * 1e9))


def summary(state: str = "running", **more: Any) -> OperationSummary:
    """Return an operation that began, and was heard of, at noon."""
    return OperationSummary(**facts(state, more))


def detail(state: str = "running", **more: Any) -> OperationDetail:
    """Return the same with all that is known of it."""
    lists: dict[str, list[Any]] = {"steps": [], "timeline": [], "attempts": [], "log": [], "children": []}
    return OperationDetail(**{**facts(state, more), **{name: more.get(name, empty) for name, empty in lists.items()}})


def facts(state: str, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "operation_id": "op-1",
        "name": "Import prices",
        "state": OperationState(state),
        "attempt": 1,
        "trace_id": TRACE,
        "started_at": at(0),
        "heard_at": at(0),
        **more,
    }


def error(code: str = "bad_row", message: str = "row 7 is bad", **more: Any) -> ErrorData:
    return ErrorData(code=code, message=message, recoverable=False, **more)
