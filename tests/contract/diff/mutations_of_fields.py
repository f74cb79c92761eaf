"""Mutations of a field's place in its object, and their verdicts, written by hand: `rule path readers/writers`."""

from tests.contract.diff.mutations_of_rows import Case
from tests.contract.diff.shop import FIRM, PERSON, definition, field, keyword, optional, required, row, without_field

_STRING, _NUMBER, _INTEGER, _NULL = ({"type": kind} for kind in ("string", "number", "integer", "null"))
_VENUE = {"$ref": "#/$defs/Venue"}
_PARTIES = [{"$ref": "#/$defs/Person"}, {"$ref": "#/$defs/Firm"}]

FIELDS: tuple[Case, ...] = (
    ("a required field", (field("fee", _NUMBER), required("fee")), ("field-added-required $.data.fee fits/breaks",)),
    ("an optional field", (field("fee", _NUMBER),), ("field-added-optional $.data.fee fits/fits",)),
    ("a required field less", (without_field("price"),), ("field-removed-required $.data.price breaks/fits",)),
    ("an optional field less", (without_field("note"),), ("field-removed-optional $.data.note fits/fits",)),
    ("a field becomes required", (required("note"),), ("field-became-required $.data.note fits/breaks",)),
    ("a field becomes optional", (optional("price"),), ("field-became-optional $.data.price breaks/fits",)),
    (
        "a field is renamed",
        (without_field("price"), field("cost", _NUMBER), required("cost")),
        ("field-removed-required $.data.price breaks/fits", "field-added-required $.data.cost fits/breaks"),
    ),
    ("the fields' order", (without_field("trade_id"), field("trade_id", _STRING), required("trade_id")), ()),
    (
        "no others are allowed",
        (definition("Trade", additionalProperties=False),),
        ("object-closed $.data fits/breaks",),
    ),
    ("that others are allowed is explicit", (definition("Trade", additionalProperties=True),), ()),
    (
        "no others are allowed, and one is removed",
        (definition("Trade", additionalProperties=False), without_field("note")),
        (
            "object-closed $.data fits/breaks",
            "field-removed-optional $.data.note fits/fits",
            "field-refused $.data.note fits/breaks",
        ),
    ),
    ("a default", (keyword("flag", default=True),), ("default-changed $.data.flag breaks/breaks",)),
    ("a default that was null", (keyword("note", default="none"),), ("default-changed $.data.note breaks/breaks",)),
    ("a default is added", (keyword("hint", default="wait"),), ("default-added $.data.hint note/note",)),
    ("a default is removed", (field("flag", {"type": "boolean"}),), ("default-removed $.data.flag note/note",)),
    ("a required field's default", (keyword("price", default=5),), ()),
    ("a title", (keyword("hint", title="Hint"),), ("title-changed $.data.hint note/note",)),
    ("a description", (keyword("hint", description="Another hint."),), ("description-changed $.data.hint note/note",)),
    ("examples", (keyword("hint", examples=["go on"]),), ("examples-changed $.data.hint note/note",)),
    ("a comment", (keyword("hint", **{"$comment": "mended"}),), ("comment-changed $.data.hint note/note",)),
    ("a field is deprecated", (keyword("hint", deprecated=True),), ("deprecated-changed $.data.hint note/note",)),
    (
        "a definition's name",
        (
            definition("Market", type="object", title="Market", required=["name"]),
            field("venue", {"$ref": "#/$defs/Market"}),
            definition("Market", properties={"name": _STRING, "open": {"type": "boolean"}}),
        ),
        (),
    ),
    (
        "what was referred to stands in its place",
        (
            field(
                "venue",
                {"type": "object", "properties": {"name": _STRING, "open": {"type": "boolean"}}, "required": ["name"]},
            ),
        ),
        (),
    ),
    (
        "a payload's definition has another name",
        (definition("Deal", **{"$ref": "#/$defs/Trade"}), row(payload={"$ref": "#/$defs/Deal"})),
        (),
    ),
    (
        "a field in an object",
        (field("open", _STRING, of="Venue"),),
        (
            "type-changed $.data.venue.open breaks/breaks",
            "type-changed $.data.venues[*].open breaks/breaks",
        ),
    ),
    (
        "a required field in an object",
        (field("city", _STRING, of="Venue"), required("city", of="Venue")),
        (
            "field-added-required $.data.venue.city fits/breaks",
            "field-added-required $.data.venues[*].city fits/breaks",
        ),
    ),
    (
        "an object's field less",
        (without_field("open", of="Venue"),),
        (
            "field-removed-optional $.data.venue.open fits/fits",
            "field-removed-optional $.data.venues[*].open fits/fits",
        ),
    ),
    (
        "an object's field becomes optional",
        (optional("name", of="Venue"),),
        (
            "field-became-optional $.data.venue.name breaks/fits",
            "field-became-optional $.data.venues[*].name breaks/fits",
        ),
    ),
    ("an object of anything has fields", (field("extra", _VENUE),), ("fields-declared $.data.extra fits/breaks",)),
    (
        "fields become an object of anything",
        (field("venue", {"type": "object"}),),
        ("fields-undeclared $.data.venue breaks/fits",),
    ),
    (
        "fields become values by name",
        (keyword("rates", properties={"eur": _NUMBER}),),
        ("object-form-changed $.data.rates breaks/breaks",),
    ),
    (
        "values by name are others",
        (keyword("rates", additionalProperties=_INTEGER),),
        ("number-to-integer $.data.rates.* fits/breaks",),
    ),
    (
        "values by name may be null",
        (keyword("rates", additionalProperties={"type": ["number", "null"]}),),
        ("null-allowed $.data.rates.* breaks/fits",),
    ),
    (
        "values by name are anything",
        (keyword("rates", additionalProperties=True),),
        ("type-opened $.data.rates.* breaks/fits",),
    ),
    (
        "anything by name is of a kind",
        (keyword("extra", additionalProperties=_STRING),),
        ("type-narrowed $.data.extra.* fits/breaks",),
    ),
    (
        "names are limited",
        (keyword("rates", propertyNames={"minLength": 3}),),
        ("length-minimum-raised $.data.rates.*~ fits/breaks",),
    ),
    (
        "a least count of names",
        (keyword("rates", minProperties=1),),
        ("count-minimum-raised $.data.rates fits/breaks",),
    ),
    (
        "a variant more",
        (
            field(
                "party",
                {"anyOf": [*_PARTIES, {**PERSON, "properties": {**PERSON["properties"], "kind": {"enum": ["robot"]}}}]},
            ),
        ),
        ("variant-added $.data.party[kind=robot] breaks/fits",),
    ),
    (
        "a variant less, of three",
        (field("party", {"anyOf": [{"$ref": "#/$defs/Firm"}]}),),
        ("variant-removed $.data.party[kind=person] fits/breaks",),
    ),
    (
        "a variant's field",
        (field("vat", _STRING, of="Firm"),),
        ("type-changed $.data.party[kind=firm].vat breaks/breaks",),
    ),
    ("variants' order", (field("party", {"oneOf": _PARTIES[::-1]}),), ()),
    ("a discriminator", (keyword("party", discriminator={"propertyName": "kind"}),), ()),
    (
        "variants without a tag",
        (field("party", {"anyOf": [PERSON, {**FIRM, "required": []}]}),),
        ("variants-changed $.data.party breaks/breaks",),
    ),
    (
        "others than the fields are of a kind",
        (definition("Trade", additionalProperties=_STRING),),
        ("keyword-changed $.data breaks/breaks",),
    ),
    (
        "fields' names are limited",
        (definition("Trade", propertyNames={"maxLength": 9}),),
        ("keyword-changed $.data breaks/breaks",),
    ),
    (
        "the tag of variants may be anything",
        (field("kind", {}, of="Firm"),),
        ("variants-changed $.data.party breaks/breaks",),
    ),
)
