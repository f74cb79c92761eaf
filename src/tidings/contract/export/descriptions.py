"""Descriptions for people: shapes in words, and the docstrings of a struct's fields.

The docstring of a field is the string below it, as this project writes them.
"""

import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct

from tidings.contract.export import shapes
from tidings.contract.export.shapes import Bound, Shape

_INT64 = 2**63
"""A bound at this distance from zero only states that a number fits into 64 bits, and is left out."""
_FORMATS = {
    "date-time": "RFC 3339",
    "date": "a date such as 2025-07-30",
    "time": "a time of day with its offset",
    "partial-time": "a time of day",
    "duration": "an ISO 8601 duration",
    "decimal": "a decimal number",
    "base64": "Base64",
    "uuid": "a UUID",
}


def describe_kind(shape: Shape, name: Callable[[str], str] = str) -> str:
    """Return the kind of a shape in words.

    Args:
        shape: The shape.
        name: Returns the text for a definition's name.
    """
    match shape:
        case shapes.TextShape():
            return "text"
        case shapes.NumberShape(integer=integer):
            return "whole number" if integer else "number"
        case shapes.BooleanShape():
            return "true or false"
        case shapes.NullShape():
            return "null"
        case shapes.AnyShape():
            return "anything"
        case shapes.NamedShape(definition):
            return name(definition)
        case shapes.EnumShape(values):
            return " or ".join(json.dumps(value, ensure_ascii=False) for value in values)
        case shapes.UnionShape(options):
            return " or ".join(dict.fromkeys(describe_kind(option, name) for option in options))
        case shapes.ArrayShape():
            return f"array of {describe_kind(shape.items, name)}"
        case shapes.TupleShape():
            return f"array of {', '.join(describe_kind(item, name) for item in shape.items)}"
        case shapes.MapShape():
            return f"object of {describe_kind(shape.values, name)}"
        case shapes.ObjectShape():
            return "object"


def describe_limits(shape: Shape) -> str:
    """Return the limits of a shape in words; "" if it has none."""
    shape = shapes.remove_null(shape)
    match shape:
        case shapes.TextShape():
            return ", ".join(filter(None, (_length(shape), _pattern(shape), _format(shape))))
        case shapes.NumberShape():
            return _bounds(shape)
        case shapes.ArrayShape():
            return _count(shape.min_length, shape.max_length, "item")
        case shapes.MapShape():
            return _count(shape.min_length, shape.max_length, "member")
        case shapes.UnionShape(options):
            return "; ".join(dict.fromkeys(filter(None, map(describe_limits, options))))
    return ""


def to_sentence(text: str) -> str:
    """Return a clause as a sentence; "" for no clause."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _length(text: shapes.TextShape) -> str:
    return _count(text.min_length, text.max_length, "character")


def _pattern(text: shapes.TextShape) -> str:
    return f"matches `{text.pattern}`" if text.pattern else ""


def _format(text: shapes.TextShape) -> str:
    return _FORMATS.get(text.format, text.format) if text.format else ""


def _count(minimum: int | None, maximum: int | None, unit: str) -> str:
    if minimum is None and maximum is None:
        return ""
    units = f"{unit}{'' if (minimum if maximum is None else maximum) == 1 else 's'}"
    if maximum is None:
        return f"at least {minimum:,} {units}"
    return f"at most {maximum:,} {units}" if minimum is None else f"{minimum:,}–{maximum:,} {units}"


def _bounds(number: shapes.NumberShape) -> str:
    minimum, maximum = _drop_int64(number.minimum), _drop_int64(number.maximum)
    words = []
    if minimum is not None and maximum is not None:
        words.append(f"{minimum:,}–{maximum:,}")
    elif minimum is not None:
        words.append(f"at least {minimum:,}")
    elif maximum is not None:
        words.append(f"at most {maximum:,}")
    if number.exclusive_minimum is not None:
        words.append(f"above {number.exclusive_minimum:,}")
    if number.exclusive_maximum is not None:
        words.append(f"below {number.exclusive_maximum:,}")
    if number.multiple_of is not None:
        words.append(f"a multiple of {number.multiple_of:,}")
    return ", ".join(words)


def _drop_int64(bound: Bound) -> Bound:
    return None if bound is not None and abs(bound) >= _INT64 - 1 else bound


def list_structs(types: Iterable[type[Struct]]) -> dict[str, type]:
    """Return `types` and all classes of their fields, by both names that a definition may have."""
    found: dict[str, type] = {}
    seen: set[Any] = set()
    waiting: list[Any] = list(msgspec.inspect.multi_type_info(types))
    while waiting:
        kind = waiting.pop()
        cls = getattr(kind, "cls", None)
        if cls is not None and cls in seen:
            continue
        seen.add(cls)
        plain = getattr(cls, "__origin__", cls)
        if isinstance(plain, type):
            # msgspec names a definition after its class, with the module in front if several classes share the name.
            found[_normalize(f"{plain.__module__}.{plain.__qualname__}")] = plain
            found.setdefault(_normalize(plain.__name__), plain)
        for part in ("type", "item_type", "key_type", "value_type"):
            waiting.extend(filter(None, (getattr(kind, part, None),)))
        for parts in ("types", "item_types"):
            waiting.extend(getattr(kind, parts, ()))
        waiting.extend(field.type for field in getattr(kind, "fields", ()))
    return found


def _normalize(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9.\-_]", "_", name)


def describe_fields(definitions: Mapping[str, dict[str, Any]], types: Iterable[type[Struct]]) -> None:
    """Add the docstrings of fields to the definitions of `types`, except for fields that `Meta` describes."""
    classes = list_structs(types)
    for name, definition in definitions.items():
        cls = classes.get(name)
        texts = {} if cls is None else _by_json_name(cls, read_field_docstrings(cls))
        for field, schema in definition.get("properties", {}).items():
            if field in texts:
                schema.setdefault("description", texts[field])


def _by_json_name(cls: type, texts: dict[str, str]) -> dict[str, str]:
    """Return texts by the names of the fields in JSON."""
    if not issubclass(cls, Struct):
        return texts
    return {each.encode_name: texts[each.name] for each in msgspec.structs.fields(cls) if each.name in texts}


def read_field_docstrings(cls: type) -> dict[str, str]:
    """Return the docstrings below the fields of a class, by field; none if its source is not available."""
    texts: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        texts.update(_read_module(each.__module__).get(each.__qualname__, {}))
    return texts


@lru_cache(maxsize=256)
def _read_module(name: str) -> Mapping[str, Mapping[str, str]]:
    module = sys.modules.get(name)
    try:
        tree = ast.parse(inspect.getsource(module)) if module is not None else None
    except (OSError, TypeError, SyntaxError):
        return {}  # the module has no file, or the file is gone
    found: dict[str, dict[str, str]] = {}
    if tree is not None:
        _collect_classes(tree.body, "", found)
    return found


def _collect_classes(body: list[ast.stmt], prefix: str, found: dict[str, dict[str, str]]) -> None:
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            found[prefix + statement.name] = _field_docstrings(statement.body)
            _collect_classes(statement.body, f"{prefix}{statement.name}.", found)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            _collect_classes(statement.body, f"{prefix}{statement.name}.<locals>.", found)


def _field_docstrings(body: list[ast.stmt]) -> dict[str, str]:
    texts = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = _string_constant(below)
            if text is not None:
                texts[field.target.id] = " ".join(text.split())
    return texts


def _string_constant(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
    return None
