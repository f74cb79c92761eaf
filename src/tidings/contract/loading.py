"""Loading of contracts: from a Python attribute such as ``my_app.events:contract``, or from a JSON or TOML file.

A person writes a file, or `tidings contract export json` does::

    [[events]]
    type = "trade:executed"
    channel = "trades"
    key = "trade_id"
    class = "durable"                 # or "latest"
    fields = { trade_id = "string", price = "number", note = "string?" }

`payload` may replace `fields` and holds the JSON Schema of an object.
"""

import sys
import tomllib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import msgspec

from tidings.contract.contract import Contract
from tidings.contract.event_types import BUILTIN, EventType, check_event_type
from tidings.contract.payload_structs import PayloadBuilder
from tidings.exceptions import InvalidContract
from tidings.protocol.message_types import EventClass

FORMAT = "contract/1"
"""The member `tidings` of an exported file: the version of the file's format."""
_CLASSES = tuple(str(each) for each in (EventClass.DURABLE, EventClass.LATEST))
_MEMBERS = frozenset(
    {
        "type",
        "channel",
        "key",
        "class",
        "payload",
        "fields",
        "keep_newest",
        "ends_key",
        "deprecated",
        "description",
        "publishable",
        "name",
    }
)
_FORMS: dict[str, Literal["json", "toml"]] = {".json": "json", ".toml": "toml"}
"""The format of a file, by its extension."""


def load_contract(spec: str) -> Contract:
    """Return the contract that `spec` names.

    Args:
        spec: ``module:attribute`` of a module that can be imported from here, or the path of a ``.json`` or ``.toml``
            file.

    Raises:
        InvalidContract: The module, attribute or file does not exist, or the contract is invalid.
    """
    form = _FORMS.get(Path(spec).suffix.lower())
    if form is not None:
        return _load_file(Path(spec), form)
    module, colon, attribute = spec.partition(":")
    if not (colon and module and attribute):
        raise InvalidContract(
            f"invalid contract {spec!r}: expected module:attribute, or the path of a .json or .toml file",
            type="",
            hint="Write, for example, my_app.events:contract.",
        )
    return _load_attribute(module, attribute)


def _load_file(path: Path, form: Literal["json", "toml"]) -> Contract:
    try:
        text = path.read_bytes()
    except OSError as cause:
        raise InvalidContract(
            f"cannot read {path}: {cause.strerror or cause}", type="", hint="Check the path."
        ) from cause
    return read_contract(text, str(path), form=form)


def _load_attribute(name: str, attribute: str) -> Contract:
    # The path of an installed command has no entry for a script's folder. Users expect the current one.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: object = import_module(name)
    except InvalidContract:
        raise
    except ImportError as cause:
        raise InvalidContract(
            f"{name} cannot be imported: {cause}",
            type="",
            hint="Run this in the folder of the module, or set PYTHONPATH.",
        ) from cause
    except Exception as cause:
        raise InvalidContract(
            f"{name} cannot be imported: {type(cause).__name__}: {cause}", type="", hint="Correct the module."
        ) from cause
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise InvalidContract(
                f"{name} has no {attribute}", type="", hint="Name the attribute of the module that is a Contract."
            ) from None
    if not isinstance(found, Contract):
        kind = type(found).__name__
        raise InvalidContract(
            f"invalid contract {name}:{attribute}: expected a Contract, not a {kind}",
            type="",
            hint="Build one with `tidings.Contract.of(event(…))`.",
        )
    return found


def read_contract(text: str | bytes, source: str, *, form: Literal["json", "toml"]) -> Contract:
    """Return the contract of every hub with the events of a file added.

    Args:
        text: The content of the file.
        source: Name of the file, for errors.
        form: Format of the file.

    Raises:
        InvalidContract: The file cannot be read, or declares an invalid event; the message names the place.
    """
    try:
        document = _decode(text, form)
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise InvalidContract(
            f"{source}: invalid {form.upper()}: {cause}", type="", hint=f"Correct the {form.upper()}."
        ) from cause
    return build_contract(document, source)


def _decode(text: str | bytes, form: Literal["json", "toml"]) -> Any:
    if form == "json":
        return msgspec.json.decode(text)
    return tomllib.loads(text.decode() if isinstance(text, bytes) else text)


def build_contract(document: Any, source: str) -> Contract:
    """Return the contract of a decoded file; see `read_contract`."""
    if not isinstance(document, Mapping) or not isinstance(document.get("events"), list):
        hint = 'Write {"events": [{"type": …}]}, or [[events]] in TOML.'
        if isinstance(document, Mapping) and ("$schema" in document or "asyncapi" in document):
            hint = "Use what `tidings contract export json` writes: no other export can be loaded."
        raise InvalidContract(f"{source}: no list of events", type="", hint=hint)
    format = document.get("tidings", FORMAT)
    if format != FORMAT:
        raise InvalidContract(
            f"{source}: unknown format {str(format)[:80]!r}: expected {FORMAT!r}", type="", hint="Upgrade tidings."
        )
    builder = PayloadBuilder(document.get("$defs"), source)
    own = {event.type for event in BUILTIN}
    events = []
    for index, declared in enumerate(document["events"]):
        if isinstance(declared, Mapping) and isinstance(type := declared.get("type"), str) and type in own:
            continue  # an exported contract lists all events, and this version has its own catalogue
        events.append(_read_event(declared, builder, f"{source}, events[{index}]"))
    return Contract((*BUILTIN, *events))


def _read_event(declared: Any, builder: PayloadBuilder, place: str) -> EventType:
    if not isinstance(declared, Mapping) or not isinstance(declared.get("type"), str):
        raise InvalidContract(f"{place}: invalid event: expected an object with a type", type="")
    type = declared["type"]
    try:
        return _build_event(declared, type, builder, place)
    except InvalidContract as error:
        if error.message.startswith("event type"):
            raise
        raise InvalidContract(f"event type {type[:80]!r} ({place}): {error}", type=type, hint=error.hint) from error


def _build_event(declared: Mapping[str, Any], type: str, builder: PayloadBuilder, place: str) -> EventType:
    if unknown := sorted(set(declared) - _MEMBERS):
        raise InvalidContract(f"unknown member {unknown[0]!r}: expected {', '.join(sorted(_MEMBERS))}", type=type)
    for member in ("channel", "key", "deprecated", "description"):
        if not isinstance(declared.get(member, ""), str | None):
            raise InvalidContract(f"invalid {member}: expected a text", type=type)
    if declared.get("class", "durable") not in _CLASSES:
        raise InvalidContract(f"invalid class {declared['class']!r}: expected {' or '.join(_CLASSES)}", type=type)
    keep_newest = declared.get("keep_newest")
    if not isinstance(keep_newest, int | None):
        raise InvalidContract(f"invalid keep_newest {keep_newest!r}: expected a whole number", type=type)
    if ("payload" in declared) is ("fields" in declared):
        raise InvalidContract("an event has either fields, or a payload, which is a JSON Schema", type=type)
    name = str(declared.get("name") or f"{type.replace(':', '_')}_data")
    about = declared.get("description") or ""
    if "payload" in declared:
        payload = builder.from_schema(name, declared["payload"], "$.payload", about=about)
    else:
        payload = builder.from_fields(name, declared["fields"], "$.fields", about=about)
    event = EventType(
        type=type,
        channel=declared.get("channel"),
        payload=payload,
        key=declared.get("key") or None,
        event_class=EventClass(declared.get("class", "durable")),
        keep_newest=keep_newest,
        ends_key=bool(declared.get("ends_key", False)),
        publishable=bool(declared.get("publishable", True)),
        deprecated=declared.get("deprecated") or "",
        source=place,
    )
    check_event_type(event)
    return event
