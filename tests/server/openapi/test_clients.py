"""Clients that generators make from the hub's documents: each is compiled, publishes an event, and reads it back."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.contract.export.odd_contract import NAMES, ODD
from tests.contract.export.toolchains import NODE_FOLDER, STRICTEST, Go, Node, PythonTool
from tests.server.hub_server import TIMEOUT_S, HubServer

from tidings.contract.contract import Contract
from tidings.contract.export.asyncapi import export_asyncapi
from tidings.server.openapi.document import openapi_document

pytestmark = pytest.mark.timeout(900)  # a first run installs the generators, and compiles Go's

GO_CLIENT = Path(__file__).parents[2] / "go" / "openapi"
IN_BROWSERS = {**STRICTEST, "lib": ["es2022", "dom"]}
"""The client's code uses `fetch`."""
OF_MODELINA = {
    **{"strict": True, "target": "es2022", "lib": ["es2022", "dom"], "types": []},
    **{"module": "commonjs", "moduleResolution": "node10", "ignoreDeprecations": "6.0"},
}
"""Its models are not written for stricter options, and import each other without file endings."""
CONTRACTS = {"everyone": Contract(), "odd": ODD, "names": NAMES}
PYTHON_CLIENT = """\
import json
import sys

from generated import Client
from generated.api.events import publish, read_history
from generated.api.operations import show_operation
from generated.models import (
    Accepted,
    ErrorData,
    History,
    OperationDetail,
    OperationStartData,
    OperationStartEvent,
    PublishOperationStart,
    PublishOperationStartType,
)

client = Client(base_url=sys.argv[1])
start = PublishOperationStart(
    type_=PublishOperationStartType.OPERATIONSTART,
    data=OperationStartData(operation_id="from-python", name="a client"),
)
accepted = publish.sync(client=client, body=start)
assert isinstance(accepted, Accepted), accepted
history = read_history.sync(client=client, channel=["operations"])
assert isinstance(history, History), history
names = [event.data.name for event in history.events if isinstance(event, OperationStartEvent)]
operation = show_operation.sync("from-python", client=client)
assert isinstance(operation, OperationDetail), operation
missing = show_operation.sync("nosuch", client=client)
assert isinstance(missing, ErrorData), missing
found = {"position": accepted.position, "refused": missing.code, "names": names, "state": operation.state.value}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def node() -> Node:
    found = Node()
    found.install()
    return found


@pytest.fixture(scope="module")
def go() -> Go:
    return Go()


@pytest.fixture(scope="module")
def python_generator() -> PythonTool:
    found = PythonTool("openapi-python-client", "openapi-python-client==0.29.1")
    found.install()
    return found


def document(folder: Path, contract: Contract | None = None) -> Path:
    """Write the OpenAPI document of a hub, and return its path."""
    found = folder / "openapi.json"
    found.write_bytes(openapi_document(contract or Contract()).body)
    return found


def assert_published(server: HubServer, found: dict[str, Any], refused: str) -> None:
    """Check the findings of a client: its event, read back over HTTP, and the operation that the event began."""
    position = str(server.call(lambda: server.log.position(server.log.head)))
    assert found == {"position": position, "refused": refused, "names": ["a client"], "state": "running"}


def test_linter_finds_no_fault(node: Node, tmp_path: Path) -> None:
    files = []
    for name, contract in CONTRACTS.items():
        (tmp_path / name).mkdir()
        files.append(document(tmp_path / name, contract))
    wrong = json.loads(files[0].read_text())
    wrong["paths"]["/healthz"]["get"]["operationId"] = "publish"
    wrong["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["examples"]["event"]["value"] = 5
    files.append(tmp_path / "wrong.json")
    files[-1].write_text(json.dumps(wrong))
    *fine, faults = json.loads(node.run(NODE_FOLDER / "spectral.mjs", *files).stdout)
    assert fine == [[], [], []]
    assert {fault.partition(":")[0] for fault in faults} == {"operation-operationId-unique", "oas3-valid-media-example"}


def test_typescript_client_publishes_and_reads(node: Node, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(NODE_FOLDER / "node_modules")
    generator = NODE_FOLDER / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
    node.run(generator, document(tmp_path), "--output", tmp_path / "api.d.ts")
    program = Path(shutil.copy(NODE_FOLDER / "openapi_client.ts", tmp_path))
    node.compile(tmp_path, program, options=IN_BROWSERS)
    with HubServer() as server:
        done = node.run(NODE_FOLDER / "run.mjs", tmp_path / "compiled" / "openapi_client.js", server.http)
        assert_published(server, json.loads(done.stdout), "invalid_payload")


def test_python_client_publishes_and_reads(python_generator: PythonTool, tmp_path: Path) -> None:
    options = ("--path", document(tmp_path), "--output-path", tmp_path / "generated", "--meta", "none")
    done = python_generator.run("openapi-python-client", "generate", *options, folder=tmp_path)
    warnings = [line for line in (done.stdout + done.stderr).splitlines() if "nsupported" in line or "WARNING" in line]
    assert warnings == [
        "WARNING parsing POST /v1/events within events.",
        "Unsupported content type application/x-ndjson",
    ]
    program = tmp_path / "client.py"
    program.write_text(PYTHON_CLIENT)
    checker = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(tmp_path / "m")]
    checker += ["--python-executable", str(python_generator.python), str(program)]
    subprocess.run(checker, cwd=tmp_path, check=True, timeout=200)
    with HubServer() as server:
        done = python_generator.run("python", program, server.http, folder=tmp_path)
        assert_published(server, json.loads(done.stdout), "operation_unknown")


@pytest.mark.parametrize("contract", [ODD, NAMES], ids=["odd", "names"])
def test_python_client_of_an_odd_contract_is_valid(
    contract: Contract, python_generator: PythonTool, tmp_path: Path
) -> None:
    options = ("--path", document(tmp_path, contract), "--output-path", tmp_path / "generated", "--meta", "none")
    python_generator.run("openapi-python-client", "generate", *options, folder=tmp_path)
    python_generator.run("python", "-c", "import generated.models, generated.api.events.publish", folder=tmp_path)


@pytest.fixture(scope="module")
def go_module(go: Go, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program, beside the client that it imports."""
    module = tmp_path_factory.mktemp("go") / "openapi"
    shutil.copytree(GO_CLIENT, module)
    (module / "api").mkdir()
    go.run("tool", "oapi-codegen", "-config", "oapi-codegen.json", str(document(module)), folder=module)
    return module


def test_go_client_publishes_and_reads(go: Go, go_module: Path) -> None:
    go.run("vet", "./...", folder=go_module)
    go.run("build", "-o", "client", ".", folder=go_module)
    with HubServer() as server:
        command = [str(go_module / "client"), server.http]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
        assert done.returncode == 0, done.stderr
        assert_published(server, json.loads(done.stdout), "operation_unknown")


@pytest.mark.parametrize("contract", [ODD, NAMES], ids=["odd", "names"])
def test_go_client_of_an_odd_contract_compiles(contract: Contract, go: Go, go_module: Path) -> None:
    api = document(go_module, contract)
    go.run("tool", "oapi-codegen", "-config", "oapi-codegen.json", str(api), folder=go_module)
    go.run("build", "./api", folder=go_module)


@pytest.mark.parametrize("name", ["everyone", "odd"])  # modelina leaves out letters that are not ASCII
def test_modelina_names_and_compiles_every_model(name: str, node: Node, tmp_path: Path) -> None:
    exported = tmp_path / "asyncapi.json"
    exported.write_text(export_asyncapi(CONTRACTS[name]))
    models = json.loads(node.run(NODE_FOLDER / "modelina.mjs", exported, tmp_path / "models").stdout)
    assert [model for model in models if model.startswith("Anonymous")] == []
    assert {"OperationStartEvent", "ChannelSubscribeCommand", "OperationCancelMessage", "SubscribedOutcome"} <= {
        *models
    }
    node.compile(tmp_path, *(tmp_path / "models" / f"{model}.ts" for model in models), options=OF_MODELINA)


def test_modelina_model_goes_over_a_websocket(node: Node, tmp_path: Path) -> None:
    exported = tmp_path / "asyncapi.json"
    exported.write_text(export_asyncapi(Contract()))
    node.run(NODE_FOLDER / "modelina.mjs", exported, tmp_path / "models")
    program = Path(shutil.copy(NODE_FOLDER / "modelina_client.ts", tmp_path))
    node.compile(tmp_path, program, options=OF_MODELINA)
    with HubServer() as server:
        done = node.run(NODE_FOLDER / "run.mjs", tmp_path / "compiled" / "modelina_client.js", server.ws)
        position = str(server.call(lambda: server.log.position(server.log.head)))
        assert json.loads(done.stdout) == {"position": position, "progress": 45.5}
