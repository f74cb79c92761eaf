"""Events of types that nobody declared, as a lenient contract takes them."""

from functools import lru_cache
from typing import Any

import msgspec

from tidings.contract.catalogue import EventType
from tidings.contract.payloads import Payload
from tidings.contract.rows import Row
from tidings.contract.vocabulary import EventClass, SlotEffect


class Anything(Payload, frozen=True, kw_only=True):
    """A payload of which nothing is known."""


_decode_any = msgspec.json.Decoder(Any).decode


@lru_cache(maxsize=1024)
def undeclared(type: str, channel: str) -> Row:
    """Return the row of a type that nobody declared, whose events go to `channel`."""
    return Row(
        event=EventType(type=type, channel=channel, payload=Anything),
        payload=Anything,
        type=type,
        channel=channel,
        event_class=EventClass.DURABLE,
        effect=SlotEffect.REPLACE,
        key=_no_key,
        keyless=True,
        decode=_decode_any,
        all_optional=False,
    )


def _no_key(payload: object) -> None:
    return None
