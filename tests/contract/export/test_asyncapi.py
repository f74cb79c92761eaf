"""The exported document, checked by AsyncAPI's own parser."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.export.odd_contract import ODD
from tests.contract.export.test_document import OWN, SHOP
from tests.contract.export.toolchains import NODE_FOLDER, Node

from tidings.contract.contract import Contract
from tidings.contract.export.asyncapi import build_asyncapi_document, export_asyncapi
from tidings.contract.loading import build_contract
from tidings.protocol import messages
from tidings.protocol.messages import HUB_MESSAGES

CONTRACTS = {"everyone": Contract(), "shop": SHOP, "own": OWN, "odd": ODD}
_NEWER_VERSION = "asyncapi-latest-version"
"""Its only remark: 3.0.0 is deliberate, because more tools read it than 3.1.0."""


@pytest.fixture(scope="module")
def found(node: Node, folder: Path) -> dict[str, dict[str, Any]]:
    files = []
    for name, contract in CONTRACTS.items():
        files.append(folder / f"{name}.asyncapi.json")
        files[-1].write_text(export_asyncapi(contract))
    files.append(folder / "wrong.asyncapi.json")
    wrong = build_asyncapi_document(Contract())
    wrong["operations"]["publish"]["action"] = "shout"
    files[-1].write_text(json.dumps(wrong))
    results = json.loads(node.run(NODE_FOLDER / "asyncapi.mjs", *files).stdout)
    return dict(zip([*CONTRACTS, "wrong"], results, strict=True))


@pytest.mark.timeout(900)  # the first test that needs the packages installs them
@pytest.mark.parametrize("name", CONTRACTS)
def test_official_parser_finds_no_fault(name: str, found: dict[str, dict[str, Any]]) -> None:
    faults = found[name]["faults"]
    assert [fault for fault in faults if fault["code"] != _NEWER_VERSION] == []
    assert found[name]["version"] == "3.0.0"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CONTRACTS)
def test_official_parser_reads_every_message(name: str, found: dict[str, dict[str, Any]]) -> None:
    assert set(found[name]["messages"]) == {*CONTRACTS[name].events, *messages.COMMANDS, *HUB_MESSAGES}
    assert set(found[name]["operations"]) == {"publish", "deliver", "command", "answer"}


@pytest.mark.timeout(900)
def test_official_parser_finds_an_injected_fault(found: dict[str, dict[str, Any]]) -> None:
    assert "asyncapi-document-resolved" in {fault["code"] for fault in found["wrong"]["faults"]}


def test_hub_events_are_not_among_the_publishable() -> None:
    operations = build_asyncapi_document(OWN)["operations"]
    sent = {message["$ref"].rpartition("/")[2] for message in operations["deliver"]["messages"]}
    published = {message["$ref"].rpartition("/")[2] for message in operations["publish"]["messages"]}
    assert "trade.executed" in published < sent
    assert "operation.estimate" in sent - published


def test_document_has_the_address_of_the_hub() -> None:
    document = build_asyncapi_document(Contract(), host="hub.example.com", path="/tidings/ws", protocol="wss")
    assert document["servers"]["hub"] == {
        "host": "hub.example.com",
        "protocol": "wss",
        "description": "A tidings hub.",
    }
    assert document["channels"]["events"]["address"] == "/tidings/ws"


def test_every_event_with_a_valid_example_has_it() -> None:
    messages = build_asyncapi_document(SHOP)["components"]["messages"]
    assert messages["trade.executed"]["examples"][0]["payload"]["data"]["side"] == "buy"
    assert all("examples" in messages[type.replace(":", ".")] for type in SHOP.events)
    rare = build_contract(
        {"events": [{"type": "a:b", "channel": "data", "fields": {"id": {"type": "string", "pattern": "^Q{7}$"}}}]},
        "here",
    )
    assert "examples" not in build_asyncapi_document(rare)["components"]["messages"]["a.b"]
