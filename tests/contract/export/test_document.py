import json

import msgspec
import pytest
from tests.contract.test_loading import TOML

from tidings.contract.contract import Contract
from tidings.contract.event_types import event
from tidings.contract.export.document import build_contract_document, export_json, summarize_event
from tidings.contract.loading import build_contract, read_contract


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """Sent when a trade was made.

    Not before it was settled.
    """

    trade_id: str
    price: float = 0.0


class Bare(msgspec.Struct):
    name: str


SHOP = read_contract(TOML, "shop.toml", form="toml")
OWN = Contract.of(
    event("trade:executed", Trade, channel="trades", key="trade_id", deprecated="Publish another."),
    event("trade:bare", Bare, channel="data", ends_key=True),
)


def test_document_has_every_event() -> None:
    document = json.loads(export_json(OWN))
    rows = {row["type"]: row for row in document["events"]}
    assert list(rows) == list(OWN.events)
    assert document["hash"] == OWN.identity.hash
    assert document["channels"] == list(OWN.channels)
    assert rows["trade:executed"] == {
        "type": "trade:executed",
        "channel": "trades",
        "key": "trade_id",
        "class": "durable",
        "publishable": True,
        "deprecated": "Publish another.",
        "name": "Trade",
        "description": "Sent when a trade was made.",
        "payload": {"$ref": "#/$defs/Trade"},
    }
    assert rows["operation:log"]["keep_newest"] == 1000
    assert rows["connection:established"]["channel"] is None


@pytest.mark.parametrize("contract", [Contract(), SHOP, OWN], ids=["everyone's", "from a file", "from Python"])
def test_exported_contract_is_loaded_unchanged(contract: Contract) -> None:
    again = build_contract(build_contract_document(contract), "again")
    assert export_json(build_contract(build_contract_document(again), "and again")) == export_json(again)
    assert [row.type for row in again.own] == [row.type for row in contract.own]
    assert again.channels == contract.channels


def test_exported_contract_of_a_file_keeps_its_hash() -> None:
    assert build_contract(build_contract_document(SHOP), "again").identity == SHOP.identity


def test_equal_contracts_are_exported_alike() -> None:
    assert export_json(OWN) == export_json(Contract() | OWN)


def test_struct_without_a_docstring_has_no_description() -> None:
    assert summarize_event(OWN.events["trade:bare"]) == ""
