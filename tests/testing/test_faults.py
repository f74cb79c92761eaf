from collections.abc import Iterator

import pytest

import tidings
from tidings.client.sync import SyncClient
from tidings.client.sync import connect as connect_sync
from tidings.testing import Cut, Delay, Duplicate, FullDisk, ManualHub, Stall, Unreachable
from tidings.testing.faults import Faults, Injected


@pytest.fixture
def hub() -> Iterator[ManualHub]:
    with ManualHub() as hub:
        yield hub


@pytest.fixture
def client(hub: ManualHub) -> Iterator[SyncClient]:
    with connect_sync(hub.url) as client:
        yield client


def datasets(hub: ManualHub) -> list[str | None]:
    return [event.key for event in hub.events("data")]


def test_cut_before_a_message_makes_the_client_resend_it(hub: ManualHub, client: SyncClient) -> None:
    fault = hub.inject(Cut(before="data:update"))
    accepted = client.publish("data:update", {"dataset": "prices"})
    assert (fault.applied, accepted.duplicate) == (1, False)
    assert datasets(hub) == ["prices"]


def test_cut_after_a_message_stores_it_once(hub: ManualHub, client: SyncClient) -> None:
    fault = hub.inject(Cut(after="data:update"))
    accepted = client.publish("data:update", {"dataset": "prices"})
    assert (fault.applied, accepted.duplicate) == (1, True)
    assert datasets(hub) == ["prices"]


@pytest.mark.parametrize(("fault", "connections"), [({"before": "data:update"}, 3), ({"after": "data:update"}, 3)])
def test_watch_that_is_cut_receives_each_event_once(
    hub: ManualHub, client: SyncClient, fault: dict[str, str], connections: int
) -> None:
    with client.watch("data") as watch:
        watch.wait_until_live()
        injected = hub.inject(Cut(**fault, toward="client", link="watch", times=2))
        for number in range(5):
            hub.publish("data:update", {"dataset": f"d{number}"})
            hub.settle()
        assert [next(watch).key for _ in range(5)] == [f"d{number}" for number in range(5)]
        assert watch.statistics().connections == connections
        assert injected.applied == 2


def test_cut_needs_one_of_before_and_after() -> None:
    for wrong in ({}, {"before": "data:update", "after": "data:update"}):
        with pytest.raises(ValueError, match="one of before= and after="):
            Cut(**wrong)  # type: ignore[arg-type]


def test_delay_keeps_the_order_of_messages(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data") as watch:
        watch.wait_until_live()
        hub.inject(Delay(2, type="data:update", toward="client"))
        hub.publish("data:update", {"dataset": "slow"})
        hub.publish("data:processed", {"dataset": "behind"})
        hub.advance(1.9)
        assert watch.statistics().events == 0
        hub.advance(0.1)
        assert [next(watch).key, next(watch).key] == ["slow", "behind"]


def test_delay_in_both_directions_applies_twice(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data", since="now") as watch:
        watch.wait_until_live()
        with hub.inject(Delay(0.5)):
            hub.cut("watch")
            hub.settle()
            for moment, links in ((0.5, 2), (0.49, 2), (0.51, 2)):
                hub.advance(moment)
                assert len(hub.links) == links
                assert (watch.state is tidings.State.LIVE) is (moment == 0.51)


def test_delays_add_up(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data") as watch:
        watch.wait_until_live()
        hub.inject(Delay(1, toward="client"))
        hub.inject(Delay(2, toward="client", link="watch"))
        hub.publish("data:update", {"dataset": "slow"})
        hub.advance(2.9)
        assert watch.statistics().events == 0
        hub.advance(0.1)
        assert watch.statistics().events == 1


def test_delayed_events_are_lost_with_the_connection_and_read_again(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data") as watch:
        watch.wait_until_live()
        with hub.inject(Delay(60, toward="client", link="watch")):
            hub.publish("data:update", {"dataset": "once"})
        hub.cut("watch")
        hub.settle()
        assert next(watch).key == "once"
        hub.advance(120)
        assert (watch.statistics().events, watch.statistics().buffered) == (1, 0)


def test_duplicate_command_is_stored_once(hub: ManualHub, client: SyncClient) -> None:
    fault = hub.inject(Duplicate("data:update"))
    client.publish("data:update", {"dataset": "prices"})
    client.publish("data:update", {"dataset": "weather"})
    assert (fault.applied, datasets(hub)) == (1, ["prices", "weather"])


def test_duplicate_event_is_received_once(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data") as watch:
        watch.wait_until_live()
        with hub.inject(Duplicate("data:update", toward="client", times=None)) as fault:
            for number in range(10):
                hub.publish("data:update", {"dataset": f"d{number}"})
            hub.settle()
        assert (fault.applied, watch.statistics().duplicates, watch.statistics().events) == (10, 10, 10)


def test_stalled_reader_receives_everything_afterwards(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data") as watch:
        watch.wait_until_live()
        with hub.inject(Stall(link="watch")):
            for number in range(2_000):
                hub.publish("data:update", {"dataset": f"d{number}", "metadata": {"pad": "x" * 200}})
            hub.settle()
            assert watch.statistics().events == 0
        taken = [next(watch).key for _ in range(2_000)]
        assert taken == [f"d{number}" for number in range(2_000)]
        assert watch.statistics().connections == 1


def test_stalled_reader_receives_only_the_newest_latest_events(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("operations") as watch:
        watch.wait_until_live()
        with hub.inject(Stall(link="watch")):
            for number in range(2_000):
                progress = {"operation_id": "op-1", "progress": number / 20, "message": "x" * 200}
                hub.publish("operation:progress", progress)
            hub.publish("operation:complete", {"operation_id": "op-1"})
        hub.settle()
        assert watch.statistics().events < 1_000
        types = [next(watch).type for _ in range(watch.statistics().buffered)]
        assert types[-1] == "operation:complete"


def test_client_reconnects_when_the_hub_becomes_reachable(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data") as watch:
        watch.wait_until_live()
        with hub.inject(Unreachable(link="watch")):
            hub.cut()
            hub.advance(600)
            assert (hub.links, watch.state) == (["tidings publisher"], tidings.State.STALE)
            assert watch.status.error is not None
            assert "a fault is in force" in str(watch.status.error)
        hub.settle()
        assert watch.state is tidings.State.LIVE


def test_full_disk_refuses_publishing(hub: ManualHub, client: SyncClient) -> None:
    with hub.inject(FullDisk(times=2)) as fault:
        for _ in range(2):
            with pytest.raises(tidings.CommandRefused) as refused:
                client.publish("data:update", {"dataset": "prices"})
            assert (refused.value.refusal, refused.value.recoverable) == ("log_full", True)
        client.publish("data:update", {"dataset": "prices"})
    assert (fault.applied, datasets(hub)) == (2, ["prices"])
    with hub.inject(FullDisk()), pytest.raises(tidings.LogFull):
        hub.publish("data:update")
    hub.publish("data:update", {"dataset": "weather"})
    assert datasets(hub) == ["prices", "weather"]


def test_faults_apply_to_the_links_they_name(hub: ManualHub, client: SyncClient) -> None:
    hub.inject(Cut(before="data:update", link="nobody"))
    hub.inject(Delay(60, link="watch"))
    hub.inject(Stall(toward="hub", link="watch"))
    client.publish("data:update", {"dataset": "prices"})
    assert datasets(hub) == ["prices"]


def test_clear_faults_removes_all(hub: ManualHub, client: SyncClient) -> None:
    with client.watch("data") as watch:
        watch.wait_until_live()
        hub.inject(Stall(link="watch"))
        hub.publish("data:update", {"dataset": "prices"})
        hub.clear_faults()
        assert next(watch).key == "prices"


def test_several_faults_apply_together(hub: ManualHub, client: SyncClient) -> None:
    """With one fault of each kind in force, every event still arrives exactly once."""
    with client.watch("data") as watch:
        watch.wait_until_live()
        hub.inject(Cut(after="data:update", times=3))
        hub.inject(Cut(before="data:processed", toward="client", times=2))
        hub.inject(Duplicate("data:update", times=5))
        hub.inject(Duplicate("data:update", toward="client", times=None))
        hub.inject(FullDisk(times=1))
        published = 0
        while published < 20:
            try:
                client.publish("data:update", {"dataset": f"d{published}"}, event_id=f"prices-of-day-{published:04}")
            except tidings.CommandRefused:
                continue
            client.publish("data:processed", {"dataset": f"d{published}"})
            published += 1
        hub.settle()
        expected = [(kind, f"d{n}") for n in range(20) for kind in ("data:update", "data:processed")]
        assert [(event.type, event.key) for event in hub.events()] == expected
        assert [(event.type, event.key) for event in (next(watch) for _ in range(40))] == expected


def test_message_without_faults_is_unaffected() -> None:
    faults = Faults()
    assert not faults
    assert faults.passage("watch", "hub", "data:update") is faults.passage("publisher", "client", "data:update")
    injected = Injected(Stall(), faults.remove)
    faults.add(injected)
    assert faults.stalls("watch data", "client")
    assert not faults.stalls("watch data", "hub")
    injected.remove()
    injected.remove()
    assert not faults
