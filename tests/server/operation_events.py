"""Events of an operation, as a publisher posts them."""

from typing import Any

Post = dict[str, Any]


def start(operation_id: str, **members: Any) -> Post:
    return {"type": "operation:start", "data": {"operation_id": operation_id, **members}}


def progress(operation_id: str, percent: float, **members: Any) -> Post:
    return {"type": "operation:progress", "data": {"operation_id": operation_id, "progress": percent, **members}}


def line(operation_id: str, message: str, **members: Any) -> Post:
    return {"type": "operation:log", "data": {"operation_id": operation_id, "message": message, **members}}


def complete(operation_id: str, **members: Any) -> Post:
    return {"type": "operation:complete", "data": {"operation_id": operation_id, **members}}


def failed(operation_id: str, **members: Any) -> Post:
    data = {"operation_id": operation_id, "code": "boom", "message": "it broke", "recoverable": True, **members}
    return {"type": "operation:failed", "data": data}


def cancelled(operation_id: str, **members: Any) -> Post:
    return {"type": "operation:cancelled", "data": {"operation_id": operation_id, **members}}
