import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator
from msgspec import structs
from tests.access.token_table import TokenTable
from tests.contract.export.odd_contract import ODD
from tests.server.hub_server import HubServer, Stream

from tidings.contract.contract import Contract
from tidings.contract.event_types import event
from tidings.hub.clock import SystemClock
from tidings.protocol.codes import CODES
from tidings.server.openapi.document import openapi_document

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    with HubServer() as server:
        found: dict[str, Any] = httpx.get(f"{server.http}/openapi.json").json()
    return found


@pytest.mark.timeout(480)  # about 10 s on an idle core, mostly in schemathesis itself
@pytest.mark.parametrize("token", [None, "", "reader", "root"], ids=["open hub", "no token", "reader", "admin"])
def test_responses_match_the_openapi_document(tmp_path: Path, token: str | None) -> None:
    """All checks of schemathesis, with valid and invalid requests; the endless stream is left out.

    An administrator's requests reach all of the code, so they alone try every bound of every parameter (4,000
    requests); the others show what authentication and grants change.
    """
    tokens = TokenTable(SystemClock().wall_ns)
    tokens.add("reader", "read operations/op-*", "publish data")
    tokens.add("root", "admin")
    # Schemathesis sends many invalid credentials, to check that they are refused.
    access = None if token is None else structs.replace(tokens.options, max_failures=0)
    with HubServer("native", config={"status_s": 1.0}, access=access) as server:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"{server.http}/openapi.json",
                "--exclude-path=/v1/stream",
                "--exclude-path=/v1/admin/audit",
                "--checks=all",
                f"--phases={'coverage,' if token == 'root' else ''}fuzzing",
                "--max-examples=10",
                "--max-failures=3",
                "--request-timeout=60",
                "--max-response-time=50",  # a cancel without a body waits 10 s, and other tests run beside this one
                "--generation-deterministic",
                "--suppress-health-check=too_slow",  # how long an example takes depends on the machine's load
                "--no-color",
                *([f"--header=Authorization: Bearer {token}"] if token else []),
                # It sends the header of the command line in place of the one that it leaves out.
                *(["--exclude-checks=missing_required_header"] if token else []),
                # With few grants, a request that is valid otherwise is refused for other reasons, too.
                *(["--exclude-checks=missing_required_header,positive_data_acceptance"] if token == "reader" else []),
            ],
            cwd=tmp_path,  # it writes its findings there
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.server.openapi_hooks", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=460,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "27 passed" in done.stdout, done.stdout[-2000:]
        if token != "":
            assert server.call(lambda: server.app.hub.counters.accepted) > 10, "most requests were refused"


def test_stream_response_matches_the_document(document: dict[str, Any]) -> None:
    described = document["paths"]["/v1/stream"]["get"]["responses"]
    with HubServer() as server:
        with Stream(server.port) as stream:
            assert stream.response.headers["content-type"] in described["200"]["content"]
        for query in ("?pace_ms=soon", "?since=nope"):
            answer = httpx.get(f"{server.http}/v1/stream{query}")
            assert answer.headers["content-type"] in described[str(answer.status_code)]["content"]


def test_document_has_all_events_of_the_contract(document: dict[str, Any]) -> None:
    contract = Contract()
    schemas = document["components"]["schemas"]
    published = [schemas[option["$ref"].rpartition("/")[2]] for option in schemas["Publication"]["oneOf"]]
    types = {name for schema in published for name in schema["properties"]["type"]["enum"]}
    publishable = {str(event.type) for event in contract.events.values() if event.publishable}
    assert types == publishable | {"operation:error"}
    assert contract.identity.hash in document["info"]["description"]


def test_every_reference_has_a_target_and_every_schema_a_use(document: dict[str, Any]) -> None:
    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            own |= set(part["mapping"].values()) if "propertyName" in part else set()
            return own.union(*(references(value) for value in part.values()))
        return set().union(*(references(value) for value in part)) if isinstance(part, list) else set()

    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) == schemas, "unknown or unused schemas"


def walk(part: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of a document, with its path."""
    if isinstance(part, dict):
        yield path, part
    for name, value in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        yield from walk(value, f"{path}/{name}")


@pytest.mark.parametrize("contract", [Contract(), ODD], ids=["everyone", "odd"])
def test_values_have_types_and_numbers_formats(contract: Contract) -> None:
    found = json.loads(openapi_document(contract).body)
    for path, schema in walk(found):
        assert schema.get("const") is not True, path
        assert "default" not in schema or "/parameters/" in path, path
        if isinstance(schema.get("enum"), list) and not path.endswith("/not"):
            assert schema["type"] in ("string", "integer"), path
        if schema.get("type") in ("number", "integer") and "/parameters/" not in path:
            assert schema["format"] in ("double", "int64", "int32"), path
        if schema.get("type") == "array":
            assert isinstance(schema["items"], dict), path
            assert schema["items"], path


def test_times_are_date_times(document: dict[str, Any]) -> None:
    times = 0
    for path, schema in walk(document["components"]["schemas"]):
        for name, of_field in schema.get("properties", {}).items():
            if name in ("at", "now", "timestamp") or name.endswith("_at"):
                options = of_field.get("anyOf", [of_field])
                published = path == "/ReportReadyData"  # a publisher's text, which the hub does not check
                assert published or options[0]["format"] == "date-time", f"{path}/{name}"
                times += 1
    assert times > 20


@pytest.mark.parametrize("since", [f"2025-0{month}-{day:02}T00:00:00Z" for month in (3, 4) for day in range(1, 31)])
def test_since_may_be_any_day_of_a_month(document: dict[str, Any], since: str) -> None:
    parameters = document["paths"]["/v1/operations"]["get"]["parameters"]
    (schema,) = (each["schema"] for each in parameters if each["name"] == "since")
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(since)


def test_every_route_has_an_id_a_tag_and_described_parameters(document: dict[str, Any]) -> None:
    routes = [route for path in document["paths"].values() for route in path.values()]
    ids = [route["operationId"] for route in routes]
    assert len(set(ids)) == len(ids) == len(routes)
    assert {tag for route in routes for tag in route["tags"]} == {tag["name"] for tag in document["tags"]}
    assert all(parameter["description"] for route in routes for parameter in route.get("parameters", ()))
    stream = {each["name"] for each in document["paths"]["/v1/stream"]["get"]["parameters"]}
    assert stream == {"channel", "channels", "since", "contract", "pace_ms", "Last-Event-ID"}


def test_errors_have_their_codes_and_a_valid_example(document: dict[str, Any]) -> None:
    schema = {**document["components"]["schemas"]["ErrorData"]}
    for path in document["paths"].values():
        for route in path.values():
            for status, answer in route["responses"].items():
                if int(status) >= 400:
                    content = answer["content"]["application/json"]
                    assert content["schema"]["$ref"].endswith("/ErrorData")
                    Draft202012Validator(schema).validate(content["example"])
                    assert CODES[content["example"]["code"]].http == int(status)


def test_fields_that_the_hub_fills_in_are_required_only_when_read(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {"current_step", "total_steps"} <= set(schemas["OperationProgressData"]["required"])
    assert schemas["OperationProgressInput"]["required"] == ["operation_id", "progress"]
    assert schemas["OperationProgressData"]["properties"]["current_step"] == {"type": "string"}
    assert schemas["OperationProgressInput"]["properties"]["current_step"]["anyOf"][-1] == {"type": "null"}


def test_every_optional_field_of_a_publication_may_be_null(document: dict[str, Any]) -> None:
    start = document["components"]["schemas"]["OperationStartData"]
    for name, schema in start["properties"].items():
        assert (name in start["required"]) is not ({"type": "null"} in schema.get("anyOf", ())), name


def test_own_structs_keep_the_names_of_the_hub() -> None:
    history = msgspec.defstruct("History", [("events", int)])
    own = Contract.of(event("shop:history", history, channel="data"))
    schemas = json.loads(openapi_document(own).body)["components"]["schemas"]
    assert schemas["History"]["properties"].keys() >= {"events", "next", "position"}
    assert schemas["ShopHistoryEvent"]["properties"]["data"] == {"$ref": "#/components/schemas/History2"}
    assert schemas["History2"]["properties"]["events"]["type"] == "integer"


def test_lenient_hub_describes_events_of_undeclared_types() -> None:
    lenient = json.loads(openapi_document(Contract(lenient=True)).body)["components"]["schemas"]
    assert {"$ref": "#/components/schemas/UndeclaredEvent"} in lenient["Event"]["oneOf"]


def test_equal_contracts_have_equal_documents() -> None:
    assert openapi_document(Contract()) == openapi_document(Contract())


def test_hub_with_authentication_describes_which_routes_ask_for_a_credential() -> None:
    document = json.loads(openapi_document(Contract(), identifies=True).body)
    security = {
        route["operationId"]: [name for option in route["security"] for name in option]
        for path in document["paths"].values()
        for route in path.values()
    }
    open_to_all = {name for name, options in security.items() if not options}
    assert open_to_all >= {"isAlive", "isReady", "readIndex", "readOpenAPI", "readContract", "readContractPage"}
    assert security["stream"] == ["bearer", "ticket"]
    assert all(security[name] == ["bearer"] for name in ("publish", "listOperations", "readMetrics", "revoke"))
    assert document["components"]["securitySchemes"].keys() == {"bearer", "ticket"}
