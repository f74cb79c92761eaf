import json
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from tests.contract.export.odd_contract import ODD
from tests.contract.export.test_document import OWN, SHOP

from tidings.contract.contract import Contract
from tidings.contract.export.examples import build_example
from tidings.contract.export.json_schema import build_event_schemas
from tidings.contract.export.model import build_model
from tidings.contract.loading import build_contract
from tidings.protocol.messages import COMMANDS, HUB_MESSAGES

CONTRACTS = {"everyone": Contract(), "shop": SHOP, "own": OWN, "odd": ODD}


@pytest.mark.parametrize("name", CONTRACTS)
def test_example_of_an_event_is_valid(name: str) -> None:
    contract = CONTRACTS[name]
    model = build_model(contract)
    schemas = build_event_schemas(contract)
    for event in model.events:
        example = build_example(contract, model, event)
        Draft202012Validator(schemas[event.type]).validate(example)
        contract.decode(event.type, json.dumps(example["data"]).encode())


def test_example_of_a_command_reply_or_push_is_valid() -> None:
    model = build_model(Contract())
    for message in (*model.hub_messages, *model.commands):
        spec = (COMMANDS if message in model.commands else HUB_MESSAGES)[message.type]
        spec.decode(msgspec.json.encode(build_example(Contract(), model, message)["data"]))


def of_field(schema: dict[str, Any], *, optional: bool = False) -> Any:
    payload = {"type": "object", "properties": {"it": schema}, "required": [] if optional else ["it"]}
    contract = build_contract({"events": [{"type": "a:b", "channel": "data", "payload": payload}]}, "here")
    model = build_model(contract)
    (event,) = (each for each in model.events if each.type == "a:b")
    return build_example(contract, model, event)["data"].get("it")


@pytest.mark.parametrize(
    ("schema", "example"),
    [
        ({"type": "string", "examples": ["mine"]}, "mine"),
        ({"type": "string", "maxLength": 1}, "i"),
        ({"type": "string", "minLength": 4}, "itxx"),
        ({"type": "string", "pattern": "^[A-Z]{3}$"}, "ABC"),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5, "multipleOf": 3}, 6),
        ({"type": "integer", "exclusiveMinimum": 6, "multipleOf": 3}, 9),
        ({"type": "integer", "maximum": -4}, -4),
        ({"type": "number", "minimum": 1, "maximum": 1}, 1),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.25}, 0.125),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"enum": ["buy", "sell"]}, "buy"),
    ],
)
def test_generated_values_are_within_limits(schema: dict[str, Any], example: Any) -> None:
    assert of_field(schema) == example


def test_optional_text_without_a_candidate_is_left_out() -> None:
    assert of_field({"type": "string", "pattern": "^Q{7}$"}, optional=True) is None


def test_changed_example_does_not_affect_others() -> None:
    model = build_model(Contract())
    first = build_example(Contract(), model, model.events[0])
    first["data"]["operation_id"] = "another"
    assert build_example(Contract(), model, model.events[0])["data"]["operation_id"] == "op-42"
