import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.envelopes import message, read

from tidings.contract.contract import Contract
from tidings.contract.event_types import EventType
from tidings.contract.export.document import build_contract_document
from tidings.contract.export.formats import FORMATS
from tidings.contract.loading import build_contract, load_contract, read_contract
from tidings.exceptions import InvalidContract, InvalidPayload
from tidings.protocol.message_types import EventClass

MODULE = """
import msgspec
from tidings.contract.event_types import event
from tidings.contract.contract import Contract

class TradeExecuted(msgspec.Struct, frozen=True, kw_only=True):
    trade_id: str

class events:
    contract = Contract.of(event("trade:executed", TradeExecuted, channel="trades", key="trade_id"))

number = 5
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "shop_events.py").write_text(MODULE)
    (tmp_path / "broken_events.py").write_text("1 / 0")
    return tmp_path


def test_contract_is_loaded_from_a_module(here: Path) -> None:
    assert [event.type for event in load_contract("shop_events:events.contract").own] == ["trade:executed"]


def test_contract_is_loaded_from_a_file(here: Path) -> None:
    path = here / "shop.json"
    path.write_text('{"events":[{"type":"trade:executed","channel":"trades","fields":{"trade_id":"string"}}]}')
    assert [event.type for event in load_contract(str(path)).own] == ["trade:executed"]


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("shop_events", "expected module:attribute"),
        ("", "expected module:attribute"),
        ("shop_events:", "expected module:attribute"),
        ("shop_events:nothing", "shop_events has no nothing"),
        ("shop_events:number", "contract shop_events:number: expected a Contract, not a int"),
        ("no_such_module_at_all:contract", "cannot be imported"),
        ("broken_events:contract", "ZeroDivisionError"),
        ("missing.toml", "missing.toml: No such file"),
    ],
)
def test_invalid_spec_is_rejected(here: Path, spec: str, fault: str) -> None:
    with pytest.raises(InvalidContract, match=fault):
        load_contract(spec)


TOML = """
[[events]]
type = "trade:executed"
channel = "trades"
key = "trade_id"
fields = { trade_id = "string", price = "number", tags = "string[]?", side = { enum = ["buy", "sell"] } }

[[events]]
type = "trade:price"
channel = "trades"
key = "symbol"
class = "latest"
deprecated = "Publish quote:changed."
description = "The price of a symbol, as it is now."

[events.payload]
type = "object"
required = ["symbol", "price"]

[events.payload.properties]
symbol = { type = "string", minLength = 1, maxLength = 8, pattern = "^[A-Z]+$" }
price = { type = "number", exclusiveMinimum = 0 }
volume = { type = "integer", minimum = 0 }
venues = { type = "array", items = { "$ref" = "#/$defs/venue" }, maxItems = 3 }
extra = { type = "object", additionalProperties = { type = ["number", "null"] } }

["$defs".venue]
type = "object"
required = ["name"]
properties = { name = { type = "string" }, open = { type = "boolean" } }
"""


def declared(**event: Any) -> EventType:
    document = {"events": [{"type": "trade:executed", "channel": "trades", "fields": {"id": "string"}, **event}]}
    return build_contract(document, "here").own[0]


def test_toml_file_is_read() -> None:
    contract = read_contract(TOML, "shop.toml", form="toml")
    executed, price = contract.own
    assert (executed.type, executed.channel, executed.key, executed.event_class) == (
        "trade:executed",
        "trades",
        "trade_id",
        EventClass.DURABLE,
    )
    assert (price.event_class, price.deprecated) == (EventClass.LATEST, "Publish quote:changed.")
    assert contract.channels == ("global", "operations", "data", "system", "trades")
    assert contract.deprecated["trade:price"] == "Publish quote:changed."


GOOD = [
    {"symbol": "ABC", "price": 0.5},
    {
        "symbol": "A",
        "price": 3,
        "volume": 0,
        "venues": [{"name": "x"}, {"name": "y", "open": True}],
        "extra": {"a": None},
    },
]
BAD = [
    {"symbol": "abc", "price": 1},
    {"symbol": "", "price": 1},
    {"symbol": "ABCDEFGHI", "price": 1},
    {"symbol": "ABC", "price": 0},
    {"symbol": "ABC"},
    {"symbol": "ABC", "price": 1, "volume": -1},
    {"symbol": "ABC", "price": 1, "volume": 1.5},
    {"symbol": "ABC", "price": 1, "venues": [{}]},
    {"symbol": "ABC", "price": 1, "venues": [{"name": "x"}] * 4},
    {"symbol": "ABC", "price": 1, "extra": {"a": "text"}},
]


@pytest.mark.parametrize("data", GOOD)
def test_data_that_fits_a_schema_is_accepted(data: dict[str, Any]) -> None:
    contract = read_contract(TOML, "shop.toml", form="toml")
    event = read(message("trade:price", json.dumps(data)), contract=contract)
    assert (event.key, event.channel) == (data["symbol"], "trades")


@pytest.mark.parametrize("data", BAD)
def test_data_that_does_not_fit_a_schema_is_rejected(data: dict[str, Any]) -> None:
    contract = read_contract(TOML, "shop.toml", form="toml")
    with pytest.raises(InvalidPayload):
        read(message("trade:price", json.dumps(data)), contract=contract)


def test_short_form_of_fields_is_read() -> None:
    fields = {name: f"{name}{more}" for name in ("string", "number", "integer", "boolean") for more in ("",)}
    event = declared(fields={**fields, "many": "integer[]", "thing": "any?", "map": "object?"})
    decode = msgspec.json.Decoder(event.payload).decode
    decode(b'{"string":"s","number":1.5,"integer":2,"boolean":true,"many":[1],"thing":{"a":1},"map":{"b":[1]}}')
    with pytest.raises(msgspec.ValidationError):
        decode(b'{"string":"s","number":1.5,"integer":2,"boolean":true,"many":["1"]}')


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"fields": {"id": "text"}}, r"\$\.fields\.id: invalid type 'text'"),
        ({"fields": "string"}, r"\$\.fields: invalid fields: expected"),
        ({"fields": {"with-dash": "string"}}, "invalid field name 'with-dash'"),
        ({"fields": {"id": {"type": "string", "minLen": 1}}}, r"\$\.fields\.properties\.id\.minLen"),
        ({"fields": {"id": {"$ref": "#/$defs/x"}}}, r"'#/\$defs/x' is not in \$defs"),
        ({"fields": {"id": {"enum": [1.5]}}}, "invalid choice: expected texts and whole numbers"),
        ({"fields": {"id": {"type": "text"}}}, "invalid type 'text': expected string"),
        ({"payload": {"type": "object", "properties": {}}}, "either fields, or a payload"),
        ({"class": "sometimes"}, "invalid class 'sometimes': expected durable or latest"),
        ({"channel": 5}, "invalid channel: expected a text"),
        ({"channel": "None"}, "invalid channel 'None'"),
        ({"channel": None}, "a direct event has no channel"),
        ({"key": "name"}, "invalid key 'name'"),
        ({"keep_newest": "all"}, "invalid keep_newest 'all'"),
        ({"colour": "red"}, "unknown member 'colour'"),
        ({"type": "auth:token"}, "the name is reserved"),
        ({"type": "Trade:executed"}, "<domain>:<action>"),
    ],
)
def test_invalid_event_is_rejected_with_its_place(changes: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidContract, match=place) as caught:
        declared(**changes)
    assert "here, events[0]" in str(caught.value)


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        ({"type": "string"}, r'invalid payload: expected \{"type": "object"'),
        (
            {"type": "object", "properties": {"a": 5}},
            r"\$\.payload\.properties\.a: invalid schema '5'",
        ),
        ({"type": "object", "properties": {"a": {}}, "required": ["b"]}, "'b' is not among the properties"),
        (
            {"type": "object", "properties": {"a": {"type": "object", "properties": {}, "additionalProperties": {}}}},
            "not both",
        ),
        ({"type": "object", "properties": {"a": {"anyOf": []}}}, "invalid choice: expected at least one schema"),
        ({"$ref": "#/$defs/loop"}, "refers to itself"),
        ({"$ref": "#/$defs/tree"}, "contains itself"),
    ],
)
def test_unsupported_schema_is_rejected(payload: Any, place: str) -> None:
    definitions = {
        "loop": {"$ref": "#/$defs/loop"},
        "tree": {"type": "object", "properties": {"of": {"$ref": "#/$defs/tree"}}},
    }
    document = {"events": [{"type": "a:b", "channel": "data", "payload": payload}], "$defs": definitions}
    with pytest.raises(InvalidContract, match=place):
        build_contract(document, "here")


@pytest.mark.parametrize(
    "text", ["", "[", '{"events": 1}', "[]", "null", '{"events":[5]}', '{"tidings":"contract/9","events":[]}']
)
def test_invalid_file_is_rejected_with_its_name(text: str) -> None:
    with pytest.raises(InvalidContract, match=r"shop\.json"):
        read_contract(text, "shop.json", form="json")


def test_events_of_the_catalogue_in_a_file_are_ignored() -> None:
    document = {"events": [{"type": "operation:start"}, {"type": "a:b", "channel": "data", "fields": {"x": "string"}}]}
    assert [event.type for event in build_contract(document, "here").own] == ["a:b"]
    assert build_contract({"events": []}, "here").identity == Contract().identity


def test_descriptions_of_events_and_fields_are_kept() -> None:
    contract = read_contract(TOML, "shop.toml", form="toml")
    assert contract.events["trade:price"].payload.__doc__ == "The price of a symbol, as it is now."
    event = declared(
        description="Sent immediately.", fields={"id": {"type": "string", "description": "Which.", "examples": ["a"]}}
    )
    assert event.payload.__doc__ == "Sent immediately."
    field = msgspec.json.schema_components([event.payload])[1]["TradeExecutedData"]["properties"]["id"]
    assert field == {"type": "string", "description": "Which.", "examples": ["a"]}


def test_field_of_any_value_with_a_description_is_read() -> None:
    event = declared(fields={"id": "string", "extra": {"description": "Whatever the exchange adds."}})
    assert msgspec.json.decode(b'{"id":"a","extra":[1]}', type=event.payload).extra == [1]  # type: ignore[attr-defined]


def test_payloads_of_one_name_stay_distinct() -> None:
    events = [
        {"type": f"a:{letter}", "channel": "data", "name": "Same", "fields": {letter: "string"}} for letter in "bcd"
    ]
    one, other = (
        build_contract({"events": events[:2]}, "one.json"),
        build_contract({"events": events[2:]}, "other.json"),
    )
    both = one | other
    for letter in "bcd":
        assert both.decode(f"a:{letter}", json.dumps({letter: "x"}).encode())
    assert len(build_contract_document(both)["$defs"].keys() - build_contract_document(Contract())["$defs"].keys()) == 3


@pytest.mark.parametrize("form", ["json-schema", "asyncapi"])
def test_export_that_cannot_be_loaded_names_the_one_that_can(form: str) -> None:
    with pytest.raises(InvalidContract, match="no list of events") as caught:
        read_contract(FORMATS[form].render(Contract()), "old.json", form="json")
    assert "`tidings contract export json`" in caught.value.hint
