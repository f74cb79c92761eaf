"""What may be published and cancelled."""

import pytest
from tests.server.http.access.secured import Secured, start, update


def test_each_event_of_a_batch_is_checked_by_itself(hub: Secured) -> None:
    results = hub.post(start("acme.1"), start("zeta.1"), update("daily-1"), start("acme.2"), who="ada")
    assert ["position" in result for result in results] == [True, False, False, True]
    assert {result["error"]["code"] for result in results if "error" in result} == {"forbidden"}
    answer = hub.request("POST", "/v1/events", "ada", json=start("zeta.2"))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["allowed"] == ["operations/acme.*"]
    assert hub.get("/v1/operations", "writer").json()["operations"][0]["operation_id"] == "acme.2"


def test_cancelling_needs_a_grant_and_names_the_subject(hub: Secured) -> None:
    hub.post(start("acme.1", queued=True), start("zeta.1", queued=True))
    answer = hub.request("POST", "/v1/operations/zeta.1/cancel", "canceller", json={})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    body = {"cancelled_by": "the boss", "reason": "late"}
    answer = hub.request("POST", "/v1/operations/acme.1/cancel", "canceller", json=body)
    assert (answer.status_code, answer.json()["outcome"]) == (200, "cancelled")
    assert hub.get("/v1/operations/acme.1", "writer").json()["cancelled_by"] == "canceller"


def test_stream_follows_the_grant_for_details(hub: Secured) -> None:
    with hub.stream("?channel=operations/acme.*", "ada") as stream:
        stream.until("channel:live")
        hub.post(start("acme.1", host="db.example"))
        assert stream.events(1)[0]["data"] == {"operation_id": "acme.1"}
        hub.tokens.add("ada-token", "read operations/acme.*", "details", name="ada")
        control = hub.server.call(lambda: hub.server.app.hub.access)
        assert control is not None
        hub.server.call(control.reevaluate)
        stream.until("auth:success")
        hub.post(start("acme.2", host="db.example"))
        assert stream.events(1)[0]["data"]["host"] == "db.example"


def test_stream_of_everything_follows_new_grants(hub: Secured) -> None:
    with hub.stream("?since=now", "bob") as stream:
        stream.until("channel:live")
        hub.tokens.add("bob-token", "read data", name="bob")
        control = hub.server.call(lambda: hub.server.app.hub.access)
        assert control is not None
        hub.server.call(control.reevaluate)
        stream.until("channel:live")
        hub.post(start("zeta.9"), update("new"))
        assert stream.events(1)[0]["data"] == {"dataset": "new"}


@pytest.mark.parametrize("edge", ["native", "asgi"])
def test_cancellations_count_for_the_commands_of_their_subject(edge: str) -> None:
    with Secured(edge, config={"subject_commands_per_s": 0.2}) as hub:
        hub.post(*(start(f"acme.{number}") for number in range(3)))
        answers = [
            hub.request("POST", f"/v1/operations/acme.{number}/cancel", "canceller", json={"timeout_s": 0})
            for number in range(3)
        ]
        codes = [answer.json().get("code") for answer in answers]
        assert codes.count("rate_limited") == 2
        assert int(answers[-1].headers["retry-after"]) >= 1
