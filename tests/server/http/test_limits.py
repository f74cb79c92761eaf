"""What one client may have at a time, with real sockets."""

import threading
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from tests.access.token_table import TokenTable
from tests.server.hub_server import HubServer, Stream, update
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tidings.hub.clock import SystemClock


@pytest.fixture
def tokens() -> TokenTable:
    table = TokenTable(SystemClock().wall_ns)
    for name in ("ada", "eve"):
        table.add(name, "read *", "publish *", "admin", name=name)
    return table


@pytest.fixture(params=["native", "asgi"])
def edge(request: pytest.FixtureRequest) -> Any:
    return request.param


def read_to_the_end(socket: ClientConnection) -> None:
    """Read until the server closes, and raise why."""
    while True:
        socket.recv(60)


def get(server: HubServer, path: str, who: str) -> httpx.Response:
    return httpx.get(server.http + path, headers={"Authorization": f"Bearer {who}"}, timeout=60)


def test_subject_with_too_many_reads_is_refused_until_one_ends(edge: Any, tokens: TokenTable) -> None:
    with HubServer(edge, access=tokens.options, config={"reads_of_client": 2}) as server:
        server.call(server.log.hold_reads)
        answers: list[httpx.Response] = []
        readers = [
            threading.Thread(target=lambda path=path: answers.append(get(server, path, "ada")))
            for path in ("/v1/events", "/v1/snapshot")
        ]
        httpx.post(
            f"{server.http}/v1/events", json=update("a"), headers={"Authorization": "Bearer ada"}
        ).raise_for_status()
        for reader in readers:
            reader.start()
        reads = server.call(lambda: server.app.running().limits.reads)
        server.wait(lambda: reads.used("subject ada") == 2)
        for path in ("/v1/events", "/v1/snapshot", "/v1/operations", "/v1/operation-names"):
            answer = get(server, path, "ada")
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
            assert answer.json()["retry_after_ms"] == 500
            assert answer.headers["retry-after"] == "1"
        assert get(server, "/v1/operations", "eve").status_code == 200
        server.call(server.log.release_reads)
        for reader in readers:
            reader.join(60)
        assert [answer.status_code for answer in answers] == [200, 200]
        server.wait(lambda: reads.used("subject ada") == 0)
        assert get(server, "/v1/events", "ada").status_code == 200
        metrics = get(server, "/metrics", "ada").text
        assert 'tidings_clients_refused_total{limit="reads_of_client"} 4.0' in metrics


def test_snapshot_of_a_client_that_leaves_no_longer_counts(edge: Any, tokens: TokenTable) -> None:
    with HubServer(edge, access=tokens.options, config={"reads_of_client": 1}) as server:
        publish = httpx.Client(base_url=server.http, headers={"Authorization": "Bearer ada"})
        for number in range(20):
            events = [update(f"{number}-{index}", padding=60_000) for index in range(50)]
            publish.post("/v1/events", json=events).raise_for_status()
        publish.close()
        reads = server.call(lambda: server.app.running().limits.reads)
        headers = {"Authorization": "Bearer ada"}
        with httpx.stream("GET", f"{server.http}/v1/snapshot", headers=headers) as answer:
            parts = answer.iter_raw(1_000)
            next(parts)
            assert server.call(lambda: reads.used("subject ada")) == 1
            assert get(server, "/v1/snapshot", "ada").status_code == 429
        server.wait(lambda: reads.used("subject ada") == 0)


def test_subject_with_too_many_waits_is_refused(edge: Any, tokens: TokenTable) -> None:
    with HubServer(edge, access=tokens.options, config={"waits_of_client": 1}) as server:
        waiting = threading.Thread(target=lambda: get(server, "/v1/operations/op-1?wait=60", "ada"))
        waiting.start()
        server.wait(lambda: len(server.app.running().long_polls) == 1)
        answer = get(server, "/v1/operations/op-2?wait=60", "ada")
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
        assert get(server, "/v1/operations/op-2?wait=0.01", "eve").status_code == 404
        start = {"type": "operation:start", "data": {"operation_id": "op-1"}}
        end = {"type": "operation:complete", "data": {"operation_id": "op-1"}}
        headers = {"Authorization": "Bearer eve"}
        httpx.post(f"{server.http}/v1/events", json=[start, end], headers=headers).raise_for_status()
        waiting.join(60)
        assert get(server, "/v1/operations/op-2?wait=0.01", "ada").status_code == 404


def test_subject_with_too_many_connections_is_refused(edge: Any, tokens: TokenTable) -> None:
    headers = {"Authorization": "Bearer ada"}
    with HubServer(edge, access=tokens.options, config={"connections_of_subject": 2}) as server, ExitStack() as stack:
        stack.enter_context(Stream(server.port, headers=headers)).until("channel:live")
        socket = stack.enter_context(connect(server.ws, additional_headers=headers, proxy=None))
        socket.recv(60)
        answer = get(server, "/v1/stream", "ada")
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
        refused = stack.enter_context(connect(server.ws, additional_headers=headers, proxy=None))
        with pytest.raises(ConnectionClosed, match="too many connections of this subject"):
            read_to_the_end(refused)
        assert refused.close_code == 1013
        stack.enter_context(Stream(server.port, headers={"Authorization": "Bearer eve"})).until("channel:live")
        socket.close()
        server.wait(lambda: server.connections() == 2)
        stack.enter_context(Stream(server.port, headers=headers)).until("channel:live")


def test_event_source_beyond_the_limit_comes_back_later(tokens: TokenTable) -> None:
    headers = {"Authorization": "Bearer ada", "Accept": "text/event-stream"}
    config = {"connections_of_subject": 1}
    with (
        HubServer("native", access=tokens.options, config=config) as server,
        Stream(server.port, headers=headers),
        Stream(server.port, headers=headers) as refused,
    ):
        assert int(refused.block()["retry"]) >= 5_000
        closed = refused.message()
        assert (closed["data"]["code"], closed["data"]["reconnect"]) == (1013, True)


def test_address_with_too_many_connections_is_refused(edge: Any) -> None:
    def forwarded(address: str) -> dict[str, str]:
        return {"X-Forwarded-For": address}

    options: dict[str, Any] = {"config": {"connections_of_address": 1}, "trusted_proxies": ["127.0.0.1"]}
    with HubServer(edge, **options) as server, ExitStack() as stack:
        stack.enter_context(Stream(server.port, headers=forwarded("2001:db8::1"))).until("channel:live")
        answer = httpx.get(f"{server.http}/v1/stream", headers=forwarded("2001:db8::2"))
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
        refused = stack.enter_context(connect(server.ws, additional_headers=forwarded("2001:db8::3"), proxy=None))
        with pytest.raises(ConnectionClosed, match="too many connections from this address"):
            read_to_the_end(refused)
        other = connect(server.ws, additional_headers=forwarded("192.0.2.1"), proxy=None)
        stack.enter_context(other).recv(60)


def test_own_machine_has_no_limit_without_authentication(edge: Any) -> None:
    config = {"connections_of_address": 1, "waits_of_client": 1, "reads_of_client": 1}
    with HubServer(edge, config=config) as server, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(Stream(server.port)).until("channel:live")
        server.call(server.log.hold_reads)
        readers = [threading.Thread(target=lambda: httpx.get(f"{server.http}/v1/snapshot")) for _ in range(3)]
        for reader in readers:
            reader.start()
        server.call(server.log.release_reads)
        for reader in readers:
            reader.join(60)
        limits = server.call(lambda: server.app.running().limits)
        assert (limits.reads.refused, limits.waits.refused) == (0, 0)


def test_posts_of_an_address_without_authentication_have_a_rate(edge: Any) -> None:
    config = {"posted_events_per_s": 0.1}
    with HubServer(edge, config=config, trusted_proxies=["127.0.0.1"]) as server:

        def post(address: str, *items: str) -> httpx.Response:
            headers = {"X-Forwarded-For": address}
            return httpx.post(f"{server.http}/v1/events", json=[*map(update, items)], headers=headers)

        assert post("192.0.2.1", "a").json()["results"][0]["position"]
        answer = httpx.post(f"{server.http}/v1/events", json=update("a"), headers={"X-Forwarded-For": "192.0.2.1"})
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
        assert int(answer.headers["retry-after"]) >= 1
        refused = post("192.0.2.1", "a", "b").json()["results"]
        assert [result["error"]["code"] for result in refused] == ["rate_limited"] * 2
        assert post("192.0.2.2", "a").json()["results"][0]["position"]
        for _ in range(3):
            server.publish(update("a"))  # from the hub's own machine
