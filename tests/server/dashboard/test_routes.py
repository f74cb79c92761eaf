"""The dashboard as browsers, proxies and other pages get it, on both edges and mounted in an application."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.server.hub_server import HubServer
from tests.server.raw_client import RawClient

from tidings.exceptions import ConfigError
from tidings.log.memory import MemoryLog
from tidings.server.app import HubApp
from tidings.server.dashboard.bundle import PAGES
from tidings.server.dashboard.routes import PAGE_POLICY

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
PAGE = '<!doctype html><link rel="icon" href="./icon.svg"><script type="module" src="./assets/main-Dd3ID.js"></script>'
SCRIPT = "export const text = 'tidings';\n" * 100
FILES = {
    "index.html": PAGE,
    "assets/main-Dd3ID.js": SCRIPT,
    "icon.svg": "<svg/>",
    "elements.js": SCRIPT,
    "notes.txt~": "not a file of the web",
    ".secret.json": "{}",
}
APP_PAGE = "https://app.example.com"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "static"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder.parent / "outside.json").write_text("{}")
    return folder


@pytest.fixture(params=["native", "asgi"], scope="module")
def server(request: pytest.FixtureRequest, built: Path) -> Iterator[HubServer]:
    with HubServer(request.param, dashboard=built, allow_origins=[APP_PAGE]) as running:
        yield running


@pytest.fixture
def client(server: HubServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.http) as made:
        yield made


@pytest.mark.parametrize("path", ["/", *PAGES, "/operation?id=night%2F1"])
def test_page_is_served_at_each_of_its_addresses(client: httpx.Client, path: str) -> None:
    answer = client.get(path, headers=BROWSER)
    assert (answer.status_code, answer.text) == (200, PAGE)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == PAGE_POLICY
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-cache"
    assert client.head(path, headers=BROWSER).headers["etag"] == answer.headers["etag"]


def test_links_of_the_page_lead_to_its_files_from_each_address(client: httpx.Client) -> None:
    for path in ("/", *PAGES):
        for link in re.findall(r'(?:href|src)="([^"]*)"', PAGE):
            assert client.get(str(client.base_url.join(path).join(link))).status_code == 200


def test_program_gets_json_at_the_root(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.json()["name"] == "tidings"
    assert answer.headers["vary"] == "Accept"
    assert client.get("/", headers=BROWSER).headers["vary"] == "Accept, Accept-Encoding"


def test_asset_is_kept_for_a_year_and_other_files_are_asked_for(client: httpx.Client) -> None:
    asset, icon = client.get("/assets/main-Dd3ID.js"), client.get("/icon.svg")
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert asset.headers["content-type"] == "text/javascript; charset=utf-8"
    assert icon.headers["cache-control"] == "no-cache"
    assert icon.headers["content-type"] == "image/svg+xml"
    assert icon.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br", "gzip"),
        ("br;q=1.0, GZIP;q=0.5", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.000, *;q=1", None),
        ("br", None),
        ("", None),
    ],
)
def test_encoding_is_one_that_the_client_reads(client: httpx.Client, accepted: str, encoding: str | None) -> None:
    with client.stream("GET", "/assets/main-Dd3ID.js", headers={"Accept-Encoding": accepted}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers.get("content-encoding") == encoding
    assert (gzip.decompress(raw) if encoding else raw) == SCRIPT.encode()
    assert int(answer.headers["content-length"]) == len(raw)
    assert "Accept-Encoding" in answer.headers["vary"]


def test_unchanged_file_is_not_sent_again(client: httpx.Client) -> None:
    for path in ("/", "/names", "/assets/main-Dd3ID.js", "/elements.js"):
        tags = set()
        for encoding in ("gzip", "identity"):
            headers = {**BROWSER, "Accept-Encoding": encoding}
            tag = client.get(path, headers=headers).headers["etag"]
            for known in (tag, f'"other", W/{tag}', "*"):
                again = client.get(path, headers={**headers, "If-None-Match": known})
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["etag"] == tag
            assert client.get(path, headers={**headers, "If-None-Match": '"other"'}).status_code == 200
            tags.add(tag)
        assert len(tags) == (2 if path.endswith(".js") else 1), "the small page is not compressed"


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",
        "/notes.txt~",
        "/.secret.json",
        "/static/index.html",
        "/assets/",
        "/assets",
        "/assets/../../outside.json",
        "/assets/..%2f..%2foutside.json",
        "/%2e%2e/outside.json",
        "/assets/%00",
        "/names/",
        "//names",
    ],
)
def test_nothing_but_files_of_the_bundle_is_reachable(server: HubServer, path: str) -> None:
    with RawClient(server.port) as raw:  # other clients normalise paths
        raw.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        received = raw.socket.makefile("rb").read()
    assert received.startswith(b"HTTP/1.1 404 "), received


def test_other_methods_are_refused(client: httpx.Client) -> None:
    for path in ("/names", "/assets/main-Dd3ID.js"):
        answer = client.post(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


FOREIGN = [
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"},
    {"Origin": APP_PAGE, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
]


@pytest.mark.parametrize("fields", FOREIGN, ids=lambda fields: fields.get("Origin", "no-cors"))
def test_elements_are_for_pages_of_every_origin(client: httpx.Client, fields: dict[str, str]) -> None:
    answer = client.get("/elements.js", headers=fields)
    assert answer.status_code == 200
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert client.head("/elements.js", headers=fields).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/names", "/assets/main-Dd3ID.js", "/elements.js/", "/elements.jsx", "/v1/events"]
)
def test_no_other_path_is_for_foreign_pages(client: httpx.Client, path: str) -> None:
    for fields in FOREIGN:
        if fields.get("Origin") != APP_PAGE:
            answer = client.get(path, headers=fields)
            assert (answer.status_code, answer.json()["code"]) == (403, "origin_refused")
    assert client.get("/", headers=BROWSER).headers["cross-origin-resource-policy"] == "same-origin"


def test_elements_need_a_known_host_and_a_method_that_reads(client: httpx.Client) -> None:
    assert client.get("/elements.js", headers={**FOREIGN[0], "Host": "evil.example"}).status_code == 403
    assert client.post("/elements.js", headers=FOREIGN[0]).status_code == 403


@pytest.mark.parametrize("edge", ["native", "asgi"])
def test_pages_below_a_prefix_of_a_proxy(built: Path, edge: Any) -> None:
    with (
        HubServer(edge, dashboard=built, root_path="/tidings", trusted_proxies=["127.0.0.1"]) as server,
        httpx.Client(base_url=server.http) as client,
    ):
        for prefix in ("", "/tidings"):
            for path in ("/", "/names", "/assets/main-Dd3ID.js"):
                assert client.get(prefix + path, headers=BROWSER).status_code == 200
            assert client.get(f"{prefix}/elements.js", headers=FOREIGN[0]).status_code == 200
        named = {**FOREIGN[0], "X-Forwarded-Prefix": "/other"}
        assert client.get("/other/elements.js", headers=named).status_code == 200
        # The page's links are relative, so that the folder must end with a slash.
        assert client.get("/tidings", headers=BROWSER).headers["location"] == "/tidings/"


async def test_pages_mounted_in_an_application(built: Path) -> None:
    hub = HubApp(lambda scheduler: MemoryLog("e", None), check_host=False, dashboard=built)
    app = FastAPI(lifespan=hub.lifespan)
    app.mount("/inside/tidings", hub)
    async with hub.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://h") as client:
        for path in ("/", "/operation?id=a", "/assets/main-Dd3ID.js", "/elements.js"):
            answer = await client.get(f"/inside/tidings{path}", headers=BROWSER)
            assert answer.status_code == 200, path
        page = await client.get("/inside/tidings", headers=BROWSER)
        assert page.url.join(page.headers["location"]).path == "/inside/tidings/"
        assert (await client.get("/inside/tidings/elements.js", headers=FOREIGN[0])).status_code == 200
        assert (await client.get("/inside/tidings/v1/events", headers=FOREIGN[0])).status_code == 403


def test_hub_without_a_build_shows_its_own_page(tmp_path: Path) -> None:
    with HubServer(dashboard=tmp_path / "missing") as server, httpx.Client(base_url=server.http) as client:
        assert f"tidings watch --url {server.ws}" in client.get("/", headers=BROWSER).text
        assert client.get("/names", headers=BROWSER).status_code == 404


def test_root_path_of_a_page_is_refused() -> None:
    with pytest.raises(ConfigError, match="the hub has the route /events"):
        HubApp(lambda scheduler: MemoryLog("e", None), root_path="/events")


def test_websocket_at_the_path_of_a_page_stays_a_websocket(built: Path) -> None:
    with (
        HubServer(dashboard=built, ws_path="/events") as server,
        httpx.Client(base_url=server.http) as client,
    ):
        assert client.get("/events").status_code == 426
        assert client.get("/names").status_code == 200
