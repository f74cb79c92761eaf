"""Shapes as checks in TypeScript, built from the functions in `checks.ts`."""

import json
from collections.abc import Mapping

from tidings.contract.export import shapes
from tidings.contract.export.model import Definition
from tidings.contract.export.regex import to_ecmascript
from tidings.contract.export.shapes import Bound, Shape
from tidings.contract.export.typescript.text import MAX_LINE_CHARS, format_literal

_FORMATS = frozenset({"date-time", "date", "time", "partial-time", "uuid", "base64"})
"""Formats that `checks.ts` checks. A text of another format is any text."""
PURE = "/* @__PURE__ */"
"""Mark of a call that a bundler leaves out if nothing uses its value: guards, where a program only needs types."""
_WRAPPING = "(() => )();"
_SAFE = 2**53
"""The first whole number whose successor is not a JavaScript number."""


class CheckWriter:
    """Writes checks.

    Args:
        names: Name of each definition's check.
        filled_in: The fields of each definition that are required although publishers may leave them out.
    """

    def __init__(self, names: Mapping[str, str], filled_in: Mapping[str, frozenset[str]]) -> None:
        self._names = names
        self._filled_in = filled_in

    def definition(self, definition: Definition) -> str:
        """Return the check of a definition."""
        head = f"const {self._names[definition.name]}: Check = {PURE} "
        shape = definition.shape
        if isinstance(shape, shapes.ObjectShape):
            names = self._filled_in.get(definition.name, frozenset())
            shape = shapes.require(shape, names)
        return f"{head}(() => {self.check(shape, '', taken=len(head) + len(_WRAPPING))})();\n"

    def check(self, shape: Shape, indent: str = "", *, taken: int = 0) -> str:
        """Return the check of a shape.

        Args:
            shape: The shape.
            indent: Indentation of the line.
            taken: Number of characters already on the line.
        """
        match shape:
            case shapes.TextShape():
                return f"is.text({_options(_text(shape))})"
            case shapes.NumberShape():
                return f"is.number({_options(_number(shape))})"
            case shapes.BooleanShape():
                return "is.flag()"
            case shapes.NullShape():
                return "is.nothing()"
            case shapes.AnyShape():
                return "is.anything()"
            case shapes.EnumShape(values):
                return f"is.choice({', '.join(map(json.dumps, values))})"
            case shapes.NamedShape(name):
                return f"is.later(() => {self._names[name]})"
            case shapes.UnionShape(options):
                return f"is.either({', '.join(self.check(option, indent) for option in options)})"
            case shapes.ArrayShape():
                sizes = _options(_sizes(shape.min_length, shape.max_length))
                return f"is.array({', '.join(filter(None, (self.check(shape.items, indent), sizes)))})"
            case shapes.TupleShape():
                items = ", ".join(self.check(item, indent) for item in shape.items)
                return f"is.row([{items}], {shape.min_length}, {len(shape.items) if shape.closed else 'Infinity'})"
            case shapes.MapShape():
                return self._mapping(shape, indent)
            case shapes.ObjectShape():
                return self._structure(shape, indent, taken)

    def _mapping(self, shape: shapes.MapShape, indent: str) -> str:
        parts = [self.check(shape.values, indent)]
        sizes = _options(_sizes(shape.min_length, shape.max_length))
        if shape.names is not None or sizes:
            parts.append(self.check(shape.names or shapes.TextShape(), indent))
        return f"is.map({', '.join([*parts, *filter(None, (sizes,))])})"

    def _structure(self, shape: shapes.ObjectShape, indent: str, taken: int) -> str:
        required = [(field.name, self.check(field.shape, indent + "    ")) for field in shape.fields if field.required]
        optional = [
            (field.name, self.check(field.shape, indent + "    ")) for field in shape.fields if not field.required
        ]
        inner = indent + "  "
        parts = [format_literal(required, inner, room=MAX_LINE_CHARS - len(inner))]
        if optional or shape.closed:
            parts.append(format_literal(optional, inner, room=MAX_LINE_CHARS - len(inner)))
        if shape.closed:
            parts.append("true")
        line = f"is.object({', '.join(parts)})"
        if "\n" not in line and taken + len(line) < MAX_LINE_CHARS:
            return line
        return "is.object(\n" + "".join(f"{inner}{part},\n" for part in parts) + f"{indent})"


def _options(facts: list[tuple[str, str]]) -> str:
    return format_literal(facts, "", room=10 * MAX_LINE_CHARS) if facts else ""


def _text(text: shapes.TextShape) -> list[tuple[str, str]]:
    facts = [
        (name, str(value))
        for name, value in (("shortest", text.min_length), ("longest", text.max_length))
        if value is not None
    ]
    pattern = None if text.pattern is None else to_ecmascript(text.pattern)
    if pattern is not None:
        facts.append(("pattern", f'new RegExp({json.dumps(pattern)}, "u")'))
    if text.format in _FORMATS:
        facts.append(("format", json.dumps(text.format)))
    return facts


def _number(number: shapes.NumberShape) -> list[tuple[str, str]]:
    bounds = (
        ("least", number.minimum),
        ("most", number.maximum),
        ("above", number.exclusive_minimum),
        ("below", number.exclusive_maximum),
        ("multipleOf", number.multiple_of),
    )
    facts = [("whole", "true")] if number.integer else []
    return facts + [(name, _bound(bound)) for name, bound in bounds if bound is not None]


def _bound(bound: Bound) -> str:
    # The nearest JavaScript number, which is also the result of JSON.parse for such a value.
    return repr(float(bound)) if bound is not None and abs(bound) >= _SAFE else repr(bound)


def _sizes(minimum: int | None, maximum: int | None) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in (("fewest", minimum), ("most", maximum)) if value is not None]
