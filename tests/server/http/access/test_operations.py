"""Operations that may be read, in whole or in part."""

import pytest
from tests.server.http.access.secured import Secured, fail, start, update


def test_parent_that_may_not_be_read_is_an_id_and_nothing_more(hub: Secured) -> None:
    hub.post(
        start("zeta.1", name="secret plan"), start("acme.1", parent_id="zeta.1"), start("zeta.2", parent_id="zeta.1")
    )
    assert hub.get("/v1/operations/acme.1", "ada").json()["parent_id"] == "zeta.1"
    assert hub.get("/v1/operations/zeta.1", "ada").status_code == 404
    listed = hub.get("/v1/operations?parent=zeta.1", "ada")
    assert [operation["operation_id"] for operation in listed.json()["operations"]] == ["acme.1"]
    assert "secret plan" not in listed.text


def test_lists_and_names_show_only_what_may_be_read(hub: Secured) -> None:
    hub.post(
        start("acme.1", name="nightly"),
        start("zeta.1", name="nightly"),
        start("zeta.2", name="secret plan", parent_id="acme.1"),
        fail("acme.1"),
        fail("zeta.1"),
        fail("zeta.2"),
    )
    listed = hub.get("/v1/operations", "ada").json()["operations"]
    assert [operation["operation_id"] for operation in listed] == ["acme.1"]
    assert hub.get("/v1/operations?find=zeta.1", "ada").json()["operations"] == []
    assert hub.get("/v1/operations?parent=acme.1", "ada").json()["operations"] == []
    assert hub.get("/v1/operations/acme.1", "ada").json()["children"] == []
    assert len(hub.get("/v1/operations/acme.1", "writer").json()["children"]) == 1
    [name] = hub.get("/v1/operation-names", "ada").json()["names"]
    assert (name["name"], name["runs"], name["failed"]) == ("nightly", 1, 1)
    names = hub.get("/v1/operation-names", "writer").json()["names"]
    assert {name["name"]: name["runs"] for name in names} == {"nightly": 2, "secret plan": 1}
    assert hub.get("/v1/operation-names", "nobody").json() == {"names": []}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("address", ["/v1/operations/IDSUFFIX", "/v1/operationSUFFIX?operation_id=ID"])
def test_unreadable_operation_does_not_exist(hub: Secured, method: str, address: str) -> None:
    hub.post(start("zeta.real"), start("acme.real"))
    suffix = "/cancel" if method == "POST" else ""
    answers = []
    for operation_id in ("zeta.real", "zeta.none"):
        answer = hub.request(method, address.replace("ID", operation_id).replace("SUFFIX", suffix), "ada")
        assert answer.status_code == 404
        answers.append(answer.text.replace(operation_id, "ID"))
    assert answers[0] == answers[1]
    assert "zeta.real" not in hub.get("/v1/operations/zeta.rea", "ada").text
    assert "acme.real" in hub.get("/v1/operations/acme.rea", "ada").text


def test_wait_for_an_unreadable_operation_is_answered_immediately(hub: Secured) -> None:
    hub.post(start("zeta.live"), start("zeta.ended"), fail("zeta.ended"))
    before = hub.server.call(lambda: len(hub.server.app.running().long_polls))
    for operation_id in ("zeta.live", "zeta.ended", "zeta.none"):
        assert hub.get(f"/v1/operations/{operation_id}?wait=60", "ada").status_code == 404
    assert hub.server.call(lambda: len(hub.server.app.running().long_polls)) == before


def test_details_need_a_grant(hub: Secured) -> None:
    hub.post(start("acme.1", command="deploy --all", host="db.example", pid=17, user="root"), fail("acme.1"))
    for path in ("/v1/operations/acme.1", "/v1/operations", "/v1/events", "/v1/snapshot"):
        text = hub.get(path, "ada").text
        assert "it broke" in text
        for secret in ("deploy --all", "db.example", "secret.py"):
            assert secret not in text, path
            assert secret in hub.get(path, "writer").text, path


def test_stream_conceals_details_without_a_grant(hub: Secured) -> None:
    hub.post(start("acme.1"), fail("acme.1"))
    for who, shown in (("ada", False), ("writer", True)):
        with hub.stream("?channels=operations/acme.1", who) as stream:
            (failed,) = [event["data"] for event in stream.events(2) if "message" in event["data"]]
            assert ("details" in failed) is shown


def test_stream_of_everything_follows_the_grants(hub: Secured) -> None:
    hub.tokens.add("eve-token", "read operations", name="eve")
    with hub.stream("?since=now", "eve") as stream:
        stream.until("channel:live")
        hub.tokens.add("eve-token", "read operations/acme.*", "read data", name="eve")
        control = hub.server.call(lambda: hub.server.app.hub.access)
        assert control is not None
        hub.server.call(control.reevaluate)
        assert stream.until("channel:live")[0]["data"]["removed"] == ["operations"]
        hub.post(start("acme.1"), start("zeta.1"), update("daily-1"))
        assert [next(iter(event["data"].values())) for event in stream.events(2)] == ["acme.1", "daily-1"]


def test_cancelling_reaches_only_descendants_with_a_grant(hub: Secured) -> None:
    hub.post(start("acme.1"), start("zeta.1", parent_id="acme.1", queued=True))
    answer = hub.request("POST", "/v1/operations/acme.1/cancel", "canceller", json={"timeout_s": 0})
    assert answer.json().get("children") is None
    assert hub.get("/v1/operations/zeta.1", "writer").json()["state"] == "queued"


def test_producer_is_shown_to_its_own_subject_only(hub: Secured) -> None:
    hub.post(start("acme.1"), who="ada", headers={"Tidings-Producer": "worker-1"})
    assert hub.get("/v1/operations/acme.1", "ada").json()["producer_id"] == "worker-1"
    for who in ("writer", "root"):
        assert "worker-1" not in hub.get("/v1/operations/acme.1", who).text
        assert "worker-1" not in hub.get("/v1/operations", who).text


def test_producer_id_of_another_subject_ends_nothing(hub: Secured) -> None:
    hub.post(start("acme.1"), who="ada", headers={"Tidings-Producer": "worker-1"})
    [result] = hub.post(fail("acme.1"), headers={"Tidings-Producer": "worker-1"})
    assert result["error"]["code"] == "operation_fenced"
    [result] = hub.post(fail("acme.1"), who="ada", headers={"Tidings-Producer": "worker-1"})
    assert "position" in result


def test_idempotency_key_belongs_to_its_subject(hub: Secured) -> None:
    key = {"Idempotency-Key": "0197c1b2-6f0e-7c44"}
    event = {"type": "operation:log", "data": {"operation_id": "acme.1", "level": "info", "message": "a"}}
    for who in ("ada", "writer"):
        hub.post(start(f"acme.{who}"), who=who)
        event["data"] = {**event["data"], "operation_id": f"acme.{who}"}  # type: ignore[dict-item]
        answer = hub.request("POST", "/v1/events", who, json=event, headers=key)
        assert (answer.status_code, "duplicate" in answer.json()) == (200, False)
