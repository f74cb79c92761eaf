"""Shapes as TypeScript's types."""

import json
from collections.abc import Mapping

from tidings.contract.export import shapes
from tidings.contract.export.model import Definition
from tidings.contract.export.shapes import Shape
from tidings.contract.export.typescript_text import comment, property_name
from tidings.contract.export.wording import limits_of, sentence


class TypeWriter:
    """Writes types.

    Args:
        names: What each definition is called here.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names

    def definition(self, definition: Definition, use: str) -> str:
        """Return a definition as an exported type.

        Args:
            definition: The definition.
            use: What it is used as, as a sentence.
        """
        name = self._names[definition.name]
        about = comment(definition.about, use)
        if isinstance(definition.shape, shapes.Structure):
            return f"{about}export interface {name} {self._structure(definition.shape, '')}\n"
        return f"{about}export type {name} = {self.type(definition.shape)};\n"

    def type(self, shape: Shape, indent: str = "") -> str:
        """Return the type of a shape."""
        match shape:
            case shapes.Text():
                return "string"
            case shapes.Number():
                return "number"
            case shapes.Flag():
                return "boolean"
            case shapes.Nothing():
                return "null"
            case shapes.Anything():
                return "unknown"
            case shapes.Named(name):
                return self._names[name]
            case shapes.Choice(values):
                return " | ".join(map(json.dumps, values))
            case shapes.Either(options):
                return " | ".join(dict.fromkeys(self.type(option, indent) for option in options))
            case shapes.Array():
                return self._array(shape, indent)
            case shapes.Row():
                return self._row(shape, indent)
            case shapes.Mapping():
                return f"Record<string, {self.type(shape.values, indent)}>"
            case shapes.Structure():
                return self._structure(shape, indent)

    def _array(self, shape: shapes.Array, indent: str) -> str:
        items = self.type(shape.items, indent)
        return f"({items})[]" if " | " in items else f"{items}[]"

    def _row(self, shape: shapes.Row, indent: str) -> str:
        items = [self.type(item, indent) for item in shape.items]
        for index, item in enumerate(items[shape.shortest :], shape.shortest):
            items[index] = f"({item})?" if " | " in item else f"{item}?"
        return f"[{', '.join(items if shape.closed else [*items, '...unknown[]'])}]"

    def _structure(self, structure: shapes.Structure, indent: str) -> str:
        inner = f"{indent}  "
        lines = []
        for field in structure.fields:
            mark = "" if field.required else "?"
            lines.append(comment(_about(field), indent=inner))
            lines.append(f"{inner}{property_name(field.name)}{mark}: {self.type(field.shape, inner)};\n")
        return f"{{\n{''.join(lines)}{indent}}}" if lines else "{}"


def _about(field: shapes.Field) -> str:
    default = "" if field.required or not field.default else f"Absent means {json.dumps(field.default)}."
    limits = sentence(limits_of(field.shape))
    return " ".join(filter(None, (field.about, "" if limits in field.about else limits, default)))
