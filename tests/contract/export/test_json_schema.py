"""The exported schemas, checked with real messages by an independent validator."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from tests.contract.envelopes import read
from tests.contract.strategies import messages
from tests.contract.test_loading import BAD, GOOD, TOML

from tidings.contract.contract import Contract
from tidings.contract.export.json_schema import build_bundle, build_event_schemas, export_files, export_json_schema
from tidings.contract.loading import read_contract
from tidings.protocol.envelope import encode_event, encode_event_v1

CONTRACT = Contract()
SHOP = read_contract(TOML, "shop.toml", form="toml")
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "go-encoding-json.json").read_text())
REVISIONS = sorted((Path(__file__).parents[1] / "revisions").glob("2*.ndjson"))
SCHEMAS = {type: Draft202012Validator(schema) for type, schema in build_event_schemas(CONTRACT).items()}
BUNDLE = Draft202012Validator(build_bundle(CONTRACT))


@pytest.mark.parametrize(
    "schema", [build_bundle(CONTRACT), build_bundle(SHOP), *build_event_schemas(SHOP).values()], ids=lambda s: s["$id"]
)
def test_exported_schema_is_a_valid_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)


def test_every_event_has_a_schema() -> None:
    assert set(build_event_schemas(CONTRACT)) == {*CONTRACT.events, "operation:error"}
    assert len(export_files(CONTRACT)) == len(CONTRACT.events) + 1
    assert "operation.progress.schema.json" in export_files(CONTRACT)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.get("note", vector["wire"][:60]))
def test_messages_of_a_go_peer_are_valid(vector: dict[str, Any]) -> None:
    BUNDLE.validate(json.loads(vector["wire"]))


@pytest.mark.parametrize("path", REVISIONS, ids=lambda path: path.stem)
def test_messages_of_each_revision_are_valid(path: Path) -> None:
    for line in path.read_bytes().splitlines():
        BUNDLE.validate(json.loads(line))


@settings(max_examples=200, deadline=None)
@given(messages())
def test_every_delivered_event_is_valid(wire: str) -> None:
    event = read(wire)
    for form in (encode_event(event), encode_event_v1(event, "0badc0de:7")):
        message = json.loads(form)
        SCHEMAS[event.type].validate(message)
        BUNDLE.validate(message)


@pytest.mark.parametrize("data", GOOD)
def test_valid_own_event_is_valid(data: dict[str, Any]) -> None:
    validator = Draft202012Validator(build_event_schemas(SHOP)["trade:price"])
    validator.validate({"type": "trade:price", "data": data, "channel": "trades"})


@pytest.mark.parametrize("data", BAD)
def test_invalid_own_event_is_invalid(data: dict[str, Any]) -> None:
    validator = Draft202012Validator(build_event_schemas(SHOP)["trade:price"])
    assert not validator.is_valid({"type": "trade:price", "data": data, "channel": "trades"})


@pytest.mark.parametrize(
    "message",
    [
        {"type": "operation:progress", "data": {"operation_id": "a", "progress": 101}},
        {"type": "operation:progress", "data": None},
        {"type": "operation:progress"},
        {"type": "operation:progress", "data": {"operation_id": "a", "progress": 1}, "channel": "data"},
        {"type": "operation:finish", "data": {"operation_id": "a"}},
    ],
)
def test_message_that_the_hub_rejects_is_invalid(message: dict[str, Any]) -> None:
    assert not BUNDLE.is_valid(message)


def test_equal_contracts_are_exported_alike() -> None:
    assert export_json_schema(CONTRACT) == export_json_schema(Contract())
