"""What may be read."""

import pytest
from tests.server.http.access.secured import Secured, start, update


def test_star_is_everything_that_may_be_read(hub: Secured) -> None:
    hub.post(start("acme.1"), start("zeta.1"), update("daily-1"), update("other"))
    for query in ("", "?channel=*"):
        for path in ("/v1/events", "/v1/snapshot"):
            keys = {
                event["data"].get("operation_id") or event["data"]["dataset"]
                for event in hub.get(path + query, "ada").json()["events"]
            }
            assert keys == {"acme.1", "daily-1"}
    assert [event["type"] for event in hub.get("/v1/events", "bob").json()["events"]] == ["operation:start"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/snapshot", "/v1/stream"])
@pytest.mark.parametrize(
    "query", ["?channel=data", "?channel=operations/zeta.1", "?channels=data/daily-*,system", "?channel=operations/a*"]
)
def test_path_beyond_the_grants_is_refused_with_those_allowed(hub: Secured, path: str, query: str) -> None:
    answer = hub.get(path + query, "ada")
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert answer.json()["allowed"] == ["data/daily-*", "global", "operations/acme.*"]
    assert "operations/acme.*" in answer.json()["hint"]


@pytest.mark.parametrize("path", ["/v1/events", "/v1/snapshot", "/v1/stream"])
def test_subject_without_grants_reads_nothing(hub: Secured, path: str) -> None:
    for query in ("", "?channel=data", "?channel=global"):
        answer = hub.get(path + query, "nobody")
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_history_of_keys_needs_grants_for_the_keys_only(hub: Secured) -> None:
    hub.post(update("daily-1"), update("other"))
    events = hub.get("/v1/events?channel=data&key=daily-1", "ada").json()["events"]
    assert [event["data"]["dataset"] for event in events] == ["daily-1"]
    assert hub.get("/v1/events?channel=data&key=other", "ada").status_code == 403
    assert hub.get("/v1/events?key=other", "ada").json()["events"] == []


def test_browser_without_a_credential_gets_a_page_for_an_unknown_address(hub: Secured) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for who in ("", "unknown", "ada"):
        answer = hub.get("/a/b", who, headers=browser)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert 'href="../"' in answer.text
    refused = [
        hub.get("/a/b"),
        hub.get("/v1/operations", headers=browser),
        hub.get("/v1/operations/x", headers=browser),
    ]
    assert [(answer.status_code, answer.headers["content-type"]) for answer in refused] == [
        (401, "application/json")
    ] * 3
