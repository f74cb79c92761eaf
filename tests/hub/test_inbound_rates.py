from typing import Any

import pytest

from tidings.access.grants import Grants
from tidings.access.subjects import Subject
from tidings.exceptions import RateLimited
from tidings.hub.config import HubConfig
from tidings.hub.inbound_rates import BURST_S, MAX_SENDERS, InboundRates, TokenBucket
from tidings.hub.rate_limits import MAX_OVERHEAD
from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import InMemoryClient, InMemoryHub, Message


def hub_with(**limits: float) -> InMemoryHub:
    return InMemoryHub(HubConfig(status_s=0, metrics_s=0, **limits))  # type: ignore[arg-type]


def publish(hub: InMemoryHub, client: InMemoryClient, count: int) -> list[Any]:
    """Publish events; return the answers: True, or the data of the error."""
    for number in range(count):
        client.send("data:update", {"dataset": f"d-{number}"})
    hub.settle()
    return answers(client.read())


def answers(messages: list[Message]) -> list[Any]:
    return [message["type"] != "connection:error" or message["data"] for message in messages if message.get("reply_to")]


def test_bucket_allows_a_burst_and_then_its_rate() -> None:
    clock = ManualClock()
    bucket = TokenBucket(10, "events", clock)
    waits: list[int] = []

    def take(count: int) -> int:
        allowed = 0
        for _ in range(count):
            try:
                bucket.take()
            except RateLimited as error:
                waits.append(error.retry_after_ms)
            else:
                allowed += 1
        return allowed

    assert take(200) == 10 * BURST_S
    clock.advance(1)
    assert take(200) == 10
    clock.advance(3_600)
    assert take(200) == 10 * BURST_S
    clock.advance(0.05)
    assert take(5) == 0
    clock.advance(0.06)
    assert take(5) == 1
    assert 1 <= min(waits) <= max(waits) <= 100


def test_retry_after_is_the_time_until_the_next_token() -> None:
    clock = ManualClock()
    bucket = TokenBucket(0.5, "events", clock)
    bucket.take()
    bucket.take()
    with pytest.raises(RateLimited) as caught:
        bucket.take()
    clock.advance(caught.value.retry_after_ms / 1000 - 0.01)
    with pytest.raises(RateLimited):
        bucket.take()
    clock.advance(0.02)
    bucket.take()


def test_events_beyond_the_rate_of_a_connection_may_be_sent_again_later() -> None:
    hub = hub_with(events_per_s=2)
    client, other = hub.connect("channels=none"), hub.connect("channels=none")
    results = publish(hub, client, 12)
    assert results.count(True) == 10
    error = next(result for result in results if result is not True)
    assert (error["code"], error["recoverable"], error["retry_after_ms"]) == ("rate_limited", True, 500)
    assert publish(hub, other, 1) == [True]
    hub.loop.advance(1)
    assert publish(hub, client, 3).count(True) == 2
    assert hub.hub.rates.refused_events == 3
    assert client.outlet.closed is None


def test_commands_have_a_limit_of_their_own() -> None:
    hub = hub_with(commands_per_s=1)
    client = hub.connect("channels=none")
    for _ in range(6):
        client.send("connection:ping")
    results = answers(client.read())
    assert results[:5] == [True] * 5
    assert results[5]["code"] == "rate_limited"
    assert publish(hub, client, 1) == [True]
    assert hub.hub.rates.refused_commands == 1


def test_progress_behind_a_refused_start_waits_for_the_start() -> None:
    hub = hub_with(events_per_s=1)
    client = hub.connect("channels=none")
    publish(hub, client, 5)
    client.send("operation:start", {"operation_id": "job"})
    hub.loop.advance(1)
    client.send("operation:complete", {"operation_id": "job"})
    hub.settle()
    results = answers(client.read())
    assert [result["code"] for result in results] == ["rate_limited", "rate_limited"]
    assert hub.hub.operations.life("job") is None


def test_client_that_goes_on_is_closed_for_abuse() -> None:
    hub = hub_with(events_per_s=1)
    client = hub.connect("channels=none")
    for _ in range(MAX_OVERHEAD + 6):
        client.send("data:update", {"dataset": "d"})
        client.read()
    hub.settle()
    assert client.outlet.closed is not None
    assert client.outlet.closed[0] == 4029


def subject(name: str) -> Subject:
    return Subject(name=name, grants=Grants())


def test_subject_has_one_bucket_for_all_that_it_sends() -> None:
    rates = InboundRates(HubConfig(subject_events_per_s=1, subject_commands_per_s=1), ManualClock())
    for _ in range(5):
        rates.check_event(subject("ada"))
        rates.check_command(subject("ada"))
    rates.check_event(subject("eve"))
    with pytest.raises(RateLimited, match="too many events of this subject: 1 per second are allowed"):
        rates.check_event(subject("ada"))
    with pytest.raises(RateLimited, match="too many commands of this subject"):
        rates.check_command(subject("ada"))


def test_address_has_one_bucket_for_all_that_it_posts() -> None:
    rates = InboundRates(HubConfig(posted_events_per_s=1), ManualClock())
    for _ in range(5):
        rates.check_posted("192.0.2.1")
    rates.check_posted("192.0.2.2")
    for _ in range(20):
        rates.check_posted("")
    with pytest.raises(RateLimited, match="too many events of this address: 1 per second are allowed"):
        rates.check_posted("192.0.2.1")
    assert rates.refused_events == 1


def test_buckets_of_subjects_are_bounded() -> None:
    rates = InboundRates(HubConfig(subject_events_per_s=1), ManualClock())
    for number in range(MAX_SENDERS + 100):
        rates.check_event(subject(str(number)))
    for _ in range(5):  # the first was forgotten, and begins with a full bucket
        rates.check_event(subject("0"))


def test_full_bucket_reads_no_clock() -> None:
    class CountingClock(ManualClock):
        readings = 0

        def monotonic(self) -> float:
            self.readings += 1
            return super().monotonic()

    clock = CountingClock()
    bucket = TokenBucket(1_000, "events", clock)
    before = clock.readings
    for _ in range(1_000):
        bucket.take()
    assert clock.readings == before


def test_connection_without_limits_has_no_buckets() -> None:
    assert InboundRates(HubConfig(), ManualClock()).connection() is None
