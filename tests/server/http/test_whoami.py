"""What a page learns before it has a credential, and with one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs
from tests.access.token_table import TokenTable
from tests.server.hub_server import NO_DASHBOARD, HubServer

from tidings.access.grants import Grants
from tidings.access.sign_in import SignInPages
from tidings.access.subjects import AccessRequest, Authenticated, Credential, Subject
from tidings.exceptions import ConfigError, Unauthenticated
from tidings.hub.clock import SystemClock
from tidings.protocol.timestamps import to_nanoseconds
from tidings.server.embedding import embedded_hub
from tidings.server.link_templates import LinkTemplate
from tidings.version import __version__


class SignOn:
    """Identifies requests by a cookie of its own, as a server for single sign-on does."""

    method = "forward"

    def accepts(self, credential: Credential) -> bool:
        return False

    def authenticate(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        signed_in = "sso=ada" in request.headers.get("cookie", "")
        grants = Grants.parse(["read operations"], ["operations"])
        done(Subject(name="ada", grants=grants) if signed_in else Unauthenticated("sign in first"))


@pytest.fixture(params=["native", "asgi"])
def edge(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def secured(edge: Any) -> Iterator[HubServer]:
    tokens = TokenTable(SystemClock().wall_ns)
    tokens.add("ada-token", "read operations/acme.*", "details", name="ada")
    tokens.add("old-token", "read operations", name="old", expires_s=-1)
    pages = SignInPages(sign_in_url="/oauth2/start?rd={url}", sign_out_url="/oauth2/sign_out")
    options = msgspec.structs.replace(tokens.options, cookie="session", pages=pages, max_failures=3)
    with HubServer(edge, access=options) as server:
        yield server


def ask(server: HubServer, token: str = "", **headers: str) -> dict[str, Any]:
    """Return the answer."""
    fields = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
    answer = httpx.get(f"{server.http}/v1/whoami", headers=fields)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def test_hub_that_identifies_no_one_lets_everyone_in(edge: Any, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<html><head>")
    with HubServer(edge, dashboard=tmp_path) as server, HubServer(edge, dashboard=NO_DASHBOARD) as bare:
        found = ask(server, "anything")
        assert to_nanoseconds(found.pop("started_at")) <= server.call(lambda: server.app.hub.now_ns())
        build = found.pop("build")
        assert found == {"version": __version__, "identifies": False, "methods": []}
        assert "build" not in ask(bare)
        page = httpx.get(server.http, headers={"Accept": "text/html"}).text
        assert page == f'<html><head>\n    <meta name="tidings-build" content="{build}">'
    (tmp_path / "index.html").write_text("<html><!-- another build -->")
    with HubServer(edge, dashboard=tmp_path) as server:
        assert ask(server)["build"] != build


def test_sender_is_named_with_its_grants(secured: HubServer) -> None:
    found = ask(secured, "ada-token")
    assert (found["subject"], found["source"]) == ("ada", "header")
    assert found["grants"] == ["read global", "read operations/acme.*", "details"]
    assert (found["identifies"], "error" in found) == (True, False)
    assert ask(secured, Cookie="session=ada-token")["source"] == "cookie"


def test_person_without_a_key_learns_how_to_sign_in(secured: HubServer) -> None:
    with capture_logs() as lines:
        found = ask(secured)
    assert (found["methods"], "subject" in found) == (["token", "cookie"], False)
    assert found["error"]["code"] == "unauthenticated"
    assert (found["sign_in_url"], found["sign_out_url"]) == ("/oauth2/start?rd={url}", "/oauth2/sign_out")
    assert not any(line.get("outcome") == "refused" for line in lines), "to ask is not an attempt"


def test_key_that_does_not_count_has_its_reason(secured: HubServer) -> None:
    assert ask(secured, "old-token")["error"]["code"] == "token_expired"
    found = (ask(secured, "wrong")["error"]["code"] for _ in range(50))
    assert next(found) == "invalid_token"
    assert "too_many_failures" in found, "guesses are counted here, too"


def test_single_sign_on_is_noticed(edge: Any) -> None:
    options = msgspec.structs.replace(TokenTable(SystemClock().wall_ns).options, authenticators=[], requests=SignOn())
    with HubServer(edge, access=options) as server:
        found = ask(server, Cookie="sso=ada")
        assert (found["subject"], found["source"], found["methods"]) == ("ada", "request", ["forward"])
        assert ask(server)["error"]["message"] == "sign in first"


def test_secret_in_the_url_is_refused(secured: HubServer) -> None:
    for query, code in (("token=a", "credential_in_url"), ("verbose=1", "invalid_parameter")):
        answer = httpx.get(f"{secured.http}/v1/whoami?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_page_of_another_origin_learns_nothing(secured: HubServer) -> None:
    answer = httpx.get(f"{secured.http}/v1/whoami", headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


def test_links_are_for_those_who_may_read_something(edge: Any) -> None:
    links = [LinkTemplate(label=label, template=f"https://{label}.example/{{trace_id}}") for label in ("b", "a")]
    expected = [
        {"label": "b", "template": "https://b.example/{trace_id}"},
        {"label": "a", "template": "https://a.example/{trace_id}"},
    ]
    with HubServer(edge, links=links) as server:
        assert ask(server)["links"] == expected
    tokens = TokenTable(SystemClock().wall_ns)
    tokens.add("reader", "read operations/acme.*", name="reader")
    tokens.add("root", "admin", name="root")
    tokens.add("writer", "publish operations", "cancel operations", name="writer")
    with HubServer(edge, links=links, access=tokens.options) as server:
        assert [ask(server, token).get("links") for token in ("reader", "root")] == [expected, expected]
        for token in ("", "wrong", "writer"):
            assert "links" not in ask(server, token)


async def test_embedded_hub_has_links() -> None:
    hub = embedded_hub(links={"Trace": "https://traces.example/{trace_id}"})
    async with hub.lifespan(), httpx.AsyncClient(transport=httpx.ASGITransport(hub), base_url="http://app") as client:
        found = (await client.get("/v1/whoami")).json()["links"]
    assert found == [{"label": "Trace", "template": "https://traces.example/{trace_id}"}]


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//evil.example/x", "/\\evil.example", "data:text/html,a", "a b", "x"]
)
def test_address_that_no_link_may_lead_to_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="invalid address"):
        SignInPages(sign_in_url=url)
    with pytest.raises(ConfigError):
        SignInPages(sign_out_url=url)
