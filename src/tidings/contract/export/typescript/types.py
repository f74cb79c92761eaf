"""Types of payloads in TypeScript, and the constants of their values."""

import json
from collections.abc import Mapping

from tidings.contract.export import shapes
from tidings.contract.export.descriptions import describe_limits, to_sentence
from tidings.contract.export.model import Definition, Namer, join_names, to_constant_case
from tidings.contract.export.shapes import Shape
from tidings.contract.export.typescript.text import format_comment, format_const, format_property_name


class TypeWriter:
    """Writes types.

    Args:
        names: TypeScript name of each definition.
        namer: Assigns names to types that have none in the contract.
        filled_in: The fields of each definition that are required although publishers may leave them out.
    """

    def __init__(self, names: Mapping[str, str], namer: Namer, filled_in: Mapping[str, frozenset[str]]) -> None:
        self._names = names
        self._namer = namer
        self._filled_in = filled_in
        self._structures = {name.removesuffix("Data") for name in names.values()} | set(names.values())
        self._beside: list[str] = []
        """Constants of the values that only the current definition uses."""

    def definition(self, definition: Definition, use: str) -> str:
        """Return a definition as an exported type.

        Args:
            definition: The definition.
            use: Its use, as a sentence.
        """
        name = self._names[definition.name]
        about, shape = format_comment(definition.about, use), definition.shape
        if isinstance(shape, shapes.ObjectShape):
            shape = shapes.require(shape, self._filled_in.get(definition.name, frozenset()))
            made = f"{about}export interface {name} {self._structure(shape, '', owner=name)}\n"
        elif isinstance(shape, shapes.EnumShape) and is_textual(shape):
            made = format_values(name, f"{definition.about} {use}".strip(), shape)
        else:
            made = f"{about}export type {name} = {self.type(shape)};\n"
        beside, self._beside = self._beside, []
        return "\n".join([made, *beside])

    def type(self, shape: Shape, indent: str = "") -> str:
        """Return the type of a shape."""
        match shape:
            case shapes.TextShape():
                return "string"
            case shapes.NumberShape():
                return "number"
            case shapes.BooleanShape():
                return "boolean"
            case shapes.NullShape():
                return "null"
            case shapes.AnyShape():
                return "unknown"
            case shapes.NamedShape(name):
                return self._names[name]
            case shapes.EnumShape(values):
                return " | ".join(map(json.dumps, values))
            case shapes.UnionShape(options):
                return " | ".join(dict.fromkeys(self.type(option, indent) for option in options))
            case shapes.ArrayShape():
                return self._array(shape, indent)
            case shapes.TupleShape():
                return self._tuple(shape, indent)
            case shapes.MapShape():
                return f"Record<string, {self.type(shape.values, indent)}>"
            case shapes.ObjectShape():
                return self._structure(shape, indent)

    def _array(self, shape: shapes.ArrayShape, indent: str) -> str:
        items = self.type(shape.items, indent)
        return f"({items})[]" if " | " in items else f"{items}[]"

    def _tuple(self, shape: shapes.TupleShape, indent: str) -> str:
        items = [self.type(item, indent) for item in shape.items]
        for index, item in enumerate(items[shape.min_length :], shape.min_length):
            items[index] = f"({item})?" if " | " in item else f"{item}?"
        return f"[{', '.join(items if shape.closed else [*items, '...unknown[]'])}]"

    def _structure(self, structure: shapes.ObjectShape, indent: str, *, owner: str = "") -> str:
        inner = f"{indent}  "
        lines = []
        for field in structure.fields:
            mark = "" if field.required else "?"
            lines.append(format_comment(_field_comment(field), indent=inner))
            shape = self._type_of_field(owner, field, inner)
            lines.append(f"{inner}{format_property_name(field.name)}{mark}: {shape};\n")
        return f"{{\n{''.join(lines)}{indent}}}" if lines else "{}"

    def _type_of_field(self, owner: str, field: shapes.ShapeField, indent: str) -> str:
        """Return the type of a field; one of several texts gets a name, and constants."""
        plain = shapes.remove_null(field.shape)
        if not (owner and isinstance(plain, shapes.EnumShape) and is_textual(plain) and len(plain.values) > 1):
            return self.type(field.shape, indent)
        joined = join_names(owner, field.name)
        name = self._namer.take(joined if joined not in self._structures else f"{joined}Value")
        self._beside.append(format_values(name, f"Values of `{field.name}` in {owner}.", plain))
        return f"{name} | null" if shapes.is_nullable(field.shape) else name


def is_textual(choice: shapes.EnumShape) -> bool:
    """Return whether all values are texts."""
    return all(isinstance(value, str) for value in choice.values)


def format_values(name: str, about: str, choice: shapes.EnumShape) -> str:
    """Return the texts of a choice as constants, and their type."""
    namer = Namer()
    values = {namer.take(to_constant_case(str(each)) if each else "EMPTY"): (str(each), "") for each in choice.values}
    return format_const(name, about, values)


def _field_comment(field: shapes.ShapeField) -> str:
    default = "" if field.required or not field.default else f"Default: {json.dumps(field.default)}."
    limits = to_sentence(describe_limits(field.shape))
    return " ".join(filter(None, (field.about, "" if limits in field.about else limits, default)))
