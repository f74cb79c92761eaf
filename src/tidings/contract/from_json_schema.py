"""Payload structs made of JSON Schemas: the part of 2020-12 that a contract's file may use.

What a schema says beyond it is an error that names its place: a rule that was read and not kept would be worse.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct

from tidings.exceptions import InvalidContract
from tidings.protocol.envelope import MAX_DEPTH
from tidings.protocol.payloads import Int64, Payload

_ANNOTATIONS = frozenset({"title", "description", "examples", "default", "deprecated", "$comment", "format"})
"""Keywords that decide nothing."""
_STRING = {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_NUMBER = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}
_ARRAY = {"minItems": "min_length", "maxItems": "max_length"}
_OBJECT = {"properties", "required", "additionalProperties"}
_REFERENCE = re.compile(r"#/\$defs/(?P<name>.+)")
_SIMPLE = {"string": str, "number": float, "boolean": bool, "null": None, "any": Any}
_SHORT = re.compile(r"(?P<type>[a-z]+)(?P<array>\[\])?(?P<optional>\?)?")

Schema = Mapping[str, Any]


class SchemaReader:
    """Makes structs of schemas.

    Args:
        definitions: What ``#/$defs/…`` names.
        source: Where they come from: structs of different sources may have equal names.
    """

    def __init__(self, definitions: Mapping[str, Any] | None = None, source: str = "") -> None:
        self._definitions = definitions or {}
        self._source = source
        self._named: set[str] = set()
        self._depth = 0
        self._made: dict[str, Any] = {}
        """What was made of a reference: the same type for all who refer to it."""

    def payload(self, name: str, schema: Any, path: str, *, about: str = "") -> type[Struct]:
        """Return the struct of an object's schema.

        Args:
            name: The struct's.
            schema: The schema, or a reference to one.
            path: Where it stands, for messages.
            about: What to say of it where the schema says nothing.

        Raises:
            InvalidContract: It is none, or says what a struct cannot keep.
        """
        resolved, resolved_path = self._resolved(schema, path)
        if not isinstance(resolved, Mapping) or resolved.get("type") != "object" or "properties" not in resolved:
            raise _fault(resolved_path, 'a payload is {"type": "object", "properties": …}')
        return self._struct(str(resolved.get("title") or name), {"description": about, **resolved}, resolved_path)

    def fields(self, name: str, fields: Any, path: str, *, about: str = "") -> type[Struct]:
        """Return the struct of the short form: names with a type's name each, ``?`` where it may be absent.

        Raises:
            InvalidContract: It is none.
        """
        if not isinstance(fields, Mapping):
            raise _fault(path, 'fields are {"name": "string", "price": "number?", …}')
        properties: dict[str, Any] = {}
        required = []
        for field, said in fields.items():
            match = _SHORT.fullmatch(said) if isinstance(said, str) else None
            if isinstance(said, str) and (match is None or match["type"] not in (*_SIMPLE, "integer", "object")):
                words = "string, number, integer, boolean, object or any, then [] for an array and ? for optional"
                raise _fault(f"{path}.{field}", f"{said!r} is no type: write {words}")
            schema: Any = said
            if match is not None:
                schema = {} if match["type"] == "any" else {"type": match["type"]}
                schema = {"type": "array", "items": schema} if match["array"] else schema
            if match is None or not match["optional"]:
                required.append(field)
            properties[field] = schema
        return self._struct(name, {"description": about, "properties": properties, "required": required}, path)

    def _struct(self, name: str, schema: Schema, path: str) -> type[Struct]:
        _check_keywords(schema, {"type", "$schema", "$id", "$defs", *_OBJECT}, path)
        if schema.get("additionalProperties") not in (None, True, False):
            raise _fault(path, "an object has properties, or values of one kind, not both")
        required = schema.get("required", [])
        properties = schema.get("properties", {})
        if missing := [field for field in required if field not in properties]:
            raise _fault(f"{path}.required", f"{missing[0]!r} is not among the properties")
        fields: list[Any] = []
        for field, of_field in properties.items():
            kind = _described(self._type(f"{name}_{field}", of_field, f"{path}.properties.{field}"), of_field)
            if field in required:
                fields.append((_identifier(field, path), kind))
            else:
                fields.append((_identifier(field, path), kind | None, None))
        return msgspec.defstruct(
            self._unused(_class_name(name)),
            fields,
            module=self._source or None,
            bases=(Payload,),
            frozen=True,
            kw_only=True,
            omit_defaults=True,
            namespace={"__doc__": schema.get("description") or None},
        )

    def _unused(self, name: str) -> str:
        """Return `name`, with a number where another struct has it: msgspec tells structs apart by their names."""
        unused, number = name, 2
        while unused in self._named:
            unused, number = f"{name}{number}", number + 1
        self._named.add(unused)
        return unused

    def _type(self, name: str, schema: Any, path: str) -> Any:
        reference = schema.get("$ref") if isinstance(schema, Mapping) else None
        if isinstance(reference, str) and reference in self._made:
            return self._made[reference]
        if isinstance(reference, str):
            name = reference.rpartition("/")[2]
        schema, path = self._resolved(schema, path)
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                raise _fault(path, "it contains itself, or nests too deep")
            made = self._of_schema(name, schema, path)
        finally:
            self._depth -= 1
        if isinstance(reference, str):
            self._made[reference] = made
        return made

    def _of_schema(self, name: str, schema: Any, path: str) -> Any:
        if schema is True or schema == {}:
            return Any
        if not isinstance(schema, Mapping):
            raise _fault(path, "a schema is an object")
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                _check_keywords(schema, {keyword}, path)
                parts = [
                    self._type(f"{name}_{index}", part, f"{path}.{keyword}[{index}]")
                    for index, part in enumerate(schema[keyword])
                ]
                return _union(parts, path)
        if "const" in schema or "enum" in schema:
            _check_keywords(schema, {"const", "enum", "type"}, path)
            return _choice(schema.get("enum", [schema.get("const")]), path)
        kind = schema.get("type")
        if isinstance(kind, list):
            return _union([self._type(name, {**schema, "type": each}, path) for each in kind], path)
        return self._of_kind(name, kind, schema, path)

    def _of_kind(self, name: str, kind: Any, schema: Schema, path: str) -> Any:
        if kind == "object":
            if "properties" in schema:
                return self._struct(str(schema.get("title") or name), schema, path)
            _check_keywords(schema, {"type", "additionalProperties"}, path)
            values = schema.get("additionalProperties", True)
            return dict[str, self._type(name, values, f"{path}.additionalProperties")]  # type: ignore[misc]
        if kind == "array":
            _check_keywords(schema, {"type", "items", *_ARRAY}, path)
            of_item = self._type(name, schema.get("items", True), f"{path}.items")
            return _bounded(list[of_item], schema, _ARRAY)  # type: ignore[valid-type]
        if kind == "integer":
            _check_keywords(schema, {"type", *_NUMBER}, path)
            return _bounded(int, schema, _NUMBER) if set(schema) & set(_NUMBER) else Int64
        if kind in ("string", "number"):
            bounds = _STRING if kind == "string" else _NUMBER
            _check_keywords(schema, {"type", *bounds}, path)
            return _bounded(_SIMPLE[kind], schema, bounds)
        if kind in ("boolean", "null"):
            _check_keywords(schema, {"type"}, path)
            return _SIMPLE[kind]
        raise _fault(path, f"{kind!r} is no type of JSON Schema")

    def _resolved(self, schema: Any, path: str) -> tuple[Any, str]:
        seen = set()
        while isinstance(schema, Mapping) and "$ref" in schema:
            reference = str(schema["$ref"])
            match = _REFERENCE.fullmatch(reference)
            if match is None or match["name"] not in self._definitions:
                raise _fault(path, f"{reference!r} is not in $defs")
            if reference in seen:
                raise _fault(path, f"{reference!r} refers to itself")
            seen.add(reference)
            schema, path = self._definitions[match["name"]], f"$.$defs.{match['name']}"
        return schema, path


def _bounded(kind: Any, schema: Schema, bounds: Mapping[str, str]) -> Any:
    said = {meta: schema[keyword] for keyword, meta in bounds.items() if keyword in schema}
    return Annotated[kind, Meta(**said)] if said else kind


def _described(kind: Any, schema: Any) -> Any:
    """Return `kind` with what its schema says of it, so that it is exported again."""
    said = {
        name: schema[name]
        for name, form in (("description", str), ("examples", list))
        if isinstance(schema, Mapping) and isinstance(schema.get(name), form)
    }
    return Annotated[kind, Meta(**said)] if said else kind


def _choice(values: Any, path: str) -> Any:
    if not isinstance(values, list) or not values or not all(isinstance(each, str | int | None) for each in values):
        raise _fault(path, "a choice is among texts and whole numbers")
    return Literal[tuple(values)]


def _union(parts: list[Any], path: str) -> Any:
    kind: Any = UNSET
    for part in parts:
        kind = part if kind is UNSET else kind | part
    if kind is UNSET:
        raise _fault(path, "a choice of no kinds")
    return kind


def _check_keywords(schema: Schema, known: set[str], path: str) -> None:
    unknown = sorted(set(schema) - known - _ANNOTATIONS)
    if unknown:
        raise _fault(f"{path}.{unknown[0]}", "a contract's schemas cannot say this")


def _identifier(name: str, path: str) -> str:
    if not name.isidentifier():
        raise _fault(f"{path}.properties", f"{name[:64]!r} is no name of a field: use letters, digits and _")
    return name


def _class_name(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name) if part) or "Payload"


def _fault(path: str, fault: str) -> InvalidContract:
    return InvalidContract(f"{path}: {fault}", type="")
