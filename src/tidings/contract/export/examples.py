"""Examples of messages: written ones for the catalogue, generated ones for the events of an application."""

import re
from copy import deepcopy
from typing import Any

import msgspec

from tidings.contract.contract import Contract
from tidings.contract.event_types import BUILTIN
from tidings.contract.export import shapes
from tidings.contract.export.model import Message, Model
from tidings.contract.export.shapes import Shape, ShapeField, list_references
from tidings.protocol import messages
from tidings.protocol.message_types import MessageType

_TEXTS_BY_FORMAT = {
    "date-time": "2025-07-30T12:00:00Z",
    "date": "2025-07-30",
    "time": "12:00:00Z",
    "partial-time": "12:00:00",
    "duration": "PT5M",
    "uuid": "0197f3a6-3c1e-7d0c-9a51-2f6f0a1b4c5d",
    "decimal": "12.50",
    "base64": "dGlkaW5ncw==",
}
_CANDIDATES = (
    "text",
    "a",
    "A",
    "ABC",
    "abc",
    "1",
    "123",
    "a-1",
    "A1",
    "2025-07-30",
    "12:00",
    "a@example.com",
    "a.b",
    "#0a0",
)
"""Candidates for a text with a pattern. A text that no candidate fits is left out of the example."""
_EVENT_EXAMPLES: dict[str, dict[str, Any]] = {
    MessageType.OPERATION_START: {"operation_id": "op-42", "name": "nightly import", "total_steps": 3},
    MessageType.OPERATION_PROGRESS: {
        "operation_id": "op-42",
        "progress": 45.5,
        "current_step": "parse",
        "total_steps": 3,
        "message": "4,550 of 10,000 rows",
    },
    MessageType.OPERATION_LOG: {"operation_id": "op-42", "level": "warning", "message": "row 17 has no price"},
    MessageType.OPERATION_COMPLETE: {"operation_id": "op-42", "duration_ms": 81250, "result": {"rows": 10000}},
    MessageType.OPERATION_FAILED: {
        "operation_id": "op-42",
        "code": "source_unreachable",
        "message": "the price feed did not answer",
        "recoverable": True,
        "hint": "Start it again in a few minutes.",
    },
    MessageType.OPERATION_CANCELLED: {"operation_id": "op-42", "reason": "not needed any more", "cancelled_by": "ann"},
    MessageType.OPERATION_ESTIMATE: {"operation_id": "op-42", "rate": 1.2, "remaining_s": 45, "stalled": False},
    MessageType.DATA_UPDATE: {"dataset": "prices", "version": 17, "records": 10000},
    MessageType.DATA_PROCESSED: {"dataset": "prices", "records": 10000, "duration_ms": 950},
    MessageType.DATA_ERROR: {
        "dataset": "prices",
        "code": "bad_row",
        "message": "row 17 has no price",
        "recoverable": True,
    },
    MessageType.REPORT_READY: {
        "report_id": "r-7",
        "name": "July",
        "url": "https://example.com/r-7.pdf",
        "format": "pdf",
    },
    MessageType.SYSTEM_STATUS: {"status": "healthy", "uptime": 3600, "active_operations": 2, "metrics": {"cpu": 0.25}},
    MessageType.SYSTEM_ALERT: {
        "severity": "warning",
        "code": "disk_low",
        "message": "2 GB are left on /var",
        "recoverable": True,
        "hint": "Make room, or shorten the retention.",
    },
    MessageType.SYSTEM_METRICS: {"source": "importer", "window_s": 60, "metrics": {"rows_per_s": 812.5}},
    MessageType.LICENSE_EXPIRED: {"expired_at": "2025-07-30T00:00:00Z", "license_id": "l-1", "hint": "Renew it."},
    MessageType.CONNECTION_ESTABLISHED: {
        "connection_id": "c-1f6b",
        "contract": {"version": "2025-07-30", "hash": "sha256:9f0c"},
        "position": "0badc0de:512",
        "now": "2025-07-30T12:00:00Z",
        "heartbeat_s": 20,
        "channels": ["global", "operations", "data", "system"],
        "auth": "none",
    },
    MessageType.CONNECTION_CLOSED: {
        "code": 4100,
        "reason": "the hub is shutting down",
        "reconnect": True,
        "retry_after_ms": 1000,
    },
    MessageType.AUTH_REQUIRED: {"methods": ["token"], "reason": "missing", "deadline_s": 10},
    MessageType.AUTH_SUCCESS: {"subject": "ann", "grants": ["read operations/acme.*"]},
    MessageType.AUTH_FAILED: {"code": "token_expired", "message": "the token ended at noon", "recoverable": True},
}
_HUB_EXAMPLES: dict[str, dict[str, Any]] = {
    messages.SUBSCRIBED: {"channels": ["operations/op-42"], "position": "0badc0de:512", "outcome": "snapshot"},
    messages.UNSUBSCRIBED: {"channels": ["operations"]},
    messages.LIVE: {"channels": ["operations/op-42"], "position": "0badc0de:519"},
    messages.GAP: {"after": "0badc0de:17", "until": "0badc0de:480", "reason": "trimmed"},
    messages.ERROR: {
        "code": "unknown_type",
        "message": "$.type: unknown type 'operation:finish'",
        "recoverable": False,
        "hint": "Did you mean 'operation:failed'?",
    },
    messages.NOTICE: {
        "code": "deprecated",
        "message": "operation:error is deprecated",
        "hint": "Publish operation:failed.",
    },
    messages.PONG: {"now": "2025-07-30T12:00:00Z"},
    messages.POSITION: {"position": "0badc0de:519", "now": "2025-07-30T12:00:00Z"},
    messages.ACCEPTED: {"position": "0badc0de:520", "attempt": 1},
    messages.CANCEL: {"operation_id": "op-42", "attempt": 1, "reason": "not needed any more", "cancelled_by": "ann"},
    messages.CANCEL_OUTCOME: {
        "operation_id": "op-42",
        "attempt": 1,
        "outcome": "cancelled",
        "state": "cancelled",
    },
    messages.ATTACHED: {
        "producer_id": "importer-7",
        "lease_s": 30,
        "operations": [{"operation_id": "op-42", "attempt": 1, "verdict": "held"}],
    },
}
_COMMAND_EXAMPLES: dict[str, dict[str, Any]] = {
    messages.SUBSCRIBE: {"channels": ["operations/op-42"], "since": "snapshot"},
    messages.UNSUBSCRIBE: {"channels": ["operations/op-42"]},
    messages.ATTACH: {"producer_id": "importer-7", "operations": [{"operation_id": "op-42", "attempt": 1}]},
    messages.CANCEL: {"operation_id": "op-42", "reason": "not needed any more", "timeout_s": 10},
    messages.CANCEL_ANSWER: {"verdict": "stopping"},
    messages.AUTH_TOKEN: {"token": "tdk_example"},
}


def build_example(contract: Contract, model: Model, message: Message) -> dict[str, Any]:
    """Return an example of a message: a command as a client sends it, others as a plain connection receives them."""
    if message in model.commands:
        command = {"type": message.type, "data": deepcopy(_COMMAND_EXAMPLES.get(message.type))}
        return {**command, "id": "1"} if message.answered_by else {**command, "reply_to": "hub-1"}
    event = contract.events.get(message.type)
    own = _HUB_EXAMPLES.get(message.type) if event is None else None
    if event in BUILTIN:
        own = _EVENT_EXAMPLES[message.type]
    envelope: dict[str, Any] = {
        "type": message.type,
        "timestamp": _TEXTS_BY_FORMAT["date-time"],
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "data": deepcopy(own) or _Generator(model).generate_definition(message.payload),
    }
    if message.channel is not None:
        envelope["channel"] = message.channel
    return envelope


class _Generator:
    """Generates values that fit shapes."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._inside: list[str] = []
        """Definitions under construction: an optional reference to one of them is left out, so that the value ends."""

    def generate_definition(self, name: str) -> Any:
        self._inside.append(name)
        try:
            return self.generate(self._model.definitions[name].shape, name)
        finally:
            self._inside.pop()

    def generate(self, shape: Shape, name: str) -> Any:
        """Return a value that fits a shape; None if none was found, or only null fits.

        Args:
            shape: The shape.
            name: Name of the value, which becomes part of texts.
        """
        match shape:
            case shapes.TextShape():
                return _text(shape, name)
            case shapes.NumberShape():
                return _number(shape)
            case shapes.BooleanShape():
                return True
            case shapes.EnumShape(values):
                return values[0]
            case shapes.NamedShape(definition):
                return self.generate_definition(definition)
            case shapes.UnionShape(options):
                return self.generate(options[0], name)
            case shapes.ArrayShape():
                recursive = any(each in self._inside for each in list_references(shape.items))
                return [] if recursive else [self.generate(shape.items, name)] * (shape.min_length or 1)
            case shapes.TupleShape():
                return [self.generate(item, name) for item in shape.items]
            case shapes.MapShape():
                return {f"{_text(shape.names or shapes.TextShape(), 'name')}": self.generate(shape.values, "value")}
            case shapes.ObjectShape(fields=fields):
                return self._object(fields)
        return None

    def _object(self, fields: tuple[ShapeField, ...]) -> dict[str, Any]:
        made = {}
        for field in fields:
            if not field.required and any(name in self._inside for name in list_references(field.shape)):
                continue
            value = field.examples[0] if field.examples else _default(field)
            if value is None:
                value = self.generate(shapes.remove_null(field.shape), field.name)
            if value is not None or field.required:
                made[field.name] = value
        return made


def _default(field: ShapeField) -> Any:
    return None if field.default is msgspec.UNSET or not field.default else field.default


def _text(text: shapes.TextShape, name: str) -> str | None:
    minimum, maximum = text.min_length or 0, text.max_length
    if text.format in _TEXTS_BY_FORMAT:
        return _TEXTS_BY_FORMAT[text.format]
    if text.pattern is not None:
        found = re.compile(text.pattern)
        fits = [each for each in _CANDIDATES if found.search(each) and minimum <= len(each) <= (maximum or len(each))]
        return fits[0] if fits else None
    made = f"{name.removesuffix('_id')}-1" if name.endswith("_id") else name.replace("_", " ")
    made = "https://example.com/" if name.endswith("url") else made
    return made[:maximum].ljust(minimum, "x")


def _number(number: shapes.NumberShape) -> int | float | None:
    step = number.multiple_of or (1 if number.integer else 0.5)
    low = next((bound for bound in (number.minimum, number.exclusive_minimum) if bound is not None), None)
    high = next((bound for bound in (number.maximum, number.exclusive_maximum) if bound is not None), None)
    candidates = [step, 0]
    if low is not None:
        candidates += [low, (low // step + 1) * step]
    if high is not None:
        candidates += [high, -(-high // step) * step - step]
    if low is not None and high is not None:
        candidates.append((low + high) / 2)
    fits = [value for value in candidates if _is_within(number, value)]
    return (int(fits[0]) if number.integer else fits[0]) if fits else None


def _is_within(number: shapes.NumberShape, value: float) -> bool:
    return (
        (number.minimum is None or value >= number.minimum)
        and (number.maximum is None or value <= number.maximum)
        and (number.exclusive_minimum is None or value > number.exclusive_minimum)
        and (number.exclusive_maximum is None or value < number.exclusive_maximum)
        and not (number.integer and value % 1)
        and not (number.multiple_of is not None and value % number.multiple_of)
    )
