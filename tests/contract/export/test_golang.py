"""The exported file, checked by Go's own tools, and used by a Go program that reads a real hub's WebSocket."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.contract.envelopes import read
from tests.contract.export.odd_contract import GOOD, NAMES, ODD, message
from tests.contract.export.test_document import SHOP
from tests.contract.export.toolchains import Go
from tests.contract.export.whole_client import ACCESS, TOKEN, WHOLE_CLIENT
from tests.server.hub_server import TIMEOUT_S, HubServer, Stream, update

from tidings.access.control import AccessOptions
from tidings.contract.contract import Contract
from tidings.contract.event_types import event
from tidings.contract.export.examples import build_example
from tidings.contract.export.golang import export_go, to_field_name
from tidings.contract.export.model import build_model
from tidings.contract.loading import build_contract
from tidings.exceptions import ConfigError, InvalidContract, NotPublishable

pytestmark = pytest.mark.timeout(900)  # Go compiles its library for the first test that needs it

PROGRAM = Path(__file__).parents[2] / "go" / "reader"
CONTRACTS = {"everyone": Contract(), "shop": SHOP, "odd": ODD, "names": NAMES}
CORPUS = Path(__file__).parents[1]
VECTORS = [vector["wire"] for vector in json.loads((CORPUS / "vectors" / "go-encoding-json.json").read_text())]
REVISIONS = [
    line for path in sorted((CORPUS / "revisions").glob("2*.ndjson")) for line in path.read_text().splitlines()
]


@pytest.fixture(scope="module")
def readers(go: Go, folder: Path) -> dict[str, Path]:
    """A program for each contract, whose export `go vet` and `gofmt` accept."""
    programs = {}
    for name, contract in CONTRACTS.items():
        module = folder / f"go-{name}"
        shutil.copytree(PROGRAM, module)
        (module / "go.mod").write_text("module example.test/reader\n\ngo 1.22\n")
        (module / "tidings").mkdir()
        (module / "tidings" / "tidings.go").write_text(export_go(contract))
        assert go.unformatted(module) == ""
        go.run("vet", "./...", folder=module)
        go.run("build", "-o", "reader", ".", folder=module)
        programs[name] = module / "reader"
    return programs


def decode(program: Path, lines: Iterable[str]) -> list[dict[str, Any]]:
    done = subprocess.run(
        [program, "decode"], input="\n".join(lines), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


def faults(found: list[dict[str, Any]]) -> list[str]:
    return [each["fault"] for each in found if "fault" in each]


def assert_same(written: Any, wire: Any, place: str = "$") -> None:
    """Check that Go wrote all members, and added only empty ones."""
    if isinstance(wire, dict) and isinstance(written, dict):
        for name, value in wire.items():
            assert_same(written.get(name), value, f"{place}.{name}")
        more = {name: value for name, value in written.items() if name not in wire}
        assert [name for name, value in more.items() if value not in (None, "", 0, False, [], {})] == [], place
    elif isinstance(wire, list) and isinstance(written, list):
        assert len(written) == len(wire), place
        for index, (one, other) in enumerate(zip(written, wire, strict=True)):
            assert_same(one, other, f"{place}[{index}]")
    else:
        assert written == wire or wire in (None, "", [], {}), place


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_message_is_read_and_written_unchanged(name: str, readers: dict[str, Path]) -> None:
    contract = CONTRACTS[name]
    model = build_model(contract)
    examples = [build_example(contract, model, each) for each in model.messages]
    found = decode(readers[name], map(json.dumps, examples))
    assert faults(found) == []
    for of_model, example, each in zip(model.messages, examples, found, strict=True):
        assert each["type"] == example["type"]
        assert_same(each["again"], example)
        if of_model in model.hub_messages:
            continue
        with contextlib.suppress(NotPublishable):
            read(json.dumps(each["again"]), contract=contract)


def test_messages_of_a_go_peer_are_read(readers: dict[str, Path]) -> None:
    found = decode(readers["everyone"], VECTORS)
    assert faults(found) == []
    for wire, each in zip(VECTORS, found, strict=True):
        assert_same(each["again"]["data"], json.loads(wire)["data"])


def test_messages_of_each_revision_are_read(readers: dict[str, Path]) -> None:
    """One event of the corpus has an undeclared member, which a strict reader rejects."""
    found = decode(readers["everyone"], REVISIONS)
    strange = [line for line in REVISIONS if '"mine"' in line]
    assert faults(found) == [f'{json.loads(line)["type"]}: json: unknown field "mine"' for line in strange]
    assert strange


def test_own_events_are_read(readers: dict[str, Path]) -> None:
    found = decode(readers["odd"], map(message, GOOD))
    assert faults(found) == []
    for data, each in zip(GOOD, found, strict=True):
        again = read(json.dumps(each["again"]), contract=ODD)
        assert again.key == data["thing_id"]
        assert_same(each["again"]["data"], {**data, "at": each["again"]["data"]["at"]})


class Watching:
    """The Go program, on a plain connection to a hub."""

    def __init__(self, program: Path, server: HubServer, query: str = "") -> None:
        self._process = subprocess.Popen(
            [program, "watch", f"127.0.0.1:{server.port}", f"/ws{query}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        server.wait(lambda: server.connections() == 1)

    def send(self, *messages: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.writelines(json.dumps(message) + "\n" for message in messages)
        self._process.stdin.flush()

    def finished(self) -> list[dict[str, Any]]:
        """Return the messages that it read until the hub closed the connection."""
        try:
            stdout, stderr = self._process.communicate(timeout=TIMEOUT_S)
        finally:
            self._process.kill()
        assert stderr == ""
        return [json.loads(line) for line in stdout.splitlines()]


def publications(contract: Contract) -> list[dict[str, Any]]:
    """Return one event of each publishable type, with an operation of its own, so that none has ended before."""
    model = build_model(contract)
    events = [build_example(contract, model, each) for each in model.events if each.publishable]
    for each in events:
        if "operation_id" in each["data"]:
            each["data"]["operation_id"] = each["type"]
    return events


def test_strict_reader_accepts_all_messages_of_a_plain_connection(
    readers: dict[str, Path],
) -> None:
    events = publications(SHOP)
    with HubServer(contract=SHOP, config={"status_s": 0.05, "metrics_s": 0.05}) as server:
        watching = Watching(readers["shop"], server)
        server.publish(*events)
        failed = {"operation_id": "old", "code": "c", "message": "m", "recoverable": False}
        watching.send({"type": "operation:finish"}, {"type": "operation:error", "data": failed})
        with Stream(server.port, "?since=first") as stream:
            awaited = {"system:status", "system:metrics", "old"}
            while awaited:
                said = stream.message()
                awaited -= {said["type"], said["data"].get("operation_id")}
    found = watching.finished()
    assert faults(found) == []
    types = [each["type"] for each in found]
    assert types[0] == "connection:established"
    assert types[-1] == "connection:closed"
    assert set(types) >= {published["type"] for published in events}
    assert {"connection:error", "connection:notice", "system:status", "system:metrics"} <= set(types)
    by_type = {each["type"]: each for each in found}
    assert by_type["operation:progress"]["go"] == "*tidings.OperationProgressData"
    for published in events:
        if not published["type"].startswith("system:"):  # the hub writes some of these itself
            told = next(each for each in found if each["type"] == published["type"])
            assert_same(told["again"]["data"], published["data"])


@pytest.mark.parametrize("access", ACCESS)
def test_whole_client_needs_only_the_export(readers: dict[str, Path], access: AccessOptions | None) -> None:
    """A producer that attaches, publishes, resumes and answers a cancel, and a watcher that cancels."""
    with HubServer(access=access) as server:
        command = [str(readers["everyone"]), "act", f"127.0.0.1:{server.port}", TOKEN]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.stderr == ""
    assert json.loads(done.stdout) == {**WHOLE_CLIENT, "refused": "unknown_type"}


def test_gap_after_an_unknown_position_is_read(readers: dict[str, Path]) -> None:
    with HubServer() as server:
        server.publish(update("d"))
        watching = Watching(readers["everyone"], server, "?since=0badc0de:7")
        server.publish(update("last"))
    found = watching.finished()
    assert faults(found) == []
    (gap,) = (each for each in found if each["type"] == "channel:gap")
    assert gap["go"] == "*tidings.Gap"
    assert gap["again"]["data"]["after"] == "0badc0de:7"


def test_old_names_are_marked_as_deprecated() -> None:
    text = export_go(Contract())
    assert "\t// Deprecated: use MessageTypeOperationStart.\n\tMessageTypePipelineStart = MessageType" in text
    assert '\tMessageTypeOperationError MessageType = "operation:error"\n' in text


def test_linter_finds_no_fault(go: Go, tmp_path: Path) -> None:
    shutil.copytree(PROGRAM.parent / "openapi", tmp_path / "module")
    for name, contract in CONTRACTS.items():
        (tmp_path / "module" / name).mkdir()
        (tmp_path / "module" / name / "tidings.go").write_text(export_go(contract))
    folders = [f"./{name}" for name in CONTRACTS]
    # ST1000 and the others of its kind are about comments and names, and are off by default.
    go.run("tool", "staticcheck", "-checks", "all", *folders, folder=tmp_path / "module")


def test_types_do_not_repeat_the_package_or_their_owner() -> None:
    text = export_go(SHOP, package="trade")
    assert "\ntype ExecutedData struct {" in text
    assert "\ntype PriceData struct {" in text
    assert "\ntype VerdictValue string\n" in text
    assert "\tVerdictHeld     VerdictValue = " in text
    assert "VerdictVerdict" not in text
    assert "\ntype TradeExecutedData struct {" in export_go(SHOP)


def test_every_constant_type_and_function_has_a_comment() -> None:
    lines = export_go(ODD).splitlines()
    for before, line in pairwise(lines):
        if line.startswith(("type ", "func ", "const ")):
            assert before.startswith("// "), line


def test_package_has_the_given_name() -> None:
    assert "\npackage events\n" in export_go(Contract(), package="events")
    for wrong in ("", "Events", "my-events", "func", "1st"):
        with pytest.raises(ConfigError):
            export_go(Contract(), package=wrong)


def test_equal_contracts_are_exported_alike() -> None:
    assert export_go(ODD) == export_go(Contract() | ODD)


def test_own_struct_of_a_catalogue_name_has_no_original_names() -> None:
    own = {
        "type": "shop:status",
        "channel": "data",
        "name": "SystemStatusData",
        "fields": {"active_operations": "integer"},
    }
    contract = Contract(build_contract({"events": [own]}, "here").own)
    assert 'ActiveOperations int64 `json:"active_operations"`' in export_go(contract)


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("operation_id", "OperationID"),
        ("url", "URL"),
        ("duration_ms", "DurationMs"),
        ("camelCase", "CamelCase"),
        ("1st", "N1st"),
        ("é", "É"),
        ("straße_2", "Straße2"),
        ("名前", "N名前"),
        ("m²", "M"),
        ("²", "N"),
    ],
)
def test_fields_have_go_names(name: str, field: str) -> None:
    assert to_field_name(name) == field


def test_member_without_a_go_tag_is_rejected() -> None:
    payload = msgspec.defstruct("Quoted", [("name", str, msgspec.field(name="a,b"))])
    with pytest.raises(InvalidContract, match="has no tag for this name"):
        export_go(Contract.of(event("a:b", payload, channel="data")))
