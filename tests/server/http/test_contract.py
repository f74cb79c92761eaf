"""The contract's documents, fetched from a served hub."""

import json
from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.contract.export.test_document import SHOP
from tests.server.hub_server import HubServer

from tidings.contract.contract import Contract
from tidings.contract.export.document import build_contract_document
from tidings.contract.export.formats import FORMATS
from tidings.contract.loading import read_contract
from tidings.server.embedding import embedded_hub
from tidings.server.http.contract import DOCUMENTS

MEDIA_TYPES = {
    "/v1/contract.json": "application/json",
    "/v1/contract.schema.json": "application/schema+json",
    "/asyncapi.json": "application/vnd.aai.asyncapi+json;version=3.0.0",
    "/v1/contract.ts": "text/plain; charset=utf-8",
    "/v1/contract.go": "text/plain; charset=utf-8",
    "/docs": "text/html; charset=utf-8",
}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with HubServer(contract=SHOP) as server, httpx.Client(base_url=server.http) as client:
        yield client


def test_contract_has_a_route_per_format() -> None:
    assert {format.name for format in DOCUMENTS.values()} == set(FORMATS)


@pytest.mark.parametrize("path", MEDIA_TYPES)
def test_document_has_its_media_type(path: str, client: httpx.Client) -> None:
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == MEDIA_TYPES[path]
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "trade:executed" in answer.text


@pytest.mark.parametrize("path", DOCUMENTS)
def test_document_equals_the_command_lines_output(path: str, client: httpx.Client) -> None:
    exported = DOCUMENTS[path].render(SHOP)
    served = client.get(path).text
    if path == "/asyncapi.json":  # contains the address of this hub
        served = served.replace(f"127.0.0.1:{client.base_url.port}", "127.0.0.1:8765")
    assert served == exported


@pytest.mark.parametrize("path", MEDIA_TYPES)
def test_matching_etag_is_answered_with_304(path: str, client: httpx.Client) -> None:
    first = client.get(path)
    tag = first.headers["etag"]
    assert tag == f'"{tag[1:-1]}"'
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get(path, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        assert again.headers["cache-control"] == "no-cache"
    for other in ('"other"', tag.strip('"'), ""):
        assert client.get(path, headers={"If-None-Match": other}).content == first.content
    head = client.head(path)
    assert (head.content, head.headers["etag"]) == (b"", tag)
    assert head.headers["content-length"] == str(len(first.content))


def test_equal_contracts_have_equal_etags(client: httpx.Client) -> None:
    with HubServer(contract=Contract() | SHOP) as same, HubServer() as other:
        for path in ("/v1/contract.json", "/docs"):
            tag = client.get(path).headers["etag"]
            assert httpx.get(same.http + path).headers["etag"] == tag
            assert httpx.get(other.http + path).headers["etag"] != tag


def test_served_contract_loads_as_the_same_contract(client: httpx.Client) -> None:
    served = read_contract(client.get("/v1/contract.json").content, "served", form="json")
    assert served.identity == SHOP.identity
    assert build_contract_document(served)["events"] == build_contract_document(SHOP)["events"]


def test_asyncapi_has_the_requested_address(client: httpx.Client) -> None:
    def server(host: str) -> tuple[str, str]:
        document = client.get("/asyncapi.json", headers={"Host": host}).json()
        return document["servers"]["hub"]["host"], document["channels"]["events"]["address"]

    assert server("localhost:99") == ("localhost:99", "/ws")
    assert server("[::1]:8765") == ("[::1]:8765", "/ws")


async def test_asyncapi_of_a_mounted_hub_has_its_path_and_tls() -> None:
    hub = embedded_hub(contract=SHOP)
    app = Starlette(routes=[Mount("/tidings", hub)])
    transport = httpx.ASGITransport(app)
    async with hub.lifespan(), httpx.AsyncClient(transport=transport, base_url="https://app.example.com") as client:
        document = (await client.get("/tidings/asyncapi.json")).json()
        strange = await client.get("/tidings/asyncapi.json", headers={"Host": "a b<c>"})
        page = await client.get("/tidings/docs")
        for _ in range(3):
            for number in range(20):  # more hosts than the cache keeps
                answer = await client.get("/tidings/asyncapi.json", headers={"Host": f"h{number}"})
                assert answer.json()["servers"]["hub"]["host"] == f"h{number}"
    assert document["servers"]["hub"]["host"] == "app.example.com"
    assert document["servers"]["hub"]["protocol"] == "wss"
    assert document["channels"]["events"]["address"] == "/tidings/ws"
    assert (strange.status_code, strange.json()["code"]) == (400, "bad_request")
    assert "trade:executed" in page.text


def test_index_lists_the_documents(client: httpx.Client) -> None:
    named = set(client.get("/").json()["http"].values())
    assert {f"GET {path}" for path in MEDIA_TYPES} <= named


def test_hub_without_own_contract_serves_the_builtin_one() -> None:
    with HubServer() as server:
        document = httpx.get(f"{server.http}/v1/contract.json").json()
    assert document == json.loads(FORMATS["json"].render(Contract()))


def test_foreign_origin_may_not_read_the_contract(client: httpx.Client) -> None:
    assert client.get("/docs", headers={"Origin": "https://elsewhere.example"}).status_code == 403
    assert client.post("/docs").status_code == 405
