"""Payload structs made from JSON Schemas: the part of 2020-12 that a contract's file may use.

A keyword beyond that part is an error that names its place: a rule that is read and not enforced would be worse.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct

from tidings.contract.json_schema import (
    NULL,
    AnySchema,
    EnumSchema,
    ReferenceSchema,
    Schema,
    TypedSchema,
    UnionSchema,
    annotations_of,
    find_definition,
    limiting_keywords,
    read_schema,
    schema_error,
)
from tidings.protocol.envelope import MAX_DEPTH
from tidings.protocol.payloads import Int64, Payload

_STRING = {"minLength": "min_length", "maxLength": "max_length", "pattern": "pattern"}
_NUMBER = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
}
_ARRAY = {"minItems": "min_length", "maxItems": "max_length"}
_LIMITS = {"string": _STRING, "number": _NUMBER, "integer": _NUMBER, "array": _ARRAY}
"""By kind, the keywords that a struct enforces, and the argument of `Meta` for each."""
_STRUCT_KEYWORDS = frozenset({"type", "properties", "required", "additionalProperties"})
_SIMPLE_TYPES = {"string": str, "number": float, "integer": int, "boolean": bool, NULL: None}
_SHORT_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "null", "any"})
_SHORT = re.compile(r"(?P<type>[a-z]+)(?P<array>\[\])?(?P<optional>\?)?")


class PayloadBuilder:
    """Builds structs from schemas.

    Args:
        definitions: The definitions that ``#/$defs/…`` refers to.
        source: Name of the document: structs of different documents may have equal names.
    """

    def __init__(self, definitions: Mapping[str, Any] | None = None, source: str = "") -> None:
        self._definitions = definitions or {}
        self._source = source
        self._struct_names: set[str] = set()
        self._depth = 0
        self._types: dict[str, Any] = {}
        """The type built for each definition: one for all references to it."""

    def from_schema(self, name: str, schema: Any, path: str, *, about: str = "") -> type[Struct]:
        """Return the struct of an object's schema.

        Args:
            name: Name of the struct, where the schema has no title.
            schema: The schema, or a reference to one.
            path: Its place, for errors.
            about: Description of the struct, where the schema has none.

        Raises:
            InvalidContract: The schema is invalid, or has a keyword that a struct cannot enforce.
        """
        schema, path = self._resolve(schema, path)
        if not isinstance(schema, Mapping) or schema.get("type") != "object" or "properties" not in schema:
            raise schema_error('invalid payload: expected {"type": "object", "properties": …}', path)
        return self._struct(str(schema.get("title") or name), {"description": about, **schema}, path)

    def from_fields(self, name: str, fields: Any, path: str, *, about: str = "") -> type[Struct]:
        """Return the struct of the short form: the type's name of each field, with ``?`` where the field is optional.

        Raises:
            InvalidContract: The fields are invalid.
        """
        if not isinstance(fields, Mapping):
            raise schema_error('invalid fields: expected {"name": "string", "price": "number?", …}', path)
        properties: dict[str, Any] = {}
        required = []
        for field, declared in fields.items():
            schema, optional = declared, False
            if isinstance(declared, str):
                match = _SHORT.fullmatch(declared)
                if match is None or match["type"] not in _SHORT_TYPES:
                    kinds = "string, number, integer, boolean, object or any"
                    expected = f"expected {kinds}, then [] for an array and ? for an optional field"
                    raise schema_error(f"invalid type {declared!r}: {expected}", f"{path}.{field}")
                schema = {} if match["type"] == "any" else {"type": match["type"]}
                schema = {"type": "array", "items": schema} if match["array"] else schema
                optional = bool(match["optional"])
            if not optional:
                required.append(field)
            properties[field] = schema
        return self._struct(name, {"description": about, "properties": properties, "required": required}, path)

    def _struct(self, name: str, schema: Schema, path: str) -> type[Struct]:
        _check_keywords(limiting_keywords(schema), _STRUCT_KEYWORDS, path)
        if schema.get("additionalProperties") not in (None, True, False):
            raise schema_error("an object has properties, or values of one kind, not both", path)
        required = schema.get("required", [])
        properties = schema.get("properties", {})
        if missing := [field for field in required if field not in properties]:
            raise schema_error(f"{missing[0]!r} is not among the properties", f"{path}.required")
        fields: list[Any] = []
        for field, of_field in properties.items():
            type = _annotate(self._type(f"{name}_{field}", of_field, f"{path}.properties.{field}"), of_field)
            if field in required:
                fields.append((_check_identifier(field, path), type))
            else:
                fields.append((_check_identifier(field, path), type | None, None))
        return msgspec.defstruct(
            self._take_name(_class_name(name)),
            fields,
            module=self._source or None,
            bases=(Payload,),
            frozen=True,
            kw_only=True,
            omit_defaults=True,
            namespace={"__doc__": schema.get("description") or None},
        )

    def _take_name(self, name: str) -> str:
        """Return `name`, with a number if another struct has it: msgspec distinguishes structs by their names."""
        unused, number = name, 2
        while unused in self._struct_names:
            unused, number = f"{name}{number}", number + 1
        self._struct_names.add(unused)
        return unused

    def _type(self, name: str, schema: Any, path: str) -> Any:
        form = read_schema(schema, path)
        reference = form.reference if isinstance(form, ReferenceSchema) else None
        if reference in self._types:
            return self._types[reference]
        if isinstance(form, ReferenceSchema):
            name = form.name
        schema, path = self._resolve(schema, path)
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                raise schema_error("the schema contains itself, or nests too deep", path)
            type = self._type_of_form(name, schema, path)
        finally:
            self._depth -= 1
        if reference is not None:
            self._types[reference] = type
        return type

    def _type_of_form(self, name: str, schema: Any, path: str) -> Any:
        match read_schema(schema, path):
            case AnySchema():
                return Any
            case UnionSchema(keyword="type", options=options):
                return _union([self._type(name, option, path) for option in options], path)
            case UnionSchema(keyword=keyword, options=options, others=others):
                _check_keywords(others, (), path)
                parts = [
                    self._type(f"{name}_{index}", option, f"{path}.{keyword}[{index}]")
                    for index, option in enumerate(options)
                ]
                return _union(parts, path)
            case EnumSchema(values=values, others=others):
                _check_keywords(others, (), path)
                return _choice(values, path)
            case TypedSchema(kind="object", keywords=keywords):
                if "properties" in keywords:
                    return self._struct(str(schema.get("title") or name), schema, path)
                _check_keywords(keywords, {"additionalProperties"}, path)
                values = keywords.get("additionalProperties", True)
                return dict[str, self._type(name, values, f"{path}.additionalProperties")]  # type: ignore[misc]
            case TypedSchema(kind="array", keywords=keywords):
                _check_keywords(keywords, {"items", *_ARRAY}, path)
                item = self._type(name, keywords.get("items", True), f"{path}.items")
                return _limit(list[item], keywords, _ARRAY)  # type: ignore[valid-type]
            case TypedSchema(kind=kind, keywords=keywords):
                limits = _LIMITS.get(kind, {})
                _check_keywords(keywords, limits, path)
                if kind == "integer" and not keywords.keys() & limits:
                    return Int64
                return _limit(_SIMPLE_TYPES[kind], keywords, limits)
        raise schema_error("invalid schema: expected a type", path)

    def _resolve(self, schema: Any, path: str) -> tuple[Any, str]:
        """Return the schema that a chain of references leads to, and its place."""
        followed: set[str] = set()
        while isinstance(form := read_schema(schema, path), ReferenceSchema):
            schema = find_definition(form, self._definitions, followed, path)
            followed.add(form.name)
            path = f"$.$defs.{form.name}"
        return schema, path


def _limit(type: Any, keywords: Schema, limits: Mapping[str, str]) -> Any:
    arguments = {argument: keywords[keyword] for keyword, argument in limits.items() if keyword in keywords}
    return Annotated[type, Meta(**arguments)] if arguments else type


def _annotate(type: Any, schema: Any) -> Any:
    """Return `type` with the description and the examples of its schema, so that an export has them again."""
    annotations = annotations_of(schema)
    kept = {
        name: annotations[name]
        for name, form in (("description", str), ("examples", list))
        if isinstance(annotations.get(name), form)
    }
    return Annotated[type, Meta(**kept)] if kept else type


def _choice(values: tuple[Any, ...], path: str) -> Any:
    if not values or not all(isinstance(each, str | int | None) for each in values):
        raise schema_error("invalid choice: expected texts and whole numbers", path)
    return Literal[values]


def _union(types: list[Any], path: str) -> Any:
    union: Any = UNSET
    for type in types:
        union = type if union is UNSET else union | type
    if union is UNSET:
        raise schema_error("invalid choice: expected at least one schema", path)
    return union


def _check_keywords(keywords: Schema, known: Any, path: str) -> None:
    # A struct does not enforce `format`, as JSON Schema's own validators do not by default.
    unknown = sorted(set(keywords) - set(known) - {"format"})
    if unknown:
        raise schema_error("a contract file does not support this keyword", f"{path}.{unknown[0]}")


def _check_identifier(name: str, path: str) -> str:
    if not name.isidentifier():
        raise schema_error(f"invalid field name {name[:64]!r}: use letters, digits and _", f"{path}.properties")
    return name


def _class_name(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"[^A-Za-z0-9]+", name) if part) or "Payload"
