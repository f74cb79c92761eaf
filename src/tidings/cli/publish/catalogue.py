"""The list of event types that `tidings publish --list` shows."""

import types
import typing
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, structs

from tidings.contract.contract import Contract


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One member of an event's data."""

    name: str
    form: str
    required: bool
    key: bool
    """Whether paths, conflation and snapshots go by it."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One event type that may be published."""

    type: str
    channel: str
    event_class: str
    fields: list[Field]


def listed(contract: Contract | None = None) -> list[Listed]:
    """Return every event type that may be published, with its fields."""
    found = []
    for event in (contract or Contract()).events.values():
        if event.publishable and event.channel is not None:
            hints = typing.get_type_hints(event.payload, include_extras=True)
            members = [
                Field(
                    name=field.encode_name,
                    form=describe_form(hints[field.name]),
                    required=field.required,
                    key=field.name == event.key,
                )
                for field in structs.fields(event.payload)
            ]
            found.append(
                Listed(type=event.type, channel=event.channel, event_class=str(event.event_class), fields=members)
            )
    return found


_WORDS: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any JSON"}


def describe_form(hint: Any) -> str:
    """Return in words what JSON a type reads: `number, 0 to 100`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _with_limits(describe_form(arguments[0]), arguments[1:])
    if origin is Literal:
        return " | ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe_form(each) for each in arguments if each is not type(None))
    if origin is list:
        return f"list of {describe_form(arguments[0])}"
    if origin is dict:
        return "object" if arguments[1] is Any else f"object of {describe_form(arguments[1])}s"
    return _WORDS.get(hint, "object")


def _with_limits(form: str, metas: tuple[Any, ...]) -> str:
    for meta in metas:
        # The bounds of Go's int64 are no news to a person.
        if isinstance(meta, Meta) and meta.ge is not None and meta.ge > -(2**63):
            most = f" to {meta.le:g}" if meta.le is not None and meta.le < 2**62 else " or more"
            form += f", {meta.ge:g}{most}"
    return form


def as_text(events: list[Listed]) -> str:
    """Return the list for reading."""
    blocks = []
    for event in events:
        lines = [f"{event.type}  ({event.channel}, {event.event_class})"]
        names = [f"{field.name}{'' if field.required else '?'}{' *' if field.key else ''}" for field in event.fields]
        width = max(map(len, names), default=0)
        lines += [f"    {name:{width}}  {field.form}" for name, field in zip(names, event.fields, strict=True)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n\n? may be left out    * the key: what the event is about\n"
