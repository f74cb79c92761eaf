"""Shapes as Go's types."""

import json
import re
from collections.abc import Mapping

from msgspec import UNSET

from tidings.contract.export import shapes
from tidings.contract.export.golang_text import aligned, comment, exported
from tidings.contract.export.model import Definition
from tidings.contract.export.names import Namer, pascal
from tidings.contract.export.shapes import Field, Shape
from tidings.contract.export.wording import kind_of, limits_of, sentence
from tidings.exceptions import InvalidContract

_SOURCE_NAMES = {("SystemStatusData", "active_operations"): "ActiveOps"}
"""Fields that the source contract calls otherwise than its own rule would."""
_SOURCE_TYPES = {("SystemStatusData", "active_operations"): "int", ("OperationProgressData", "total_steps"): "int"}
"""Fields that the source contract gives another type than int64."""
_TAGGED = re.compile(r"[\w!#$%&()*+\-./:;<=>?@\[\]^{|}~ ]+")
"""What `encoding/json` takes for a name in a tag."""
_NO_NEWS = "At least 0."
"""What every number of things is."""


class GoTypes:
    """Writes types.

    Args:
        names: What each definition is called here.
        namer: Gives names to types that have none in the contract.
        of_source: Whether the definitions of the source contract's names are its own.
    """

    def __init__(self, names: Mapping[str, str], namer: Namer, *, of_source: bool) -> None:
        self.names = names
        self._namer = namer
        self._of_source = of_source
        self._beside: list[str] = []
        """Types that the definition at hand needs, and nobody else."""

    def definition(self, definition: Definition, use: str) -> str:
        """Return a definition as types.

        Args:
            definition: The definition.
            use: What it is used as, after "is".
        """
        name = self.names[definition.name]
        about = f"// {comment(f'{name} is {use}. {definition.about}')}\n"
        if isinstance(definition.shape, shapes.Structure):
            made = f"{about}type {name} {self._structure(name, definition.shape)}\n"
        elif isinstance(definition.shape, shapes.Choice) and _is_textual(definition.shape):
            made = about + _enumeration(name, definition.shape, self._namer)
        else:
            made = f"{about}type {name} {self._type(name, definition.shape)}\n"
        beside, self._beside = self._beside, []
        return "\n".join([made, *beside])

    def _structure(self, owner: str, structure: shapes.Structure) -> str:
        if not structure.fields:
            return "struct{}"
        namer = Namer()
        rows: list[str | tuple[str, ...]] = []
        for field in structure.fields:
            name = namer.take(self._source(_SOURCE_NAMES, owner, field) or exported(field.name))
            about = comment(_about(field))
            if about:
                # What begins otherwise could be a list or a directive to Go's tools.
                rows.append(f"\t// {about}" if about[0].isalpha() else f"\t// {name}: {about}")
            kind, empty = self._field(owner, name, field)
            rows.append((name, kind, _tag(field.name, omitted=empty)))
        return f"struct {{\n{aligned(rows)}}}"

    def _source(self, table: Mapping[tuple[str, str], str], owner: str, field: Field) -> str | None:
        return table.get((owner, field.name)) if self._of_source else None

    def _field(self, owner: str, name: str, field: Field) -> tuple[str, bool]:
        """Return a field's type, and whether it is left out where it is empty."""
        plain = self._source(_SOURCE_TYPES, owner, field) or self._type(owner + name, shapes.without_null(field.shape))
        nullable = shapes.is_nullable(field.shape)
        if plain == "any" or plain.startswith(("[]", "map[")):
            return plain, not field.required and field.default is not UNSET
        if field.required:
            return (f"*{plain}" if nullable else plain), False
        if _is_empty_nothing(field):
            return plain, True
        if field.default is UNSET and not nullable:  # a default that the contract always writes
            return plain, False
        # Zero is a value here, and not the same as nothing.
        return (plain if field.default in (0, False, "") and not nullable else f"*{plain}"), True

    def _type(self, name: str, shape: Shape) -> str:
        match shape:
            case shapes.Text(format="date-time"):
                return "time.Time"
            case shapes.Text(format="base64"):
                return "[]byte"
            case shapes.Text():
                return "string"
            case shapes.Number(whole=True):
                return "int64"
            case shapes.Number():
                return "float64"
            case shapes.Flag():
                return "bool"
            case shapes.Named(definition):
                return self.names[definition]
            case shapes.Array(items=items):
                return f"[]{self._type(f'{name}Item', items)}"
            case shapes.Mapping(values=values):
                return f"map[string]{self._value(f'{name}Value', values)}"
            case shapes.Choice():
                return self._choice(name, shape)
            case shapes.Row():
                return "[]any"
            case shapes.Structure():
                return self._inner(name, shape)
        return "any"

    def _value(self, name: str, shape: Shape) -> str:
        plain = self._type(name, shapes.without_null(shape))
        pointed = shapes.is_nullable(shape) and plain != "any" and not plain.startswith(("[]", "map["))
        return f"*{plain}" if pointed else plain

    def _choice(self, name: str, choice: shapes.Choice) -> str:
        if all(isinstance(value, int) and not isinstance(value, bool) for value in choice.values):
            return "int64"
        if not _is_textual(choice):
            return "any"
        if len(choice.values) == 1:
            return "string"
        known = self._namer.take(name.replace("Data", "", 1))
        self._beside.append(f"// {known} is {kind_of(choice)}.\n" + _enumeration(known, choice, self._namer))
        return known

    def _inner(self, name: str, structure: shapes.Structure) -> str:
        known = self._namer.take(name)
        self._beside.append(f"// {known} is a part of another.\ntype {known} {self._structure(known, structure)}\n")
        return known


def _is_textual(choice: shapes.Choice) -> bool:
    return all(isinstance(value, str) for value in choice.values)


def _is_empty_nothing(field: Field) -> bool:
    """Return whether an empty text means the same as none, as the contract has it, or could mean nothing else."""
    match shapes.without_null(field.shape):
        case shapes.Choice() as choice:
            return _is_textual(choice) and "" not in choice.values
        case shapes.Text(format="date-time"):
            return False
        case shapes.Text(shortest=shortest):
            return bool(shortest) or field.default is None or field.default == ""
    return False


def _enumeration(name: str, choice: shapes.Choice, namer: Namer) -> str:
    rows: list[str | tuple[str, ...]] = [
        (namer.take(name + (pascal(str(value)) if str(value) else "Empty")), name, f"= {json.dumps(value)}")
        for value in choice.values
    ]
    return f"type {name} string\n\n// What a {name} may be.\nconst (\n{aligned(rows)})\n"


def _tag(name: str, *, omitted: bool) -> str:
    if _TAGGED.fullmatch(name) is None:
        raise InvalidContract(
            f"Go's encoding/json cannot name a member {name!r}", type="", hint="Rename it, or export another format."
        )
    options = ",omitempty" if omitted else "," if name == "-" else ""
    return f'`json:"{name}{options}"`'


def _about(field: Field) -> str:
    limits = sentence(limits_of(field.shape))
    return " ".join(filter(None, (field.about, "" if limits in field.about or limits == _NO_NEWS else limits)))
