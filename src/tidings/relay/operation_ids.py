"""Renaming operations: in every member that names one, and nowhere else."""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Raw

from tidings.protocol.message_types import MessageType

_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_EVERYWHERE = ("operation_id",)
_NAMING: Mapping[str, tuple[str, ...]] = {
    MessageType.OPERATION_START: ("operation_id", "parent_id", "resumes"),
    MessageType.SYSTEM_ALERT: ("operation_id", "alert_id"),
}
"""By event type, the members that name an operation."""


def rename_operations(type: str, data: bytes, rename: Callable[[str], str]) -> bytes:
    """Return `data` with its operations renamed; every other member keeps its bytes.

    An alert's id is renamed where it ends with its operation's, as the hub's own do (`producer_away:op-42`).

    Args:
        type: The event's.
        data: Its JSON.
        rename: Returns an operation's new id.
    """
    if b"_id" not in data and b"resumes" not in data:
        return data
    try:
        members = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return data  # no object: the hub says what is wrong with it
    named = {name: _text(members.get(name)) for name in _NAMING.get(type, _EVERYWHERE)}
    operation_id = named.get("operation_id")
    changed = False
    for name, value in named.items():
        if not value:
            continue
        if name == "alert_id":
            if not operation_id or not value.endswith(f":{operation_id}"):
                continue
            new = value[: -len(operation_id)] + rename(operation_id)
        else:
            new = rename(value)
        members[name] = Raw(msgspec.json.encode(new))
        changed = True
    return msgspec.json.encode(members) if changed else data


def _text(value: Raw | None) -> str | None:
    if value is None:
        return None
    try:
        return _decode_text(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
