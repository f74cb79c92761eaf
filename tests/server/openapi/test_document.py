import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.server.hub_server import HubServer, Stream

from tidings.contract.contract import Contract
from tidings.server.openapi.document import openapi_document

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    with HubServer() as server:
        found: dict[str, Any] = httpx.get(f"{server.http}/openapi.json").json()
    return found


@pytest.mark.timeout(120)  # about 15 s on an idle core, mostly in schemathesis itself
def test_responses_match_the_openapi_document(tmp_path: Path) -> None:
    """All checks of schemathesis, with valid and invalid requests; the endless stream is left out."""
    with HubServer("native", config={"status_s": 1.0}) as server:
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"{server.http}/openapi.json",
                "--exclude-path=/v1/stream",
                "--checks=all",
                "--phases=coverage,fuzzing",
                "--max-examples=10",
                "--max-failures=3",
                "--request-timeout=5",
                "--generation-deterministic",
                "--no-color",
            ],
            cwd=tmp_path,  # it writes its findings there
            env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.server.openapi_hooks", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "18 passed" in done.stdout, done.stdout[-2000:]
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
    published = [schemas[option["$ref"].rpartition("/")[2]] for option in schemas["Publication"]["anyOf"]]
    types = {name for schema in published for name in schema["properties"]["type"]["enum"]}
    publishable = {str(event.type) for event in contract.events.values() if event.publishable}
    assert types == publishable | {"operation:error"}
    assert contract.identity.hash in document["info"]["description"]


def test_references_have_targets(document: dict[str, Any]) -> None:
    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*(references(value) for value in part.values()))
        return set().union(*(references(value) for value in part)) if isinstance(part, list) else set()

    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= schemas


def test_equal_contracts_have_equal_documents() -> None:
    assert openapi_document(Contract()) == openapi_document(Contract())
