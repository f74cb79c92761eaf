"""The exported file, compiled by TypeScript's own compiler and run in Node."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.contract.envelopes import read
from tests.contract.export.odd_contract import BAD, GOOD, NAMES, ODD, message
from tests.contract.export.test_document import SHOP
from tests.contract.export.toolchains import NODE_FOLDER, STRICTEST, Node
from tests.contract.export.whole_client import ACCESS, TOKEN, WHOLE_CLIENT
from tests.contract.test_loading import BAD as SHOP_BAD
from tests.contract.test_loading import GOOD as SHOP_GOOD
from tests.server.hub_server import HubServer

from tidings.access.control import AccessOptions
from tidings.contract.contract import Contract
from tidings.contract.export.examples import build_example
from tidings.contract.export.model import build_model, to_pascal_case
from tidings.contract.export.typescript.source_file import export_typescript
from tidings.contract.export.typescript.text import format_comment, format_const, format_property_name
from tidings.exceptions import NotPublishable
from tidings.protocol.envelope import encode_event
from tidings.protocol.message_types import LEGACY_TYPES

pytestmark = pytest.mark.timeout(900)  # the first test that needs the packages installs them

CONTRACTS = {"everyone": Contract(), "shop": SHOP, "odd": ODD, "names": NAMES}
MISTAKES = 8
"""Number of marked mistakes in `consumer.ts`."""
CORPUS = Path(__file__).parents[1]
VECTORS = [vector["wire"] for vector in json.loads((CORPUS / "vectors" / "go-encoding-json.json").read_text())]
REVISIONS = [
    line for path in sorted((CORPUS / "revisions").glob("2*.ndjson")) for line in path.read_text().splitlines()
]


@pytest.fixture(scope="module")
def compiled(node: Node, folder: Path) -> dict[str, Path]:
    """Each contract's module, compiled with the strictest options."""
    modules = {}
    for name, contract in CONTRACTS.items():
        source = folder / name / "tidings.ts"
        source.parent.mkdir()
        source.write_text(export_typescript(contract))
        modules[name] = folder / "compiled" / name / "tidings.js"
    node.compile(folder, *(folder / name / "tidings.ts" for name in CONTRACTS))
    return modules


class Reader:
    """A compiled module, run in Node."""

    def __init__(self, node: Node, module: Path) -> None:
        self._node = node
        self._module = module

    def read(self, *texts: str) -> list[dict[str, Any]]:
        done = self._node.run(NODE_FOLDER / "parse.mjs", self._module, stdin=json.dumps(texts))
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def faults(self, *texts: str) -> list[str | None]:
        return [each["event"].get("fault") for each in self.read(*texts)]


@pytest.fixture(scope="module")
def everyone(node: Node, compiled: dict[str, Path]) -> Reader:
    return Reader(node, compiled["everyone"])


@pytest.fixture(scope="module")
def odd(node: Node, compiled: dict[str, Path]) -> Reader:
    return Reader(node, compiled["odd"])


@pytest.fixture(scope="module")
def shop(node: Node, compiled: dict[str, Path]) -> Reader:
    return Reader(node, compiled["shop"])


def test_consumer_compiles_and_its_marked_mistakes_do_not(node: Node, folder: Path) -> None:
    here = folder / "consumer"
    here.mkdir()
    (here / "tidings.ts").write_text(export_typescript(SHOP))
    consumer = here / "consumer.ts"
    consumer.write_text((NODE_FOLDER / "consumer.ts").read_text())
    node.compile(here, consumer)
    consumer.write_text(consumer.read_text().replace("// @ts-expect-error", "//"))
    done = node.compile(here, consumer, check=False)
    assert len(set(re.findall(r"consumer\.ts\((\d+),", done.stdout))) == MISTAKES, done.stdout


def delivered(wire: str) -> str:
    """Return a published event as the hub delivers it, and another message unchanged."""
    try:
        return encode_event(read(wire, by_hub=True)).decode()
    except NotPublishable:
        return wire


@pytest.mark.parametrize("access", ACCESS)
def test_whole_client_needs_only_the_export(node: Node, tmp_path: Path, access: AccessOptions | None) -> None:
    """A producer that attaches, publishes, resumes and answers a cancel, and a watcher that cancels."""
    (tmp_path / "tidings.ts").write_text(export_typescript(Contract()))
    program = Path(shutil.copy(NODE_FOLDER / "whole_client.ts", tmp_path))
    node.compile(tmp_path, program, options={**STRICTEST, "lib": ["es2022", "dom"]})
    with HubServer(access=access) as server:
        done = node.run(NODE_FOLDER / "run.mjs", tmp_path / "compiled" / "whole_client.js", server.ws, TOKEN)
    assert json.loads(done.stdout) == {**WHOLE_CLIENT, "refused": "invalid_payload"}


def test_messages_of_a_go_peer_are_read(everyone: Reader) -> None:
    found = everyone.read(*map(delivered, VECTORS))
    assert [each["event"] for each in found] == [{"type": json.loads(delivered(wire))["type"]} for wire in VECTORS]


def test_unknown_messages_are_passed_on(everyone: Reader) -> None:
    """A newer hub may send more: a message of an unknown type is read; one that is not a message is not."""
    newer = {**PROGRESS, "type": "operation:paused", "data": [1], "more": True}
    unknown, without_time, constructor, invalid = everyone.read(
        *map(json.dumps, (newer, {**newer, "timestamp": 5}, {**newer, "type": "constructor"}, {**PROGRESS, "data": {}}))
    )
    assert unknown["message"] == {"type": "unknown", "message": newer}
    assert unknown["guards"] == []
    assert unknown["event"] == {"fault": '$.type: unknown type "operation:paused"'}
    assert constructor["message"] == {"type": "unknown", "message": {**newer, "type": "constructor"}}
    assert "fault" in without_time["message"]
    assert invalid["message"] == {"fault": "$.data.operation_id: missing"}


def test_messages_of_each_revision_are_read(everyone: Reader) -> None:
    found = everyone.read(*REVISIONS)
    assert [each["event"] for each in found] == [{"type": json.loads(line)["type"]} for line in REVISIONS]


@pytest.mark.parametrize("name", CONTRACTS)
def test_each_guard_accepts_its_own_type_only(name: str, node: Node, compiled: dict[str, Path]) -> None:
    contract = CONTRACTS[name]
    model = build_model(contract)
    examples = [json.dumps(build_example(contract, model, each)) for each in model.messages]
    found = Reader(node, compiled[name]).read(*examples)
    for each, of_example in zip(model.messages, found, strict=True):
        of_all = "isHubMessage" if each in model.hub_messages else "isTidingsEvent"
        assert of_all in of_example["guards"]
        (guard,) = set(of_example["guards"]) - {of_all}
        assert guard.removesuffix("2") == f"is{to_pascal_case(each.type)}"
        assert of_example["message"] == {"type": each.type}
        assert ("fault" in of_example["event"]) is (each in model.hub_messages)


def test_own_events_are_read_and_invalid_ones_rejected(odd: Reader, shop: Reader) -> None:
    assert odd.faults(*map(message, GOOD)) == [None] * len(GOOD)
    faults = odd.faults(*map(message, BAD))
    assert [data for data, fault in zip(BAD, faults, strict=True) if fault is None] == []
    assert shop.faults(*(shop_message(data) for data in SHOP_GOOD)) == [None] * len(SHOP_GOOD)
    assert None not in shop.faults(*(shop_message(data) for data in SHOP_BAD))


def shop_message(data: object) -> str:
    return message(data, "trade:price").replace('"channel":"data"', '"channel":"trades"')


FINE: dict[str, Any] = {"operation_id": "o", "progress": 1, "current_step": "", "total_steps": 0}
PROGRESS: dict[str, Any] = {
    **{"type": "operation:progress", "timestamp": "2025-07-30T12:00:00Z", "trace_id": "t"},
    **{"data": FINE, "channel": "operations"},
}
FAULTS: list[tuple[str | dict[str, Any], str]] = [
    ("{", "$: this is not JSON"),
    ("null", "$: expected a message"),
    ("[]", "$: expected a message"),
    ('{"data":{}}', "$: expected a message"),
    ({"type": "operation:finish"}, '$.type: unknown type "operation:finish"'),
    ({"type": "constructor"}, '$.type: unknown type "constructor"'),
    ({**PROGRESS, "data": None}, "$.data: expected an object"),
    ({**PROGRESS, "data": {"operation_id": "o"}}, "$.data.progress: missing"),
    ({**PROGRESS, "data": {"operation_id": "o", "progress": 1, "total_steps": 0}}, "$.data.current_step: missing"),
    ({**PROGRESS, "position": 5}, "$.position: expected a string"),
    ({**PROGRESS, "data": {**FINE, "progress": 101}}, "$.data.progress: too large"),
    ({**PROGRESS, "data": {**FINE, "progress": -0.1}}, "$.data.progress: too small"),
    ({**PROGRESS, "data": {**FINE, "progress": "5"}}, "$.data.progress: expected a number"),
    ({**PROGRESS, "data": {**FINE, "total_steps": 1.5}}, "$.data.total_steps: expected a whole number"),
    ({**PROGRESS, "data": {**FINE, "message": 5}}, "$.data.message: expected a string"),
    ({**PROGRESS, "data": {**FINE, "indeterminate": 1}}, "$.data.indeterminate: expected true or false"),
    ({**PROGRESS, "channel": "data"}, '$.channel: expected one of "operations", "global"'),
    ({**PROGRESS, "timestamp": "noon"}, "$.timestamp: expected a date-time"),
    ({**PROGRESS, "timestamp": None}, "$.timestamp: expected a string"),
    ({**PROGRESS, "trace_id": "t" * 129}, "$.trace_id: longer than 128"),
    (
        {**PROGRESS, "type": "connection:pong", "data": {"now": "2025-07-30T12:00:00Z"}},
        "$.type: connection:pong is not an event",
    ),
]


def test_fault_has_its_path(everyone: Reader) -> None:
    told = everyone.faults(*(text if isinstance(text, str) else json.dumps(text) for text, _ in FAULTS))
    assert told == [fault for _, fault in FAULTS]


def test_old_names_are_marked_as_deprecated() -> None:
    text = export_typescript(Contract())
    for old in (*LEGACY_TYPES, "operation:start"):
        assert f'"{old}"' in text
    assert "@deprecated Renamed to OPERATION_START. */\n  PIPELINE_START: " in text
    assert "@deprecated Renamed to operation:failed." in text


def test_equal_contracts_are_exported_alike() -> None:
    assert export_typescript(ODD) == export_typescript(Contract() | ODD)


def test_text_cannot_end_a_comment() -> None:
    assert format_comment("a */ b\n c") == "/** a *\\/ b c */\n"
    assert format_comment("") == ""
    assert (
        format_comment("a", "b", deprecated="Use c.", indent="  ")
        == "  /**\n   * a\n   *\n   * b\n   *\n   * @deprecated Use c.\n   */\n"
    )


@pytest.mark.parametrize(
    ("name", "written"),
    [("plain", "plain"), ("with-dash", '"with-dash"'), ('"', '"\\""'), ("__proto__", '["__proto__"]'), ("1a", '"1a"')],
)
def test_names_are_quoted_if_necessary(name: str, written: str) -> None:
    assert format_property_name(name) == written


def test_constants_have_the_type_of_their_values() -> None:
    assert format_const("Side", "Which way.", {"BUY": ("buy", ""), "HOLD": ("hold", "@deprecated Do not.")}) == (
        "/** Which way. */\n"
        "export const Side = {\n"
        '  BUY: "buy",\n'
        "  /** @deprecated Do not. */\n"
        '  HOLD: "hold",\n'
        "} as const;\n"
        "export type Side = (typeof Side)[keyof typeof Side];\n"
    )
