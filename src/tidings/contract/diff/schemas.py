"""Comparison of two JSON Schemas of one value.

Readers ignore members that are not declared (docs/protocol/events.md, "Reading payloads"), so that an added field does
not break them.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Raw

from tidings.contract.diff.allowed_values import AllowedValues, allowed_values
from tidings.contract.diff.rules import Change, Compatibility, make_change
from tidings.contract.json_schema import KEYWORDS, KINDS, NULL, Definitions, Schema

LimitChange = tuple[str, Any, Any]
"""The id of a rule, and the old and the new value; None for no value."""

_INT64 = ((-(2**63), False), (2**63 - 1, False))
Bound = tuple[float, bool]
"""A number, and whether the number itself is excluded."""


def compare_numbers(old: Schema, new: Schema, *, old_kind: str, new_kind: str) -> Iterator[LimitChange]:
    """Yield the differences between the limits of two schemas of numbers that are not choices.

    Args:
        old: The old schema.
        new: The new schema.
        old_kind: `integer` or `number`.
        new_kind: `integer` or `number`.
    """
    mixed = old_kind != new_kind
    before, after = _lower(old, old_kind, mixed=mixed), _lower(new, new_kind, mixed=mixed)
    if before != after:
        yield ("minimum-raised" if after > before else "minimum-lowered", *_format_bounds(before, after))
    before, after = _upper(old, old_kind, mixed=mixed), _upper(new, new_kind, mixed=mixed)
    if before != after:
        # If the numbers are equal, the bound that excludes the number is the smaller one.
        smaller = (after[0], not after[1]) < (before[0], not before[1])
        yield ("maximum-lowered" if smaller else "maximum-raised", *_format_bounds(before, after))
    yield from _compare_steps(old.get("multipleOf"), new.get("multipleOf"), whole=old_kind == new_kind == "integer")


def _lower(schema: Schema, kind: str, *, mixed: bool) -> Bound:
    bounds = [(-math.inf, False)]
    if "minimum" in schema:
        bounds.append((schema["minimum"], False))
    if "exclusiveMinimum" in schema:
        bounds.append((schema["exclusiveMinimum"], True))
    bound = max(bounds)
    if kind == "integer" and abs(bound[0]) != math.inf:
        bound = (math.floor(bound[0]) + 1 if bound[1] else math.ceil(bound[0]), False)
    # The int64 range is part of the kind `integer`: a change to `number`, which has none, is one change, not three.
    return (-math.inf, False) if mixed and kind == "integer" and bound == _INT64[0] else bound


def _upper(schema: Schema, kind: str, *, mixed: bool) -> Bound:
    bounds = [(math.inf, False)]
    if "maximum" in schema:
        bounds.append((schema["maximum"], False))
    if "exclusiveMaximum" in schema:
        bounds.append((schema["exclusiveMaximum"], True))
    bound = min(bounds, key=lambda each: (each[0], not each[1]))
    if kind == "integer" and abs(bound[0]) != math.inf:
        bound = (math.ceil(bound[0]) - 1 if bound[1] else math.floor(bound[0]), False)
    return (math.inf, False) if mixed and kind == "integer" and bound == _INT64[1] else bound


def _format_bounds(before: Bound, after: Bound) -> tuple[Any, Any]:
    formatted: list[Any] = []
    for number, excluded in (before, after):
        formatted.append(None if math.isinf(number) else f"{number}, itself excluded" if excluded else number)
    return formatted[0], formatted[1]


def _compare_steps(old: float | None, new: float | None, *, whole: bool) -> Iterator[LimitChange]:
    if whole:  # every whole number is a multiple of 1
        old, new = (None if step == 1 else step for step in (old, new))
    if old == new:
        return
    if old is None or new is None:
        yield "step-added" if old is None else "step-removed", old, new
    elif _is_whole(new / old) and _is_whole(old) and _is_whole(new):
        yield "step-raised", old, new
    elif _is_whole(old / new) and _is_whole(old) and _is_whole(new):
        yield "step-lowered", old, new
    else:  # whether a fraction is a multiple of another depends on rounding
        yield "step-changed", old, new


def _is_whole(number: float) -> bool:
    return float(number).is_integer()


def compare_texts(old: Schema, new: Schema) -> Iterator[LimitChange]:
    """Yield the differences between the limits of two schemas of texts that are not choices."""
    yield from compare_counts(old, new, "length-", "minLength", "maxLength")
    yield from _compare_keyword("pattern", old.get("pattern"), new.get("pattern"))
    for keyword in ("format", "contentEncoding"):
        yield from _compare_keyword("format", old.get(keyword), new.get(keyword))


def _compare_keyword(rule: str, old: Any, new: Any) -> Iterator[LimitChange]:
    if old != new:
        yield f"{rule}-{'added' if old is None else 'removed' if new is None else 'changed'}", old, new


def compare_counts(old: Schema, new: Schema, rule: str, minimum: str, maximum: str) -> Iterator[LimitChange]:
    """Yield the differences between two ranges of counts, with the keywords `minimum` and `maximum`."""
    before, after = old.get(minimum, 0), new.get(minimum, 0)
    if before != after:
        yield f"{rule}minimum-{'raised' if after > before else 'lowered'}", before, after
    before, after = old.get(maximum), new.get(maximum)
    if before != after:
        lowered = before is None or (after is not None and after < before)
        yield f"{rule}maximum-{'lowered' if lowered else 'raised'}", before, after


def compare_choices(old: Schema, new: Schema) -> Iterator[LimitChange]:
    """Yield the differences between two schemas of one kind, at least one of which is a choice."""
    before, after = old.get("enum"), new.get("enum")
    if before is not None and after is not None:
        for value in after:
            if not _contains(before, value):
                yield "choice-value-added", None, value
        for value in before:
            if not _contains(after, value):
                yield "choice-value-removed", value, None
    elif after is not None:
        yield ("choice-closed" if all(_fits(value, old) for value in after) else "choice-changed", None, after)
    else:
        yield ("choice-opened" if all(_fits(value, new) for value in before or ()) else "choice-changed", before, None)


def _contains(values: list[Any], value: Any) -> bool:
    return any(value == each and type(value) is type(each) for each in values)


def _fits(value: Any, schema: Schema) -> bool:
    """Return whether a text or a number certainly fits a schema of its kind."""
    if isinstance(value, str):
        if set(schema) - {"minLength", "maxLength", "pattern"}:
            return False
        long_enough = schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf)
        return long_enough and _matches(schema.get("pattern", ""), value)
    if isinstance(value, bool) or not isinstance(value, int):
        return not schema
    low, high = _lower(schema, "number", mixed=False), _upper(schema, "number", mixed=False)
    step = schema.get("multipleOf", 1)
    above = value > low[0] or (value == low[0] and not low[1])
    below = value < high[0] or (value == high[0] and not high[1])
    return above and below and _is_whole(step) and value % step == 0


def _matches(pattern: str, text: str) -> bool:
    try:
        return re.search(pattern, text) is not None
    except re.error:  # a pattern in another language
        return False


_ANNOTATION_RULES: Mapping[str, str] = {
    "title": "title-changed",
    "description": "description-changed",
    "examples": "examples-changed",
    "deprecated": "deprecated-changed",
    "$comment": "comment-changed",
}
"""The rule that reports a change of each annotation."""


class SchemaComparison:
    """Compares the schemas of an event's payload in two contracts.

    Args:
        event: The event's type.
        old: The definitions of the old contract.
        new: The definitions of the new contract.
    """

    def __init__(self, event: str, old: Definitions, new: Definitions) -> None:
        self._event = event
        self._old = old
        self._new = new
        self._open_pairs: set[tuple[int, int]] = set()
        """Pairs of schemas under comparison: a schema that contains itself is compared once."""

    def compare(self, old: Any, new: Any, path: str) -> Iterator[Change]:
        """Yield the changes from the schema `old` to `new` of the value at `path`.

        Raises:
            InvalidContract: One of the schemas is invalid.
        """
        pair = id(old), id(new)
        if pair in self._open_pairs:
            return
        self._open_pairs.add(pair)
        try:
            before, after = allowed_values(old, self._old), allowed_values(new, self._new)
            yield from self._compare_annotations(before, after, path)
            yield from self._compare_kinds(before, after, path)
        finally:
            self._open_pairs.discard(pair)

    def _change(self, path: str, rule: str, before: Any = None, after: Any = None) -> Change:
        return make_change(rule, self._event, path, before, after)

    def _compare_annotations(self, old: AllowedValues, new: AllowedValues, path: str) -> Iterator[Change]:
        for keyword, rule in _ANNOTATION_RULES.items():
            before, after = old.annotations.get(keyword), new.annotations.get(keyword)
            if before != after:
                yield self._change(path, rule, before, after)

    def _compare_kinds(self, old: AllowedValues, new: AllowedValues, path: str) -> Iterator[Change]:
        if old.anything or new.anything:
            if not new.anything:
                yield self._change(path, "type-narrowed", "any", str(new))
            elif not old.anything:
                yield self._change(path, "type-opened", str(old), "any")
            return
        if (NULL in old.kinds) is not (NULL in new.kinds):
            yield self._change(path, "null-allowed" if NULL in new.kinds else "null-refused")
        removed = [kind for kind in KINDS if kind in old.kinds and kind not in new.kinds and kind != NULL]
        added = [kind for kind in KINDS if kind in new.kinds and kind not in old.kinds and kind != NULL]
        kept = [(kind, kind) for kind in KINDS if kind in old.kinds and kind in new.kinds and kind != NULL]
        for before, after, rule in (
            ("integer", "number", "integer-to-number"),
            ("number", "integer", "number-to-integer"),
        ):
            if before in removed and after in added:
                removed.remove(before)
                added.remove(after)
                kept.append((before, after))
                yield self._change(path, rule, before, after)
        if removed and added and not kept:
            yield self._change(path, "type-changed", str(old), str(new))
            return
        for kind in removed:
            yield self._change(path, "type-removed", kind, None)
        for kind in added:
            yield self._change(path, "type-added", None, kind)
        for before, after in kept:
            yield from self._compare_alternatives(old.kinds[before], new.kinds[after], path, before, after)

    def _compare_alternatives(
        self, old: tuple[Schema, ...], new: tuple[Schema, ...], path: str, old_kind: str, new_kind: str
    ) -> Iterator[Change]:
        if len(old) == len(new) == 1:
            yield from self._compare_one(old[0], new[0], path, old_kind, new_kind)
        elif old_kind == "object":
            yield from self._compare_variants(old, new, path)
        elif not (all(each in new for each in old) and all(each in old for each in new)):
            yield self._change(path, "keyword-changed", list(old), list(new))

    def _compare_one(self, old: Schema, new: Schema, path: str, old_kind: str, new_kind: str) -> Iterator[Change]:
        for rule, before, after in self._compare_limits(old, new, old_kind, new_kind):
            yield self._change(path, rule, before, after)
        if old_kind == "array":
            yield from self._compare_items(old, new, path)
        elif old_kind == "object":
            yield from self._compare_objects(old, new, path)
        for keyword in sorted((set(old) | set(new)) - KEYWORDS[old_kind] - {"enum"}):
            if old.get(keyword) != new.get(keyword):
                yield self._change(path, "keyword-changed", _only(keyword, old), _only(keyword, new))

    def _compare_limits(self, old: Schema, new: Schema, old_kind: str, new_kind: str) -> Iterator[LimitChange]:
        if "enum" in old or "enum" in new:
            yield from compare_choices(old, new)
        elif old_kind == "string":
            yield from compare_texts(old, new)
        elif old_kind in ("integer", "number"):
            yield from compare_numbers(old, new, old_kind=old_kind, new_kind=new_kind)
        elif old_kind == "array":
            yield from compare_counts(old, new, "count-", "minItems", "maxItems")
            if old.get("uniqueItems", False) is not new.get("uniqueItems", False):
                yield f"unique-{'added' if new.get('uniqueItems') else 'removed'}", None, None
        elif old_kind == "object":
            yield from compare_counts(old, new, "count-", "minProperties", "maxProperties")

    def _compare_items(self, old: Schema, new: Schema, path: str) -> Iterator[Change]:
        before, after = old.get("prefixItems"), new.get("prefixItems")
        if before is None and after is None:
            yield from self.compare(old.get("items", True), new.get("items", True), f"{path}[*]")
        elif before is None or after is None or len(before) != len(after):
            forms = [None if places is None else f"{len(places)} places" for places in (before, after)]
            yield self._change(path, "array-form-changed", *forms)
        else:
            for index, (one, other) in enumerate(zip(before, after, strict=True)):
                yield from self.compare(one, other, f"{path}[{index}]")
            if old.get("items", True) != new.get("items", True):
                yield self._change(path, "array-form-changed", old.get("items"), new.get("items"))

    def _compare_objects(self, old: Schema, new: Schema, path: str) -> Iterator[Change]:
        if "properties" in old and "properties" in new:
            yield from self._compare_fields(old, new, path)
        elif "properties" not in old and "properties" not in new:
            yield from self.compare(
                old.get("additionalProperties", True), new.get("additionalProperties", True), f"{path}.*"
            )
            yield from self.compare(_names(old), _names(new), f"{path}.*~")
        elif "properties" in new and _is_any_map(old):
            yield self._change(path, "fields-declared", "an object of anything", sorted(new["properties"]))
        elif "properties" in old and _is_any_map(new):
            yield self._change(path, "fields-undeclared", sorted(old["properties"]), "an object of anything")
        else:
            yield self._change(
                path,
                "object-form-changed",
                *("fields" if "properties" in each else "values by name" for each in (old, new)),
            )

    def _compare_fields(self, old: Schema, new: Schema, path: str) -> Iterator[Change]:
        closed_before, closed_after = (each.get("additionalProperties") is False for each in (old, new))
        if closed_before is not closed_after:
            yield self._change(path, "object-closed" if closed_after else "object-opened")
        elif not closed_after and old.get("additionalProperties", True) != new.get("additionalProperties", True):
            yield self._change(path, "keyword-changed", *(_only("additionalProperties", each) for each in (old, new)))
        if old.get("propertyNames") != new.get("propertyNames"):
            yield self._change(path, "keyword-changed", *(_only("propertyNames", each) for each in (old, new)))
        before, after = old["properties"], new["properties"]
        for name in (*before, *(name for name in after if name not in before)):
            at = f"{path}.{name}"
            needed_before, needed_after = name in old.get("required", ()), name in new.get("required", ())
            if name not in after:
                yield self._change(
                    at,
                    f"field-removed-{'required' if needed_before else 'optional'}",
                    str(allowed_values(before[name], self._old)),
                    None,
                )
                if closed_after:
                    yield self._change(at, "field-refused")
            elif name not in before:
                yield self._change(
                    at,
                    f"field-added-{'required' if needed_after else 'optional'}",
                    None,
                    str(allowed_values(after[name], self._new)),
                )
                if closed_before:
                    yield self._change(at, "field-unexpected")
            else:
                if needed_before is not needed_after:
                    yield self._change(at, f"field-became-{'required' if needed_after else 'optional'}")
                elif not needed_after:
                    yield from self._compare_defaults(before[name], after[name], at)
                yield from self.compare(before[name], after[name], at)

    def _compare_defaults(self, old: Any, new: Any, path: str) -> Iterator[Change]:
        before, after = allowed_values(old, self._old), allowed_values(new, self._new)
        if before.has_default and after.has_default:
            # In JSON, 1 and 1.0 are the same number, and true is not a number.
            kinds = isinstance(before.default, bool), isinstance(after.default, bool)
            if before.default != after.default or kinds[0] is not kinds[1]:
                yield self._change(
                    path, "default-changed", _format_default(before.default), _format_default(after.default)
                )
        elif before.has_default:
            yield self._change(path, "default-removed", _format_default(before.default), None)
        elif after.has_default:
            yield self._change(path, "default-added", None, _format_default(after.default))

    def _compare_variants(self, old: tuple[Schema, ...], new: tuple[Schema, ...], path: str) -> Iterator[Change]:
        """Compare objects of several forms. One member, the tag, has a different single value in each form."""
        tag = _find_tag(old, new, self._old, self._new)
        if tag is None:
            if not (len(old) == len(new) and all(self._has_equal(each, new) for each in old)):
                yield self._change(path, "variants-changed")
            return
        before = {_single_value(each, tag, self._old): each for each in old}
        after = {_single_value(each, tag, self._new): each for each in new}
        for value in (*before, *(value for value in after if value not in before)):
            at = f"{path}[{tag}={value}]"
            if value not in after:
                yield self._change(at, "variant-removed", value, None)
            elif value not in before:
                yield self._change(at, "variant-added", None, value)
            else:
                yield from self._compare_one(before[value], after[value], at, "object", "object")

    def _has_equal(self, variant: Schema, others: tuple[Schema, ...]) -> bool:
        return any(
            all(
                change.verdict is Compatibility.ANNOTATION
                for change in self._compare_one(variant, other, "", "object", "object")
            )
            for other in others
        )


def _find_tag(old: tuple[Schema, ...], new: tuple[Schema, ...], *definitions: Definitions) -> str | None:
    """Return the member that distinguishes the variants on both sides, if there is one."""
    for name in old[0].get("properties", {}):
        values = [
            [_single_value(each, name, named) for each in variants]
            for variants, named in zip((old, new), definitions, strict=True)
        ]
        if all(None not in of_side and len(set(of_side)) == len(of_side) for of_side in values):
            return str(name)
    return None


def _single_value(variant: Schema, tag: str, definitions: Definitions) -> Any:
    """Return the only value of a required member; None if the member is optional or has several values."""
    if tag not in variant.get("properties", {}) or tag not in variant.get("required", ()):
        return None
    kinds = allowed_values(variant["properties"][tag], definitions).kinds
    choices = [schema.get("enum", ()) for schemas in kinds.values() for schema in schemas]
    return choices[0][0] if len(choices) == 1 and len(choices[0]) == 1 else None


def _names(schema: Schema) -> Any:
    return schema.get("propertyNames", {"type": "string"})


def _is_any_map(schema: Schema) -> bool:
    return schema.get("additionalProperties", True) in (True, {}) and not set(schema) - {"additionalProperties"}


def _only(keyword: str, schema: Schema) -> Any:
    return {keyword: schema[keyword]} if keyword in schema else None


def _format_default(default: Any) -> Any:
    """Return a default for `Change.before` or `after`, where None stands for no default."""
    return Raw(b"null") if default is None else default
