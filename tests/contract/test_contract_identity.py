import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tidings.contract.contract import Contract, compute_identity
from tidings.contract.event_types import BUILTIN, EventType
from tidings.protocol.message_types import EventClass
from tidings.protocol.payloads import Payload
from tidings.protocol.revisions import REVISION

FIELDS: list[Any] = [("order_id", str), ("description", str | None, None)]


def payload(fields: list[Any], said: str = "A parcel left.") -> type[Payload]:
    made = msgspec.defstruct("Shipment", fields, bases=(Payload,), kw_only=True, namespace={"__doc__": said})
    assert issubclass(made, Payload)
    return made


SHIPPED = EventType(type="shop:shipped", channel="orders", payload=payload(FIELDS), key="order_id")


def test_equal_contracts_have_one_identity_in_any_order() -> None:
    identity = compute_identity(BUILTIN)
    assert compute_identity(reversed(BUILTIN)) == Contract().identity == identity
    assert identity.version == REVISION == "2025-07-30"
    assert len(identity.hash) == len("sha256:") + hashlib.sha256().digest_size


@pytest.mark.parametrize(
    "change",
    [
        lambda row: msgspec.structs.replace(row, type="shop:sent"),
        lambda row: msgspec.structs.replace(row, channel="data"),
        lambda row: msgspec.structs.replace(row, key=None),
        lambda row: msgspec.structs.replace(row, event_class=EventClass.LATEST),
        lambda row: msgspec.structs.replace(row, publishable=False),
        lambda row: msgspec.structs.replace(row, ends_key=True),
        lambda row: msgspec.structs.replace(row, payload=payload(FIELDS[:1])),
        lambda row: msgspec.structs.replace(row, payload=payload([("order_id", str | None, None), *FIELDS[1:]])),
    ],
    ids=["type", "channel", "key", "class", "publishable", "ends_key", "a field less", "a field optional"],
)
def test_what_a_client_can_see_changes_it(change: Callable[[EventType], EventType]) -> None:
    assert compute_identity([change(SHIPPED)]) != compute_identity([SHIPPED])


def test_prose_does_not_change_it() -> None:
    reworded = msgspec.structs.replace(SHIPPED, payload=payload(FIELDS, "A parcel is on its way."))
    assert compute_identity([reworded]) == compute_identity([SHIPPED])
