"""What a shape allows, in words.

What a struct's author says of each field: the one-line docstring below it, as this project writes them.
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
"""Bounds this far away say only that a number fits into 64 bits."""
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
    """Return what kind of value a shape is, as a person would say it.

    Args:
        shape: The shape.
        name: What to call a definition.
    """
    match shape:
        case shapes.TextShape():
            return "text"
        case shapes.NumberShape(whole=whole):
            return "whole number" if whole else "number"
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
    """Return the bounds of a shape; "" where it has none."""
    shape = shapes.remove_null(shape)
    match shape:
        case shapes.TextShape():
            return ", ".join(filter(None, (_length(shape), _pattern(shape), _format(shape))))
        case shapes.NumberShape():
            return _bounds(shape)
        case shapes.ArrayShape():
            return _count(shape.shortest, shape.longest, "item")
        case shapes.MapShape():
            return _count(shape.fewest, shape.most, "member")
        case shapes.UnionShape(options):
            return "; ".join(dict.fromkeys(filter(None, map(describe_limits, options))))
    return ""


def to_sentence(text: str) -> str:
    """Return words as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _length(text: shapes.TextShape) -> str:
    return _count(text.shortest, text.longest, "character")


def _pattern(text: shapes.TextShape) -> str:
    return f"matches `{text.pattern}`" if text.pattern else ""


def _format(text: shapes.TextShape) -> str:
    return _FORMATS.get(text.format, text.format) if text.format else ""


def _count(least: int | None, most: int | None, unit: str) -> str:
    if least is None and most is None:
        return ""
    many = f"{unit}{'' if (least if most is None else most) == 1 else 's'}"
    if most is None:
        return f"at least {least:,} {many}"
    return f"at most {most:,} {many}" if least is None else f"{least:,}–{most:,} {many}"


def _bounds(number: shapes.NumberShape) -> str:
    least, most = _near(number.least), _near(number.most)
    words = []
    if least is not None and most is not None:
        words.append(f"{least:,}–{most:,}")
    elif least is not None:
        words.append(f"at least {least:,}")
    elif most is not None:
        words.append(f"at most {most:,}")
    if number.above is not None:
        words.append(f"above {number.above:,}")
    if number.below is not None:
        words.append(f"below {number.below:,}")
    if number.multiple_of is not None:
        words.append(f"a multiple of {number.multiple_of:,}")
    return ", ".join(words)


def _near(bound: Bound) -> Bound:
    return None if bound is not None and abs(bound) >= _INT64 - 1 else bound


def list_structs(types: Iterable[type[Struct]]) -> dict[str, type]:
    """Return every class that `types` are made of, themselves included, by both names that a definition may have."""
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
            # As msgspec names definitions: by the class, and with its module where several have one name.
            found[_normal(f"{plain.__module__}.{plain.__qualname__}")] = plain
            found.setdefault(_normal(plain.__name__), plain)
        for part in ("type", "item_type", "key_type", "value_type"):
            waiting.extend(filter(None, (getattr(kind, part, None),)))
        for parts in ("types", "item_types"):
            waiting.extend(getattr(kind, parts, ()))
        waiting.extend(field.type for field in getattr(kind, "fields", ()))
    return found


def _normal(name: str) -> str:
    return re.sub(r"[^a-zA-Z0-9.\-_]", "_", name)


def describe_fields(definitions: Mapping[str, dict[str, Any]], types: Iterable[type[Struct]]) -> None:
    """Add to the definitions of `types` what their authors say below each field, unless `Meta` says something else."""
    classes = list_structs(types)
    for name, definition in definitions.items():
        cls = classes.get(name)
        texts = {} if cls is None else _as_written(cls, read_field_docstrings(cls))
        for field, schema in definition.get("properties", {}).items():
            if field in texts:
                schema.setdefault("description", texts[field])


def _as_written(cls: type, texts: dict[str, str]) -> dict[str, str]:
    """Return texts by the names that JSON has for the fields."""
    if not issubclass(cls, Struct):
        return texts
    return {each.encode_name: texts[each.name] for each in msgspec.structs.fields(cls) if each.name in texts}


def read_field_docstrings(cls: type) -> dict[str, str]:
    """Return, by field, the docstring that stands below it in the source, where that can be had."""
    texts: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        texts.update(_of_module(each.__module__).get(each.__qualname__, {}))
    return texts


@lru_cache(maxsize=256)
def _of_module(name: str) -> Mapping[str, Mapping[str, str]]:
    module = sys.modules.get(name)
    try:
        tree = ast.parse(inspect.getsource(module)) if module is not None else None
    except (OSError, TypeError, SyntaxError):
        return {}  # made without a file, or the file is not there any more
    found: dict[str, dict[str, str]] = {}
    if tree is not None:
        _collect(tree.body, "", found)
    return found


def _collect(body: list[ast.stmt], prefix: str, found: dict[str, dict[str, str]]) -> None:
    for statement in body:
        if isinstance(statement, ast.ClassDef):
            found[prefix + statement.name] = _texts(statement.body)
            _collect(statement.body, f"{prefix}{statement.name}.", found)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            _collect(statement.body, f"{prefix}{statement.name}.<locals>.", found)


def _texts(body: list[ast.stmt]) -> dict[str, str]:
    texts = {}
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = _constant(below)
            if text is not None:
                texts[field.target.id] = " ".join(text.split())
    return texts


def _constant(statement: ast.stmt) -> str | None:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
    return None
