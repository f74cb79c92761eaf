"""Details of events, which only readers with the grant `details` receive (docs/access.md, "Details")."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw, structs

from tidings.protocol.envelope import Event
from tidings.protocol.message_types import MessageType

ERROR_DETAILS: Final = ("details",)
"""Members of errors: stacks, and the last lines of output."""
PROCESS_DETAILS: Final = ("host", "pid", "command", "user")
"""Members of an operation that describe the process behind it."""

DETAILS: Final[Mapping[str, tuple[str, ...]]] = {
    MessageType.OPERATION_START: PROCESS_DETAILS,
    MessageType.OPERATION_FAILED: ERROR_DETAILS,
    MessageType.OPERATION_ERROR: ERROR_DETAILS,
    MessageType.DATA_ERROR: ERROR_DETAILS,
    MessageType.SYSTEM_ALERT: ERROR_DETAILS,
}
"""By event type, the members of its data that are details. The events of an application have none: it decides itself
what it puts into them."""

_QUOTED: Final = {type: tuple(f'"{name}"'.encode() for name in names) for type, names in DETAILS.items()}
_BACKSLASH = 0x5C
_decode = msgspec.json.Decoder(dict[str, Raw]).decode


def conceal_details(event: Event) -> Event:
    """Return `event` without its details; the same object if it has none."""
    quoted = _QUOTED.get(event.type)
    if quoted is None:
        return event
    data = event.data
    # A name may be written with escapes.
    if _BACKSLASH not in data and not any(name in data for name in quoted):
        return event
    try:
        members = _decode(data)
    except msgspec.DecodeError:  # of an old log, or of another contract: it may be anything
        return structs.replace(event, data=b"{}")
    hidden = DETAILS[event.type]
    kept = {name: value for name, value in members.items() if name not in hidden}
    return event if len(kept) == len(members) else structs.replace(event, data=msgspec.json.encode(kept))
