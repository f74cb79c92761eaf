"""The checks of an event against its publisher: reserved names and grants."""

from typing import Final

from tidings.access.subjects import Subject
from tidings.contract.contract import Contract
from tidings.exceptions import ReservedName, UnknownType
from tidings.hub.operations.away_alerts import PRODUCER_AWAY
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import MessageType

RESERVING_TYPES: Final = frozenset({MessageType.SYSTEM_ALERT, MessageType.SYSTEM_STATUS, MessageType.SYSTEM_METRICS})
"""Types that the hub publishes, too: their sources and alert ids distinguish its own."""
_RESERVED_PREFIXES: Final = ("tidings", f"{PRODUCER_AWAY}:", f"{UnknownType.code}:")
"""Beginnings of the sources and alert ids of the hub's own events."""


def check_reserved(event: Event) -> None:
    """Check that an event of a client, of one of `RESERVING_TYPES`, has no source or alert id of the hub's own.

    Raises:
        ReservedName: It has one: readers would take the event for the hub's.
    """
    key = event.key or ""
    if key.startswith(_RESERVED_PREFIXES):
        field = "alert_id" if event.type == MessageType.SYSTEM_ALERT else "source"
        raise ReservedName(f"$.data.{field}: {key[:80]!r} is reserved for the hub")


def check_subject(event: Event, subject: Subject, contract: Contract) -> None:
    """Check that `subject` may publish `event` to each channel that it goes to, and remember it for `Grants.accepted`.

    Raises:
        Forbidden: It may not.
    """
    channel, key = event.channel, event.key
    row = contract.events.get(event.type)
    own = channel if row is None or row.channel is None else row.channel
    channels = (channel,) if channel == own else (own, channel)
    subject.grants.check_publish(event.type, channels, key, declared=row is not None)
    subject.grants.accept(event.type, channel, key)
