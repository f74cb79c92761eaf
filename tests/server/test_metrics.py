from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.server.hub_server import HubServer, Stream, update

from tidings.exceptions import LogFull


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as running:
        yield running


def samples(server: HubServer) -> dict[str, float]:
    text = httpx.get(f"{server.http}/metrics").text
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values() if len(sample.labels) == 1): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_accepted_and_refused_events(server: HubServer) -> None:
    server.publish(update("a"), update("b"))
    server.call(lambda: server.log.fail_append(LogFull("full")))
    httpx.post(f"{server.http}/v1/events", json=update("c"))
    found = samples(server)
    assert found["tidings_events_accepted_total"] == 2
    assert found["tidings_events_refused_total"] == 1
    assert found["tidings_ticks_total"] == 2
    assert found["tidings_log_failing"] == 1
    assert found["tidings_log_durable_events"] == 2
    assert found["tidings_log_newest"] == 2


def test_metrics_count_subscribers_lanes_and_writes(server: HubServer) -> None:
    with (
        Stream(server.port, "?channel=data&since=now") as first,
        Stream(server.port, "?channel=data&since=now") as second,
    ):
        for stream in (first, second):
            stream.until("channel:live")
        server.wait(lambda: sum(len(lane.members) for lane in server.app.hub.delivery.lanes) == 2)
        server.publish(update("a"))
        for stream in (first, second):
            stream.events(1)
        found = samples(server)
    assert found["tidings_connections"] == 2
    assert found["tidings_connections_opened_total"] == 2
    assert found["tidings_subscribers[live]"] == 2
    assert found["tidings_subscribers[catching_up]"] == 0
    assert found["tidings_lanes"] == 1
    assert found["tidings_lane_writes_total"] == 2
    assert found["tidings_encodes_total"] == 1
    assert found["tidings_lane_bytes_total"] > 200


def test_metrics_describe_the_hub_and_its_process(server: HubServer) -> None:
    text = httpx.get(f"{server.http}/metrics").text
    assert f'epoch="{server.call(lambda: server.app.hub.log.epoch)}"' in text
    assert samples(server)["process_resident_memory_bytes"] > 1_000_000


def test_openmetrics_is_served_when_requested(server: HubServer) -> None:
    answer = httpx.get(f"{server.http}/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_two_hubs_in_one_process_have_separate_metrics(server: HubServer) -> None:
    server.publish(update("a"))
    with HubServer() as other:
        assert samples(other)["tidings_events_accepted_total"] == 0
    assert samples(server)["tidings_events_accepted_total"] == 1
