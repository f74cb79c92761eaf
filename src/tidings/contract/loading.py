"""Where a contract comes from: ``my_app.events:contract``, or a file.

Contracts as files: JSON or TOML, written by a person or by `tidings contract export json`.

::

    [[events]]
    type = "trade:executed"
    channel = "trades"
    key = "trade_id"
    class = "durable"                 # or "latest"
    fields = { trade_id = "string", price = "number", note = "string?" }

Instead of `fields`, `payload` holds a JSON Schema of an object.
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
"""What the member `tidings` of a file says that `tidings contract export json` wrote."""
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


def read_contract(text: str | bytes, source: str, *, form: Literal["json", "toml"]) -> Contract:
    """Return the contract that a file declares: that of every hub, and the file's events.

    Args:
        text: What the file holds.
        source: Its name, for messages.
        form: How it is written.

    Raises:
        InvalidContract: It cannot be read, or declares what no contract can hold; the message names the place.
    """
    try:
        document = tomllib.loads(_text(text)) if form == "toml" else msgspec.json.decode(text)
    except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise InvalidContract(f"{source}: this is no {form.upper()}: {cause}", type="") from cause
    return build_contract(document, source)


def build_contract(document: Any, source: str) -> Contract:
    """Return the contract that a decoded file declares; see `read_contract`."""
    if not isinstance(document, Mapping) or not isinstance(document.get("events"), list):
        raise InvalidContract(
            f"{source}: no list of events", type="", hint='Write {"events": [{"type": …}]}, or [[events]] in TOML.'
        )
    format = document.get("tidings", FORMAT)
    if format != FORMAT:
        raise InvalidContract(
            f"{source}: its form is {format!r}; this tidings reads {FORMAT!r}", type="", hint="Use a newer tidings."
        )
    builder = PayloadBuilder(document.get("$defs"), source)
    own = {event.type for event in BUILTIN}
    events = []
    for index, declared in enumerate(document["events"]):
        if isinstance(declared, Mapping) and declared.get("type") in own:
            continue  # an exported contract names all events, and this tidings has its own
        events.append(_event(declared, builder, f"{source}, events[{index}]"))
    return Contract((*BUILTIN, *events))


def _event(declared: Any, builder: PayloadBuilder, place: str) -> EventType:
    if not isinstance(declared, Mapping) or not isinstance(declared.get("type"), str):
        raise InvalidContract(f"{place}: an event has a type", type="")
    type = declared["type"]
    try:
        return _checked(declared, type, builder, place)
    except InvalidContract as error:
        if error.message.startswith("event type"):
            raise
        raise InvalidContract(f"event type {type[:80]!r} ({place}): {error}", type=type, hint=error.hint) from error


def _checked(declared: Mapping[str, Any], type: str, builder: PayloadBuilder, place: str) -> EventType:
    if unknown := sorted(set(declared) - _MEMBERS):
        raise InvalidContract(f"{unknown[0]!r} is no member of an event", type=type)
    for member in ("channel", "key", "deprecated", "description"):
        if not isinstance(declared.get(member, ""), str | None):
            raise InvalidContract(f"{member} is a text", type=type)
    if declared.get("class", "durable") not in _CLASSES:
        raise InvalidContract(f"class is one of {', '.join(_CLASSES)}, not {declared['class']!r}", type=type)
    keep_newest = declared.get("keep_newest")
    if not isinstance(keep_newest, int | None):
        raise InvalidContract("keep_newest is a whole number", type=type)
    if ("payload" in declared) is ("fields" in declared):
        raise InvalidContract("an event has either a payload, which is a JSON Schema, or fields", type=type)
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


def _text(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text


_FORMS: dict[str, Literal["json", "toml"]] = {".json": "json", ".toml": "toml"}


def load_contract(spec: str) -> Contract:
    """Return the contract that `spec` names.

    Args:
        spec: ``module:attribute``, of a module that can be imported from here, or the path of a ``.json`` or ``.toml``.

    Raises:
        InvalidContract: There is none, or it cannot be held.
    """
    form = _FORMS.get(Path(spec).suffix.lower())
    if form is not None:
        return _of_file(Path(spec), form)
    module, colon, attribute = spec.partition(":")
    if not (colon and module and attribute):
        raise InvalidContract(
            f"{spec!r} is no contract", type="", hint="Write module:attribute, or the path of a .json or .toml file."
        )
    return _of_module(module, attribute)


def _of_file(path: Path, form: Literal["json", "toml"]) -> Contract:
    try:
        text = path.read_bytes()
    except OSError as cause:
        raise InvalidContract(f"{path}: {cause.strerror or cause}", type="") from cause
    return read_contract(text, str(path), form=form)


def _of_module(name: str, attribute: str) -> Contract:
    # A script's own folder is not on the path of an installed command; where one calls it, is what one means.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: object = import_module(name)
    except InvalidContract:
        raise
    except ImportError as cause:
        raise InvalidContract(
            f"{name} cannot be imported: {cause}", type="", hint="Call this where `import` finds it, or set PYTHONPATH."
        ) from cause
    except Exception as cause:
        raise InvalidContract(f"{name} cannot be imported: {type(cause).__name__}: {cause}", type="") from cause
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise InvalidContract(f"{name} has no {attribute}", type="") from None
    if not isinstance(found, Contract):
        kind = type(found).__name__
        raise InvalidContract(
            f"{name}:{attribute} is a {kind}",
            type="",
            hint="Make it one: `tidings.Contract.of(event(…))`.",
        )
    return found
