"""What may be done to a field's values, and the verdicts, written by hand: `rule path readers/writers`."""

from tests.contract.diff.mutations_of_rows import Case
from tests.contract.diff.shop import (
    INT64,
    field,
    keyword,
)

_STRING, _NUMBER, _INTEGER, _NULL = ({"type": kind} for kind in ("string", "number", "integer", "null"))
_VENUE = {"$ref": "#/$defs/Venue"}
_PARTIES = [{"$ref": "#/$defs/Person"}, {"$ref": "#/$defs/Firm"}]

VALUES: tuple[Case, ...] = (
    ("an integer becomes a number", (field("count", _NUMBER),), ("integer-to-number $.data.count breaks/fits",)),
    ("a number becomes an integer", (field("price", INT64),), ("number-to-integer $.data.price fits/breaks",)),
    (
        "a number becomes an integer of limits",
        (field("price", {"type": "integer", "minimum": 0}),),
        ("number-to-integer $.data.price fits/breaks", "minimum-raised $.data.price fits/breaks"),
    ),
    ("a text becomes a number", (field("trade_id", _NUMBER),), ("type-changed $.data.trade_id breaks/breaks",)),
    ("a number becomes a text", (field("price", _STRING),), ("type-changed $.data.price breaks/breaks",)),
    (
        "a text becomes a list of texts",
        (field("trade_id", {"type": "array", "items": _STRING}),),
        ("type-changed $.data.trade_id breaks/breaks",),
    ),
    (
        "a truth becomes a number",
        (field("flag", {"type": "integer", "default": False}),),
        ("type-changed $.data.flag breaks/breaks",),
    ),
    (
        "a text may be a number too",
        (field("trade_id", {"type": ["string", "integer"]}),),
        ("type-added $.data.trade_id breaks/fits",),
    ),
    (
        "one of two kinds is left",
        (field("note", {"type": "null", "default": None}),),
        ("type-removed $.data.note fits/breaks",),
    ),
    (
        "one of two kinds is another",
        (field("note", {"anyOf": [_INTEGER, _NULL], "default": None}),),
        ("type-changed $.data.note breaks/breaks",),
    ),
    ("anything becomes a text", (field("anything", _STRING),), ("type-narrowed $.data.anything fits/breaks",)),
    ("a text becomes anything", (field("trade_id", {}),), ("type-opened $.data.trade_id breaks/fits",)),
    ("null is allowed", (field("price", {"type": ["number", "null"]}),), ("null-allowed $.data.price breaks/fits",)),
    ("null is refused", (field("note", {**_STRING, "default": None}),), ("null-refused $.data.note fits/breaks",)),
    ("null, written otherwise", (field("note", {"type": ["null", "string"], "default": None}),), ()),
    ("null, written as a choice", (field("note", {"oneOf": [{"enum": [None]}, _STRING], "default": None}),), ()),
    ("a number that may be whole, said so", (field("price", {"anyOf": [_INTEGER, _NUMBER]}),), ()),
    ("the smallest is greater", (keyword("volume", minimum=10),), ("minimum-raised $.data.volume fits/breaks",)),
    ("the smallest is smaller", (keyword("volume", minimum=-5),), ("minimum-lowered $.data.volume breaks/fits",)),
    ("no smallest", (keyword("volume", minimum=None),), ("minimum-lowered $.data.volume breaks/fits",)),
    ("a smallest", (keyword("price", minimum=0),), ("minimum-raised $.data.price fits/breaks",)),
    (
        "the smallest is in",
        (keyword("ratio", exclusiveMinimum=None, minimum=0),),
        ("minimum-lowered $.data.ratio breaks/fits",),
    ),
    ("the smallest whole number, written otherwise", (keyword("volume", minimum=None, exclusiveMinimum=-1),), ()),
    ("the greatest is smaller", (keyword("volume", maximum=100),), ("maximum-lowered $.data.volume fits/breaks",)),
    ("the greatest is greater", (keyword("volume", maximum=5000),), ("maximum-raised $.data.volume breaks/fits",)),
    ("no greatest", (keyword("volume", maximum=None),), ("maximum-raised $.data.volume breaks/fits",)),
    ("a greatest", (keyword("price", maximum=9.5),), ("maximum-lowered $.data.price fits/breaks",)),
    (
        "the greatest is out",
        (keyword("ratio", maximum=None, exclusiveMaximum=1),),
        ("maximum-lowered $.data.ratio fits/breaks",),
    ),
    (
        "a range moves",
        (keyword("volume", minimum=500, maximum=1500),),
        ("minimum-raised $.data.volume fits/breaks", "maximum-raised $.data.volume breaks/fits"),
    ),
    (
        "a range of int64 is given up",
        (keyword("count", minimum=None, maximum=None),),
        ("minimum-lowered $.data.count breaks/fits", "maximum-raised $.data.count breaks/fits"),
    ),
    ("a step", (keyword("volume", multipleOf=5),), ("step-added $.data.volume fits/breaks",)),
    ("a step of one", (keyword("volume", multipleOf=1),), ()),
    ("no step", (keyword("lot", multipleOf=None),), ("step-removed $.data.lot breaks/fits",)),
    ("a step of steps", (keyword("lot", multipleOf=12),), ("step-raised $.data.lot fits/breaks",)),
    ("a part of a step", (keyword("lot", multipleOf=3),), ("step-lowered $.data.lot breaks/fits",)),
    ("another step", (keyword("lot", multipleOf=4),), ("step-changed $.data.lot breaks/breaks",)),
    ("the shortest is longer", (keyword("symbol", minLength=3),), ("length-minimum-raised $.data.symbol fits/breaks",)),
    (
        "the shortest is shorter",
        (keyword("symbol", minLength=1),),
        ("length-minimum-lowered $.data.symbol breaks/fits",),
    ),
    ("a shortest of none", (keyword("trade_id", minLength=0),), ()),
    (
        "the longest is shorter",
        (keyword("symbol", maxLength=4),),
        ("length-maximum-lowered $.data.symbol fits/breaks",),
    ),
    ("the longest is longer", (keyword("symbol", maxLength=12),), ("length-maximum-raised $.data.symbol breaks/fits",)),
    ("no longest", (keyword("symbol", maxLength=None),), ("length-maximum-raised $.data.symbol breaks/fits",)),
    ("a longest", (keyword("trade_id", maxLength=4),), ("length-maximum-lowered $.data.trade_id fits/breaks",)),
    ("a pattern", (keyword("trade_id", pattern="^T"),), ("pattern-added $.data.trade_id fits/breaks",)),
    ("no pattern", (keyword("symbol", pattern=None),), ("pattern-removed $.data.symbol breaks/fits",)),
    ("another pattern", (keyword("symbol", pattern="^[a-z]+$"),), ("pattern-changed $.data.symbol breaks/breaks",)),
    ("a form", (keyword("trade_id", format="uuid"),), ("format-added $.data.trade_id fits/breaks",)),
    ("no form", (keyword("at", format=None),), ("format-removed $.data.at breaks/fits",)),
    ("another form", (keyword("at", format="date"),), ("format-changed $.data.at breaks/breaks",)),
    (
        "a value more to choose",
        (keyword("side", enum=["buy", "sell", "swap"]),),
        ("choice-value-added $.data.side breaks/fits",),
    ),
    ("a value less to choose", (keyword("side", enum=["buy"]),), ("choice-value-removed $.data.side fits/breaks",)),
    ("the same, as a constant", (keyword("side", enum=None, oneOf=[{"const": "sell"}, {"const": "buy"}]),), ()),
    (
        "another value to choose",
        (keyword("side", enum=["buy", "lend"]),),
        ("choice-value-added $.data.side breaks/fits", "choice-value-removed $.data.side fits/breaks"),
    ),
    ("a choice's order", (keyword("side", enum=["sell", "buy"]),), ()),
    (
        "a number more to choose",
        (keyword("level", enum=[1, 2, 3, 4]),),
        ("choice-value-added $.data.level breaks/fits",),
    ),
    ("a choice may be null", (keyword("side", enum=["buy", "sell", None]),), ("null-allowed $.data.side breaks/fits",)),
    ("a choice becomes free", (field("side", _STRING),), ("choice-opened $.data.side breaks/fits",)),
    (
        "a choice becomes free within limits",
        (field("level", {"type": "integer", "minimum": 1, "maximum": 9}),),
        ("choice-opened $.data.level breaks/fits",),
    ),
    (
        "a choice becomes free within other limits",
        (field("level", {"type": "integer", "minimum": 2}),),
        ("choice-changed $.data.level breaks/breaks",),
    ),
    (
        "what was free becomes a choice",
        (field("trade_id", {"enum": ["a", "b"]}),),
        ("choice-closed $.data.trade_id fits/breaks",),
    ),
    (
        "what was limited becomes a choice within",
        (field("symbol", {"enum": ["ABC", "XY"]}),),
        ("choice-closed $.data.symbol fits/breaks",),
    ),
    (
        "what was limited becomes a choice without",
        (field("symbol", {"enum": ["ABC", "x"]}),),
        ("choice-changed $.data.symbol breaks/breaks",),
    ),
    (
        "a choice of texts becomes one of numbers",
        (keyword("side", enum=[1, 2]),),
        ("type-changed $.data.side breaks/breaks",),
    ),
    ("fewer items", (keyword("tags", maxItems=2),), ("count-maximum-lowered $.data.tags fits/breaks",)),
    ("more items", (keyword("tags", maxItems=None),), ("count-maximum-raised $.data.tags breaks/fits",)),
    ("at least two items", (keyword("tags", minItems=2),), ("count-minimum-raised $.data.tags fits/breaks",)),
    ("no items", (keyword("tags", minItems=None),), ("count-minimum-lowered $.data.tags breaks/fits",)),
    ("items that are all different", (keyword("tags", uniqueItems=True),), ("unique-added $.data.tags fits/breaks",)),
    ("items of another type", (keyword("tags", items=_INTEGER),), ("type-changed $.data.tags[*] breaks/breaks",)),
    (
        "items that are limited",
        (keyword("tags", items={**_STRING, "maxLength": 9}),),
        ("length-maximum-lowered $.data.tags[*] fits/breaks",),
    ),
    ("items of any type", (keyword("tags", items=None),), ("type-opened $.data.tags[*] breaks/fits",)),
    (
        "a place of another type",
        (keyword("pair", prefixItems=[_NUMBER, _STRING]),),
        ("integer-to-number $.data.pair[0] breaks/fits",),
    ),
    (
        "a place more",
        (keyword("pair", prefixItems=[_INTEGER, _STRING, _STRING], minItems=3, maxItems=3),),
        (
            "count-minimum-raised $.data.pair fits/breaks",
            "count-maximum-raised $.data.pair breaks/fits",
            "array-form-changed $.data.pair breaks/breaks",
        ),
    ),
    (
        "places become items",
        (field("tags", {"type": "array", "prefixItems": [_STRING], "minItems": 1, "maxItems": 5}),),
        ("array-form-changed $.data.tags breaks/breaks",),
    ),
    (
        "something that no rule knows",
        (keyword("trade_id", contentMediaType="text/plain"),),
        ("keyword-changed $.data.trade_id breaks/breaks",),
    ),
    (
        "a truth becomes the only one",
        (field("flag", {"enum": [True], "default": False}),),
        ("choice-closed $.data.flag fits/breaks",),
    ),
    (
        "a number becomes a choice of fractions",
        (field("price", {"enum": [1.5, 2.5]}),),
        ("choice-closed $.data.price fits/breaks",),
    ),
    (
        "texts of two forms",
        (field("trade_id", {"anyOf": [{**_STRING, "maxLength": 2}, {**_STRING, "minLength": 9}]}),),
        ("keyword-changed $.data.trade_id breaks/breaks",),
    ),
    ("no item may be there", (keyword("venues", items=False),), ("type-removed $.data.venues[*] fits/breaks",)),
    (
        "there may be more behind the places",
        (keyword("pair", items=True),),
        ("array-form-changed $.data.pair breaks/breaks",),
    ),
)
