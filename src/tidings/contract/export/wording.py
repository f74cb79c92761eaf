"""What a shape allows, in words."""

import json
from collections.abc import Callable

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


def kind_of(shape: Shape, name: Callable[[str], str] = str) -> str:
    """Return what kind of value a shape is, as a person would say it.

    Args:
        shape: The shape.
        name: What to call a definition.
    """
    match shape:
        case shapes.Text():
            return "text"
        case shapes.Number(whole=whole):
            return "whole number" if whole else "number"
        case shapes.Flag():
            return "true or false"
        case shapes.Nothing():
            return "null"
        case shapes.Anything():
            return "anything"
        case shapes.Named(definition):
            return name(definition)
        case shapes.Choice(values):
            return " or ".join(json.dumps(value, ensure_ascii=False) for value in values)
        case shapes.Either(options):
            return " or ".join(dict.fromkeys(kind_of(option, name) for option in options))
        case shapes.Array():
            return f"array of {kind_of(shape.items, name)}"
        case shapes.Row():
            return f"array of {', '.join(kind_of(item, name) for item in shape.items)}"
        case shapes.Mapping():
            return f"object of {kind_of(shape.values, name)}"
        case shapes.Structure():
            return "object"


def limits_of(shape: Shape) -> str:
    """Return the bounds of a shape; "" where it has none."""
    shape = shapes.without_null(shape)
    match shape:
        case shapes.Text():
            return ", ".join(filter(None, (_length(shape), _pattern(shape), _format(shape))))
        case shapes.Number():
            return _bounds(shape)
        case shapes.Array():
            return _count(shape.shortest, shape.longest, "item")
        case shapes.Mapping():
            return _count(shape.fewest, shape.most, "member")
        case shapes.Either(options):
            return "; ".join(dict.fromkeys(filter(None, map(limits_of, options))))
    return ""


def sentence(text: str) -> str:
    """Return words as a sentence."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _length(text: shapes.Text) -> str:
    return _count(text.shortest, text.longest, "character")


def _pattern(text: shapes.Text) -> str:
    return f"matches `{text.pattern}`" if text.pattern else ""


def _format(text: shapes.Text) -> str:
    return _FORMATS.get(text.format, text.format) if text.format else ""


def _count(least: int | None, most: int | None, unit: str) -> str:
    if least is None and most is None:
        return ""
    many = f"{unit}{'' if (least if most is None else most) == 1 else 's'}"
    if most is None:
        return f"at least {least:,} {many}"
    return f"at most {most:,} {many}" if least is None else f"{least:,}–{most:,} {many}"


def _bounds(number: shapes.Number) -> str:
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
