"""Tickets and cookies."""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from structlog.testing import capture_logs
from tests.server.http.access.secured import Secured, read_to_the_end, update
from tests.server.hub_server import Stream
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def test_ticket_opens_one_stream_with_the_rights_of_its_credential(hub: Secured) -> None:
    answer = hub.request("POST", "/v1/tickets", "ada")
    assert answer.headers["cache-control"] == "no-store"
    ticket = answer.json()["ticket"]
    with capture_logs() as logged, Stream(hub.server.port, f"?ticket={ticket}") as stream:
        live = stream.until("channel:live")[-1]
        assert live["data"]["channels"] == ["data/daily-*", "global", "operations/acme.*"]
        again = hub.get(f"/v1/stream?ticket={ticket}")
        assert (again.status_code, again.json()["code"]) == (401, "invalid_ticket")
        hub.request("POST", "/v1/admin/revocations", "root", json={"credential_id": "ada-token"})
        assert stream.until("auth:failed")[-1]["data"]["code"] == "credential_revoked"
    assert ticket not in str(logged)


@pytest.mark.parametrize("subprotocols", [None, ["tidings.v1"]], ids=["plain", "v1"])
def test_ticket_opens_one_websocket_with_the_rights_of_its_credential(hub: Secured, subprotocols: Any) -> None:
    ticket = hub.request("POST", "/v1/tickets", "ada").json()["ticket"]
    url = f"{hub.server.ws}?ticket={ticket}"
    with capture_logs() as logged:
        with connect(url, subprotocols=subprotocols, proxy=None) as socket:
            established = msgspec.json.decode(socket.recv(60))
            assert (established["data"]["auth"], established["data"]["channels"]) == (
                "ada",
                ["global", "operations", "data"],
            )
            hub.request("POST", "/v1/admin/revocations", "root", json={"credential_id": "ada-token"})
            with pytest.raises(ConnectionClosed, match="revoked"):
                read_to_the_end(socket)
        with (
            connect(url, subprotocols=subprotocols, proxy=None) as socket,
            pytest.raises(ConnectionClosed, match="ticket is not valid"),
        ):
            read_to_the_end(socket)
    assert ticket not in str(logged)


def test_ticket_opens_nothing_but_streams(hub: Secured) -> None:
    ticket = hub.request("POST", "/v1/tickets", "writer").json()["ticket"]
    for method, path in (("GET", "/v1/events"), ("POST", "/v1/tickets"), ("GET", "/v1/operations")):
        assert hub.request(method, f"{path}?ticket={ticket}").status_code == 401
    assert hub.get("/v1/stream?channel=data&ticket=wrong").json()["code"] == "invalid_ticket"


# Cookies.


@pytest.fixture(params=["native", "asgi"])
def cookie_hub(request: pytest.FixtureRequest) -> Iterator[Secured]:
    with Secured(request.param, cookie="__Host-sid") as running:
        yield running


def test_cookie_reads_and_changes_from_the_own_origin_only(cookie_hub: Secured) -> None:
    cookie = {"Cookie": "__Host-sid=writer-token"}
    own = {"Origin": cookie_hub.server.http}
    assert cookie_hub.get("/v1/operations", headers=cookie).status_code == 200
    for headers, status in (
        ({}, 403),
        (own, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 403),
        ({"Authorization": "Bearer writer-token"}, 200),
    ):
        answer = cookie_hub.request("POST", "/v1/events", json=update("a"), headers={**cookie, **headers})
        assert answer.status_code == status, headers
        if status == 403:
            assert answer.json()["code"] in ("forbidden", "origin_refused")


def test_cookies_in_several_lines_are_one_list(cookie_hub: Secured) -> None:
    """A proxy may split them (RFC 9113 §8.2.3): none of two different cookies of one name counts, whatever the line."""
    sid = "__Host-sid=writer-token"
    for lines, known in ((("a=1", sid), True), ((sid, "__Host-sid=planted"), False), (("__Host-sid=x", sid), False)):
        fields = [*(("Cookie", line) for line in lines), ("Origin", cookie_hub.server.http)]
        answer = httpx.get(f"{cookie_hub.server.http}/v1/operations", headers=fields, timeout=60)
        assert answer.status_code == (200 if known else 401), lines
        with connect(f"{cookie_hub.server.ws}?channels=none", additional_headers=fields, proxy=None) as socket:
            greeting = msgspec.json.decode(socket.recv(60))
        assert greeting["data"]["auth"] == ("writer" if known else "required"), lines


def test_cookie_changes_nothing_for_a_page_of_an_allowed_origin() -> None:
    allowed = "http://localhost:1"
    with Secured("native", cookie="sid", allow_origins=[allowed]) as secured:
        cookie = {"Cookie": "sid=writer-token", "Origin": allowed}
        assert secured.get("/v1/operations", headers=cookie).status_code == 200
        answer = secured.request("POST", "/v1/events", json=update("a"), headers=cookie)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_cookie_counts_only_where_it_is_configured(hub: Secured) -> None:
    assert hub.get("/v1/operations", headers={"Cookie": "__Host-sid=writer-token"}).status_code == 401
