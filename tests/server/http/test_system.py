"""What the system page shows, and to whom."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.access.token_table import TokenTable
from tests.server.hub_server import NO_DASHBOARD, QUIET, HubServer, Stream, leave_running, update
from tests.server.operation_events import complete, start
from tests.server.raw_client import RawClient
from websockets.sync.client import connect

from tidings.exceptions import LogFull
from tidings.hub.clock import SystemClock
from tidings.hub.config import HubConfig
from tidings.log.base import Retention
from tidings.protocol.timestamps import to_nanoseconds
from tidings.server.embedding import embedded_hub
from tidings.version import __version__


@pytest.fixture(params=["native", "asgi"])
def edge(request: pytest.FixtureRequest) -> Any:
    return request.param


def ask(server: HubServer, query: str = "", token: str = "") -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = httpx.get(f"{server.http}/v1/system{query}", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_figures_of_a_hub_in_memory(edge: Any) -> None:
    retention = Retention(events=5_000, bytes=1 << 20, age_s=3_600)
    with HubServer(edge, retention=retention, dashboard=NO_DASHBOARD) as server:
        last = server.publish(update("a"), start("op"), start("q", queued=True), start("e"), complete("e"))[-1]
        found = ask(server)
        assert (found["version"], found["ready"], "error" in found, "build" in found) == (
            __version__,
            True,
            False,
            False,
        )
        assert to_nanoseconds(found["started_at"]) <= to_nanoseconds(found["now"])
        assert found["contract"]["hash"] == httpx.get(server.http).json()["contract"]["hash"]
        log = found["log"]
        assert (log["kind"], log["head"], log["events"], log["trimmed_events"]) == ("memory", last, 5, 0)
        assert log["retention"] == {"events": 5_000, "bytes": 1 << 20, "age_s": 3_600.0}
        assert "disk_bytes" not in log
        assert "disk_free_bytes" not in log
        assert found["operations"] == {"live": 2, "queued": 1, "running": 1, "ended": 1}
        assert found["producers"] == []
        assert "samples" not in found, "the first minute has not passed"


async def test_figures_of_a_log_on_disk(tmp_path: Path) -> None:
    hub = embedded_hub(tmp_path, config=HubConfig(**QUIET))
    transport = httpx.ASGITransport(hub)
    async with hub.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://h") as client:
        log = (await client.get("/v1/system")).json()["log"]
        assert log["kind"] == "sqlite"
        assert log["disk_bytes"] > 0
        assert 0 < log["disk_free_bytes"] <= shutil.disk_usage(tmp_path).total


def test_connections_are_counted_by_kind(edge: Any) -> None:
    with HubServer(edge) as server, connect(f"{server.ws}?channel=data") as socket, Stream(server.port) as stream:
        socket.recv()
        stream.until("channel:live")
        server.wait(lambda: len(server.app.connections) == 2)
        found = ask(server)["connections"]
        assert (found["open"], found["websockets"], found["streams"], found["opened"]) == (2, 1, 1, 2)
        assert (found["live"], found["lanes"]) == (2, 2)


def test_connections_are_listed_to_everyone_where_no_one_is_identified(edge: Any) -> None:
    with HubServer(edge) as server, connect(f"{server.ws}?channel=data/a&channel=operations&pace_ms=250") as socket:
        socket.recv()
        with Stream(server.port, "?channel=system") as stream, connect(f"{server.ws}?channels=none") as idle:
            idle.recv()
            stream.until("channel:live")
            server.wait(lambda: len(server.app.connections) == 3)
            server.wait(lambda: not len(server.app.hub.delivery.catchup))
            newest, middle, oldest = ask(server)["clients"]
        by_state = {each["state"]: each for each in (newest, middle, oldest)}
        assert by_state["idle"].get("paths", []) == []
        kinds = sorted((each["kind"], each.get("pace_ms", 0)) for each in (newest, middle, oldest))
        assert kinds == [("stream", 0), ("websocket", 0), ("websocket", 250)]
        assert oldest["paths"] == ["data/a", "global", "operations"]
        assert len({each["connection_id"] for each in (newest, middle, oldest)}) == 3


def test_reader_that_does_not_read_is_listed() -> None:
    with HubServer("native") as server, RawClient(server.port, receive_buffer=4096) as client:
        client.open("/ws?channel=data")
        for _ in range(30):
            server.publish(*(update("large", padding=50_000) for _ in range(20)))
        server.wait(lambda: server.app.hub.delivery.counters.fell_behind > 0)
        found = ask(server)
        [reader] = found["clients"]
        assert (reader["state"], reader["address"], reader["kind"]) == ("slow", "127.0.0.1", "websocket")
        assert (reader["paths"], reader["path_count"]) == (["data", "global"], 2)
        assert 0 <= reader["behind_events"] <= 600
        assert 0 < reader["waiting_bytes"] <= found["connections"]["waiting_bytes"]


def test_blocked_member_of_a_lane_waits_for_what_the_lane_holds() -> None:
    with HubServer("native") as server, RawClient(server.port, receive_buffer=4096) as client:
        client.open("/ws?channel=data")
        server.wait(lambda: server.app.hub.delivery.subscribers == 1)
        delivery = server.app.hub.delivery
        while not any(lane.held_bytes for lane in delivery.lanes):
            server.publish(update("large", padding=50_000))
        [reader] = ask(server)["clients"]
        assert reader["state"] == "slow"
        assert reader["waiting_bytes"] > 0
        before = reader["waiting_bytes"]
        server.publish(update("large", padding=50_000))
        [reader] = ask(server)["clients"]
        assert reader["waiting_bytes"] >= before + 50_000


def test_producers_are_listed_with_their_presence(edge: Any) -> None:
    with HubServer(edge) as server:
        headers = {"Tidings-Producer": "worker-1", "Tidings-Lease": "60"}
        httpx.post(f"{server.http}/v1/events", json=[start("a"), start("b")], headers=headers).raise_for_status()
        leave_running(server, "worker-2", "c")
        away, attached = ask(server)["producers"]
        assert to_nanoseconds(away.pop("since"))
        assert away == {"producer_id": "worker-2", "presence": "away", "lease_s": 600.0, "operations": 1}
        assert attached == {"producer_id": "worker-1", "presence": "attached", "lease_s": 60.0, "operations": 2}


def test_hub_that_refuses_events_says_why(edge: Any) -> None:
    with HubServer(edge) as server:
        server.call(lambda: server.log.fail_append(LogFull("the disk is full")))
        httpx.post(f"{server.http}/v1/events", json=update("a"))
        found = ask(server)
        assert (found["ready"], found["error"]["code"]) == (False, "log_full")
        assert found["events"] == {"accepted": 0, "refused": 1, "staged": 0}


def test_log_says_when_its_oldest_event_came(edge: Any) -> None:
    with HubServer(edge, retention=Retention(events=3)) as server:
        assert "first_at" not in ask(server)["log"]
        server.publish(*(update("d", n) for n in range(10)))
        server.wait(lambda: server.log.statistics().trimmed_events == 7)
        oldest = httpx.get(f"{server.http}/v1/events?since=first&limit=1").json()["events"][0]
        found = ask(server)
        assert to_nanoseconds(found["started_at"]) <= to_nanoseconds(found["log"]["first_at"])
        assert to_nanoseconds(oldest["timestamp"]) <= to_nanoseconds(found["log"]["first_at"]) + 1_000_000


def test_samples_are_taken_and_limited(edge: Any) -> None:
    with HubServer(edge, config={"sample_s": 0.01}) as server:
        server.publish(*(update("a") for _ in range(50)))
        server.wait(lambda: len(server.app.running().samples.newest(1_440)) > 5)
        found = ask(server, "?samples=3")["samples"]
        columns = {name: column for name, column in found.items() if isinstance(column, list)}
        assert set(map(len, columns.values())) == {3}
        assert set(columns) == {
            *("events_per_s", "writes_per_s", "bytes_per_s", "connections"),
            *("catching_up", "live_operations", "log_bytes"),
            *("refused_per_s", "waiting_bytes", "loop_delay_ms"),
        }
        assert found["interval_s"] == 0.01
        assert max(ask(server, "?samples=1440")["samples"]["events_per_s"]) > 0
        assert ask(server, "?samples=0").get("samples") is None


@pytest.mark.parametrize("query", ["samples=-1", "samples=1441", "samples=x", "samples=", "other=1"])
def test_odd_query_is_refused(query: str) -> None:
    with HubServer() as server:
        answer = httpx.get(f"{server.http}/v1/system?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")


def test_page_needs_a_grant_and_details_are_for_administrators(edge: Any) -> None:
    tokens = TokenTable(SystemClock().wall_ns)
    tokens.add("ada", "read system", "publish operations", name="ada")
    tokens.add("bob", "read operations", "publish operations", name="bob")
    tokens.add("root", "admin", name="root")
    with HubServer(edge, access=tokens.options) as server:
        assert httpx.get(f"{server.http}/v1/system").status_code == 401
        refused = httpx.get(f"{server.http}/v1/system", headers={"Authorization": "Bearer bob"})
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        for who in ("ada", "bob"):
            headers = {"Authorization": f"Bearer {who}", "Tidings-Producer": "worker", "Tidings-Lease": "60"}
            httpx.post(f"{server.http}/v1/events", json=start(who), headers=headers).raise_for_status()
        mine, all_of_them = ask(server, token="ada"), ask(server, token="root")
        assert [each["producer_id"] for each in mine["producers"]] == ["worker"]
        assert [each["producer_id"] for each in all_of_them["producers"]] == ["ada/worker", "bob/worker"]
        assert ("clients" in mine, "clients" in all_of_them) == (False, True)
        server.call(lambda: server.log.fail_append(LogFull("the disk is full")))
        httpx.post(f"{server.http}/v1/events", json=start("x"), headers={"Authorization": "Bearer ada"})
        mine, all_of_them = ask(server, token="ada"), ask(server, token="root")
        assert (mine["ready"], "error" in mine, all_of_them["error"]["code"]) == (False, False, "log_full")
