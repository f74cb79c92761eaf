"""What a struct's author says of each field: the one-line docstring below it, as this project writes them."""

import ast
import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct


def structs_in(types: Iterable[type[Struct]]) -> dict[str, type]:
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
    classes = structs_in(types)
    for name, definition in definitions.items():
        cls = classes.get(name)
        texts = {} if cls is None else _as_written(cls, field_texts(cls))
        for field, schema in definition.get("properties", {}).items():
            if field in texts:
                schema.setdefault("description", texts[field])


def _as_written(cls: type, texts: dict[str, str]) -> dict[str, str]:
    """Return texts by the names that JSON has for the fields."""
    if not issubclass(cls, Struct):
        return texts
    return {each.encode_name: texts[each.name] for each in msgspec.structs.fields(cls) if each.name in texts}


def field_texts(cls: type) -> dict[str, str]:
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
