"""The fields of a struct as the tables of the documents show them: name, type and presence."""

from typing import Any

import msgspec
from msgspec import inspect

INT64 = 2**63 - 1
"""The bound of every integer on the wire, which the tables do not repeat."""


def rows(struct: type[msgspec.Struct]) -> tuple[tuple[str, str, str], ...]:
    """Return the first three cells of each row of a struct's table, in wire order."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return tuple((field.encode_name, _type_of(field), _presence(field)) for field in info.fields)


def _type_of(field: inspect.Field) -> str:
    nullable = isinstance(field.type, inspect.UnionType) and field.type.includes_none
    return type_name(field.type) + (", or null" if field.required and nullable else "")


def _presence(field: inspect.Field) -> str:
    if field.required:
        return "required"
    return "filled in" if field.default_factory is not msgspec.NODEFAULT else "optional"


def type_name(kind: inspect.Type) -> str:
    """Return a type in the words of the documents."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if isinstance(kind, inspect.UnionType):
        return _union(kind)
    if isinstance(kind, inspect.StrType):
        return _string(kind)
    if isinstance(kind, inspect.IntType | inspect.FloatType):
        return ("integer" if isinstance(kind, inspect.IntType) else "number") + _range(kind.ge, kind.le)
    if isinstance(kind, inspect.LiteralType):
        return ", ".join(f'"{value}"' for value in kind.values)
    if isinstance(kind, inspect.EnumType):
        return ", ".join(sorted(f'"{member.value}"' for member in kind.cls))
    if isinstance(kind, inspect.ListType):
        return f"array of {_count(kind)}{type_name(kind.item_type)}s"
    if isinstance(kind, inspect.DictType):
        value = type_name(kind.value_type)
        return "object" if value == "any" else f"object of {value}s"
    names = {inspect.BoolType: "boolean", inspect.AnyType: "any", inspect.StructType: "object"}
    return names[type(kind)]


def _union(kind: inspect.UnionType) -> str:
    parts = [type_name(part) for part in kind.types if not isinstance(part, inspect.NoneType)]
    return " or ".join(sorted(parts, reverse=True))


def _string(kind: inspect.StrType) -> str:
    if kind.min_length and kind.max_length:
        return f"string, {kind.min_length}–{kind.max_length} characters"
    return "string, not empty" if kind.min_length else "string"


def _range(low: Any, high: Any) -> str:
    if high is not None and high != INT64:
        return f", {low}–{high}"
    return f" ≥ {low}" if low is not None and low > -INT64 else ""


def _count(kind: inspect.ListType) -> str:
    if kind.min_length is None or kind.max_length is None:
        return ""
    return f"{kind.min_length}–{kind.max_length:,} "
