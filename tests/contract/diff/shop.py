"""An exported contract, and mutations of it."""

import copy
from collections.abc import Callable
from typing import Any

from tidings.contract.diff.compare import ContractDocument, read_document
from tidings.contract.loading import FORMAT

INT64 = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
PERSON: dict[str, Any] = {
    "title": "Person",
    "type": "object",
    "properties": {"kind": {"enum": ["person"]}, "name": {"type": "string"}},
    "required": ["kind", "name"],
}
FIRM: dict[str, Any] = {
    "title": "Firm",
    "type": "object",
    "properties": {"kind": {"enum": ["firm"]}, "vat": {"type": "integer"}},
    "required": ["kind"],
}
FIELDS: dict[str, Any] = {
    "trade_id": {"type": "string"},
    "order_id": {"type": "string"},
    "price": {"type": "number"},
    "count": INT64,
    "volume": {"type": "integer", "minimum": 0, "maximum": 1000},
    "ratio": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "lot": {"type": "integer", "multipleOf": 6},
    "symbol": {"type": "string", "minLength": 2, "maxLength": 8, "pattern": "^[A-Z]+$"},
    "at": {"type": "string", "format": "date-time"},
    "side": {"enum": ["buy", "sell"]},
    "level": {"enum": [1, 2, 3]},
    "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 5},
    "venue": {"$ref": "#/$defs/Venue"},
    "venues": {"type": "array", "items": {"$ref": "#/$defs/Venue"}},
    "rates": {"type": "object", "additionalProperties": {"type": "number"}},
    "extra": {"type": "object"},
    "anything": {},
    "pair": {
        "type": "array",
        "prefixItems": [{"type": "integer"}, {"type": "string"}],
        "minItems": 2,
        "maxItems": 2,
        "items": False,
    },
    "party": {"anyOf": [{"$ref": "#/$defs/Person"}, {"$ref": "#/$defs/Firm"}]},
    "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    "flag": {"type": "boolean", "default": False},
    "hint": {"type": "string", "title": "A hint", "description": "A hint.", "examples": ["wait"]},
}
OPTIONAL = {"note", "flag", "hint"}
BASE: dict[str, Any] = {
    "tidings": FORMAT,
    "version": "2025-07-30",
    "hash": "sha256:0",
    "channels": ["global", "operations", "data", "system", "trades"],
    "events": [
        {
            "type": "trade:executed",
            "channel": "trades",
            "key": "trade_id",
            "class": "durable",
            "publishable": True,
            "keep_newest": 100,
            "name": "Trade",
            "description": "A trade was made.",
            "payload": {"$ref": "#/$defs/Trade"},
        },
        {
            "type": "trade:rate",
            "channel": "trades",
            "key": None,
            "class": "latest",
            "publishable": True,
            "ends_key": True,
            "deprecated": "Publish trade:price.",
            "name": "Rate",
            "description": "",
            "payload": {"$ref": "#/$defs/Rate"},
        },
        {
            "type": "trade:closing",
            "channel": "global",
            "key": None,
            "class": "durable",
            "publishable": False,
            "name": "Closing",
            "description": "",
            "payload": {"$ref": "#/$defs/Closing"},
        },
    ],
    "$defs": {
        "Trade": {
            "title": "Trade",
            "description": "A trade was made.",
            "type": "object",
            "properties": FIELDS,
            "required": [name for name in FIELDS if name not in OPTIONAL],
        },
        "Venue": {
            "title": "Venue",
            "type": "object",
            "properties": {"name": {"type": "string"}, "open": {"type": "boolean"}},
            "required": ["name"],
        },
        "Person": PERSON,
        "Firm": FIRM,
        "Rate": {"title": "Rate", "type": "object", "properties": {"rate": {"type": "number"}}, "required": ["rate"]},
        "Closing": {
            "title": "Closing",
            "type": "object",
            "properties": {"reason": {"type": "string"}},
            "required": ["reason"],
            "additionalProperties": False,
        },
    },
}

Mutation = Callable[[dict[str, Any]], object]


def mutated(*mutations: Mutation) -> dict[str, Any]:
    """Return the contract after mutations."""
    changed = copy.deepcopy(BASE)
    for mutation in mutations:
        mutation(changed)
    return changed


def document(decoded: dict[str, Any]) -> ContractDocument:
    return read_document(decoded, "here")


def _row(changed: dict[str, Any], type: str) -> dict[str, Any]:
    return next(row for row in changed["events"] if row["type"] == type)


def row(type: str = "trade:executed", **members: Any) -> Mutation:
    """Set members of an event's row; `class_` stands for `class`."""
    return lambda changed: _row(changed, type).update({name.rstrip("_"): value for name, value in members.items()})


def without_row(type: str) -> Mutation:
    return lambda changed: changed["events"].remove(_row(changed, type))


def added_row(type: str, **members: Any) -> Mutation:
    plain = {"channel": "trades", "key": None, "class": "durable", "payload": {"type": "object", "properties": {}}}
    return lambda changed: changed["events"].append({**plain, "type": type, **members})


def field(name: str, schema: Any, *, of: str = "Trade") -> Mutation:
    """Give a field another schema; a new one is optional."""
    return lambda changed: changed["$defs"][of]["properties"].update({name: schema})


def keyword(name: str, **keywords: Any) -> Mutation:
    """Set keywords of a field's schema; None removes one."""

    def change(changed: dict[str, Any]) -> None:
        schema = changed["$defs"]["Trade"]["properties"][name]
        schema.update(keywords)
        for each in [each for each, value in keywords.items() if value is None and each != "default"]:
            del schema[each]

    return change


def without_field(name: str, *, of: str = "Trade") -> Mutation:
    def change(changed: dict[str, Any]) -> None:
        del changed["$defs"][of]["properties"][name]
        changed["$defs"][of]["required"] = [each for each in changed["$defs"][of]["required"] if each != name]

    return change


def required(*names: str, of: str = "Trade") -> Mutation:
    return lambda changed: changed["$defs"][of]["required"].extend(names)


def optional(name: str, *, of: str = "Trade") -> Mutation:
    return lambda changed: changed["$defs"][of]["required"].remove(name)


def definition(name: str, **members: Any) -> Mutation:
    return lambda changed: changed["$defs"].setdefault(name, {}).update(members)


def document_member(name: str, value: Any) -> Mutation:
    return lambda changed: changed.update({name: value})
