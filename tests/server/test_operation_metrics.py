"""Metrics by operation name, as in `/metrics`: counted once, in any batches, and bounded."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.server.hub_server import HubServer
from tests.server.operation_events import cancelled, complete, failed, progress, start

from tidings.log.base import Retention
from tidings.log.sqlite.log import SqliteLog
from tidings.server.app import HubApp
from tidings.server.operation_metrics import MAX_NAMES, Histogram, label_of

Figures = dict[tuple[str, ...], float]


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer() as running:
        yield running


def figures(server: HubServer) -> Figures:
    """Return the samples of `/metrics` by name and label values."""
    return _samples(httpx.get(f"{server.http}/metrics").text)


def _samples(text: str) -> Figures:
    return {
        (sample.name.removeprefix("tidings_operation"), *_told(sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("tidings_operation")
    }


def _told(labels: dict[str, str]) -> list[str]:
    return [labels[name] for name in ("name", "state", "le") if name in labels]


def ended(server: HubServer) -> Figures:
    return {labels[1:]: value for labels, value in figures(server).items() if labels[0] == "s_ended_total" and value}


# Counting.


def test_ends_are_counted_by_name_and_state(server: HubServer) -> None:
    server.publish(start("a", name="n"), start("b", name="n"), start("c", name="m"), start("d"))
    server.publish(complete("a"), failed("b"), cancelled("c"), complete("d"))
    assert ended(server) == {
        ("n", "complete"): 1,
        ("n", "failed"): 1,
        ("m", "cancelled"): 1,
        ("", "complete"): 1,
    }


@pytest.mark.parametrize("one_batch", [True, False])
def test_end_is_counted_once_with_several_events_in_a_batch(server: HubServer, one_batch: bool) -> None:
    events = [
        start("op", name="n", queued=True),
        start("op", name="n"),
        progress("op", 10),
        failed("op"),
        start("op"),
        complete("op"),
        start("op", queued=True),
        cancelled("op"),
        start("op"),
    ]
    for batch in [events] if one_batch else [[event] for event in events]:
        server.publish(*batch)
    assert ended(server) == {("n", "failed"): 1, ("n", "complete"): 1, ("n", "cancelled"): 1}
    found = figures(server)
    assert found["_duration_seconds_count", "n"] == 1
    assert found["_queued_seconds_count", "n"] == 1
    assert (found["s_live", "running"], found["s_live", "queued"]) == (1, 0)


def test_refused_and_repeated_events_are_not_counted(server: HubServer) -> None:
    event = {**complete("op"), "event_id": "an-event-id-0001"}
    server.publish(start("op", name="n"), event)
    server.publish(event)
    httpx.post(f"{server.http}/v1/events", json=failed("op"))
    assert ended(server) == {("n", "complete"): 1}


def test_durations_and_queue_times_are_histograms(server: HubServer) -> None:
    at = "2025-07-30T12:00:{:02}Z".format
    server.publish(
        {**start("a", name="n", queued=True), "timestamp": at(0)},
        {**start("a"), "timestamp": at(10)},
        {**complete("a"), "timestamp": at(30)},
        start("b", name="n"),
        complete("b", duration_ms=100_000_000),
        start("c", name="n"),
        failed("c"),
    )
    found = figures(server)
    buckets = {labels[-1]: value for labels, value in found.items() if labels[:2] == ("_duration_seconds_bucket", "n")}
    assert (buckets["15.0"], buckets["60.0"], buckets["86400.0"], buckets["+Inf"]) == (0, 1, 1, 2)
    assert found["_duration_seconds_sum", "n"] == 100_020
    assert found["_duration_seconds_count", "n"] == 2
    assert found["_queued_seconds_sum", "n"] == 10
    assert found["_last_success_timestamp_seconds", "n"] > 1_753_876_800


def test_live_operations_are_counted_by_state(server: HubServer) -> None:
    server.publish(start("a"), start("b", queued=True), start("c", queued=True), start("d"), complete("d"))
    found = figures(server)
    assert (found["s_live", "running"], found["s_live", "queued"]) == (1, 2)


@pytest.mark.parametrize(("duration_s", "bucket"), [(0.0, 0), (1.0, 0), (1.1, 1), (86_400.0, 9), (86_401.0, 10)])
def test_value_at_a_bound_counts_in_its_bucket(duration_s: float, bucket: int) -> None:
    histogram = Histogram()
    histogram.observe(duration_s)
    assert histogram.counts.index(1) == bucket


@pytest.mark.parametrize(
    ("name", "command", "label"),
    [
        ("make test -j4", "/usr/bin/make test -j4", "make"),
        ("make test", "/usr/bin/make test -j4", "make test"),
        ("python train.py --rate=0.1 --na…", "python train.py --rate=0.1 --name x", "python"),
        ("python train.py --rate=0.1 --na...", "python train.py --rate=0.1 --name x", "python"),
        ("Nightly import", "/usr/bin/make import", "Nightly import"),
        ("make", "/usr/bin/make", "make"),
        ("a b", None, "a b"),
        ("a b", "'/opt/my programs/a' b", "a b"),
    ],
)
def test_command_line_as_a_name_counts_under_its_program(name: str, command: str | None, label: str) -> None:
    assert label_of(name, command) == label


# The bound of names.


def test_names_beyond_a_hundred_are_merged_oldest_first(server: HubServer) -> None:
    for number in range(MAX_NAMES + 20):
        server.publish(start(f"op-{number}", name=f"n{number}"), complete(f"op-{number}", duration_ms=1))
    found = ended(server)
    assert len(found) == MAX_NAMES + 1
    assert found["other", "complete"] == 20
    assert ("n19", "complete") not in found
    assert found["n20", "complete"] == 1
    server.publish(start("again", name="n20"), complete("again"), start("late", name="late"), complete("late"))
    found = ended(server)
    assert (found["n20", "complete"], found["other", "complete"], ("n21", "complete") in found) == (2, 21, False)
    assert figures(server)["_duration_seconds_count", "other"] == 21
    assert sum(found.values()) == MAX_NAMES + 22


def test_operation_named_other_counts_as_other(server: HubServer) -> None:
    server.publish(start("op", name="other"), complete("op"))
    assert ended(server) == {("other", "complete"): 1}


def test_long_and_unusual_names_are_exported(server: HubServer) -> None:
    names = ["x" * 5_000 + "1", "x" * 5_000 + "2", 'a"b\\c\n', "ä"]
    for number, name in enumerate(names):
        server.publish(start(f"op-{number}", name=name), complete(f"op-{number}"))
    assert ended(server) == {
        ("x" * 200, "complete"): 2,
        ('a"b\\c\n', "complete"): 1,
        ("ä", "complete"): 1,
    }


def test_counted_operations_are_bounded() -> None:
    with HubServer(retention=Retention(operations=100)) as server:
        for first in range(0, 3_000, 100):
            server.publish(*(complete(f"op-{number}") for number in range(first, first + 100)))
        assert server.call(lambda: len(server.app.running().operation_metrics._counted)) < 1_300
        assert ended(server) == {("", "complete"): 3_000}


# Restarts.


async def test_restarted_hub_resets_counts_and_keeps_the_last_success(tmp_path: Path) -> None:
    def make() -> HubApp:
        return HubApp(lambda loop: SqliteLog(tmp_path, loop, lambda: secrets.token_hex(4), ballast_bytes=0))

    async def ask(app: HubApp, *events: dict[str, Any]) -> Figures:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.post("/v1/events", json=events)
            assert all("position" in result for result in answer.json()["results"])
            return _samples((await client.get("/metrics")).text)

    app = make()
    before = await ask(
        app, start("a", name="n"), complete("a"), start("b", name="n"), start("q", name="n", queued=True)
    )
    app.stop()
    app = make()
    after = await ask(app)
    assert after["s_ended_total", "n", "complete"] == 0
    assert after["_last_success_timestamp_seconds", "n"] == before["_last_success_timestamp_seconds", "n"]
    after = await ask(app, failed("b"), start("q"), start("a"), complete("a"))
    app.stop()
    assert after["s_ended_total", "n", "failed"] == 1
    assert after["s_ended_total", "n", "complete"] == 1
    assert after["_queued_seconds_count", "n"] == 1
