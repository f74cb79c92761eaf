"""Rights that are lost while something is open."""

import http.client
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec
import pytest
from tests.log.sqlite_harness import wait_until
from tests.server.http.access.secured import Secured, start, update
from tests.server.hub_server import Stream


class SlowPost:
    """A request whose head and first byte are sent; the rest of its body follows later."""

    def __init__(self, hub: Secured, path: str, who: str, body: object) -> None:
        self._body = msgspec.json.encode(body)
        self._connection = http.client.HTTPConnection("127.0.0.1", hub.server.port, timeout=30)
        self._connection.putrequest("POST", path)
        for name, value in (
            ("Authorization", f"Bearer {who}-token"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(self._body))),
        ):
            self._connection.putheader(name, value)
        verified = len(hub.tokens.requests)
        self._connection.endheaders(self._body[:1])
        wait_until(lambda: len(hub.tokens.requests) > verified)

    def finish(self) -> tuple[int, Any]:
        self._connection.send(self._body[1:])
        answer = self._connection.getresponse()
        found = answer.status, msgspec.json.decode(answer.read())
        self._connection.close()
        return found


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/events", start("acme.9")),
        ("/v1/events", [start("acme.9")]),
        ("/v1/operations/acme.1/cancel", {"timeout_s": 0}),
        ("/v1/admin/revocations", {"subject": "ada"}),
        ("/v1/tickets", {}),
    ],
)
@pytest.mark.parametrize("loss", ["revoked", "expired", "forgotten"])
def test_right_that_is_lost_while_a_body_arrives(hub: Secured, path: str, body: object, loss: str) -> None:
    hub.post(start("acme.1"))
    life_s = 0.5 if loss == "expired" else None
    hub.tokens.add("slow-token", "admin", name="slow", expires_s=life_s)
    post = SlowPost(hub, path, "slow", body)
    if loss == "revoked":
        assert hub.request("POST", "/v1/admin/revocations", "root", json={"subject": "slow"}).status_code == 200
    elif loss == "forgotten":
        del hub.tokens.subjects["slow-token"]
        control = hub.server.call(lambda: hub.server.app.hub.access)
        assert control is not None
        hub.server.call(control.reevaluate)
    else:
        wait_until(lambda: hub.get("/v1/operations", "slow").status_code == 401)
    codes = {"revoked": "credential_revoked", "expired": "token_expired", "forgotten": "invalid_token"}
    status, answer = post.finish()
    assert (status, answer.get("code")) == (401, codes[loss])
    assert hub.get("/v1/operations/acme.9", "root").status_code == 404
    assert hub.get("/v1/operations/acme.1", "root").json()["state"] == "running"
    assert hub.get("/v1/admin/revocations?name=ada", "root").json()["revocations"] == []


def test_right_that_is_lost_while_a_batch_waits_for_room() -> None:
    with Secured("native", config={"staged_events": 2}) as hub, ThreadPoolExecutor(1) as pool:
        hub.tokens.add("slow-token", "publish data", name="slow")
        hub.server.call(hub.server.log.hold_appends)
        batch = pool.submit(hub.post, *(update(f"d{number}") for number in range(9)), who="slow")
        hub.server.wait(lambda: hub.server.app.hub.room.waiting == 1)
        staged = hub.server.app.hub.staged
        assert 0 < staged < 9
        hub.server.call(lambda: hub.tokens.subjects.pop("slow-token"))
        control = hub.server.call(lambda: hub.server.app.hub.access)
        assert control is not None
        hub.server.call(control.reevaluate)
        hub.server.call(hub.server.log.release_appends)
        results = batch.result()
        assert [result.get("error", {}).get("code") for result in results] == [
            *[None] * staged,
            *["invalid_token"] * (9 - staged),
        ]
        assert len(hub.get("/v1/events?channel=data", "root").json()["events"]) == staged


def test_grant_that_is_lost_while_a_body_arrives(hub: Secured) -> None:
    hub.tokens.add("slow-token", "publish operations/acme.*", name="slow")
    post = SlowPost(hub, "/v1/events", "slow", [start("acme.9"), start("other.9")])
    hub.tokens.add("slow-token", "publish operations/other.*", name="slow")
    control = hub.server.call(lambda: hub.server.app.hub.access)
    assert control is not None
    hub.server.call(control.reevaluate)
    _, answer = post.finish()
    assert answer["results"][0]["error"]["code"] == "forbidden"
    assert "position" in answer["results"][1]


def test_stream_loses_only_the_paths_that_are_no_longer_granted(hub: Secured) -> None:
    with hub.stream("?channels=operations/acme.*,data/daily-*", "ada") as stream:
        stream.until("channel:live")
        hub.tokens.add("ada-token", "read data/daily-*", name="ada")
        control = hub.server.call(lambda: hub.server.app.hub.access)
        assert control is not None
        hub.server.call(control.reevaluate)
        success = stream.until("auth:success")[-1]
        assert success["data"]["removed"] == ["operations/acme.*"]
        hub.post(start("acme.1"), update("daily-1"))
        assert stream.events(1)[0]["data"] == {"dataset": "daily-1"}
        hub.tokens.add("ada-token", name="ada")
        hub.server.call(control.reevaluate)
        failed, closed = stream.until("connection:closed")[-2:]
        assert failed["data"]["code"] == "forbidden"
        assert closed["data"]["reconnect"] is False


def test_expiry_ends_a_stream_with_a_warning_before(hub: Secured) -> None:
    hub.tokens.add("short-token", "read data", name="short", expires_s=1.5)
    with hub.stream("?channel=data", "short") as stream:
        messages = stream.until("channel:live")
        required = stream.until("auth:required")[-1]
        assert required["data"]["reason"] == "expiring"
        assert 0 < required["data"]["deadline_s"] <= 1.5
        failed, closed = stream.until("connection:closed")[-2:]
        assert (failed["type"], failed["data"]["code"]) == ("auth:failed", "token_expired")
        assert closed["data"]["code"] == 4001
        with pytest.raises(EOFError):
            stream.block()
    assert messages


def test_event_source_is_told_not_to_come_back_soon(hub: Secured) -> None:
    with Stream(hub.server.port, headers={"Accept": "text/event-stream"}) as stream:
        assert stream.response.status == 200
        first = stream.block()
        assert first["retry"] == "60000"
        assert msgspec.json.decode(first["data"])["type"] == "auth:failed"
        closed = stream.message()
        assert (closed["type"], closed["data"]["reconnect"]) == ("connection:closed", False)


def test_last_block_of_a_stream_that_lost_its_right_delays_reconnects(hub: Secured) -> None:
    with hub.stream("?channel=data/daily-*", "ada") as stream:
        stream.until("channel:live")
        hub.request("POST", "/v1/admin/revocations", "root", json={"credential_id": "ada-token"})
        fields = [stream.block() for _ in range(2)]
        assert fields[-1]["retry"] == "60000"


def test_right_that_is_lost_ends_a_wait(hub: Secured) -> None:
    hub.post(start("acme.1"))
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(hub.get("/v1/operations/acme.1?wait=60", "ada")))
    waiting.start()
    hub.server.wait(lambda: len(hub.server.app.running().long_polls) == 1)
    hub.request("POST", "/v1/admin/revocations", "root", json={"credential_id": "ada-token"})
    waiting.join(60)
    assert (answers[0].status_code, answers[0].json()["code"]) == (401, "credential_revoked")
