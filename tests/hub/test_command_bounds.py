"""Commands have bounds, and their work grows in proportion to what they name."""

from unittest import mock

from msgspec import structs

from tidings.contract.contract import Contract
from tidings.hub.config import HubConfig
from tidings.hub.subscription_reports import MAX_PENDING_SUBSCRIPTIONS
from tidings.hub.type_notices import MAX_TYPE_NOTICES
from tidings.hub.undeclared_types import MAX_UNDECLARED_TYPES
from tidings.protocol.paths import Path
from tidings.testing.in_memory_hub import EPOCH, InMemoryClient, InMemoryHub

QUIET = HubConfig(status_s=0, metrics_s=0)
PER_COMMAND = 1_000
MAX_PATHS = 2_500


def read_many(hub: InMemoryHub, client: InMemoryClient, number: int) -> None:
    for first in range(0, number, PER_COMMAND):
        names = [f"data/{path:06}" for path in range(first, min(number, first + PER_COMMAND))]
        client.subscribe(*names, since="now")
        hub.settle()


def test_paths_of_a_connection_are_bounded() -> None:
    hub = InMemoryHub(structs.replace(QUIET, paths_of_connection=MAX_PATHS))
    client = hub.connect("channels=none")
    read_many(hub, client, MAX_PATHS - 1)
    client.read()
    client.subscribe("data/one-more", since="now")
    hub.settle()
    error = client.read()[0]["data"]
    assert error["code"] == "limit_exceeded"
    client.subscribe("data/000000", since="now")
    client.subscribe("data", since="now")
    hub.settle()
    assert [message["type"] for message in client.read()][:2] == ["channel:subscribed", "connection:error"]
    client.unsubscribe("*")
    client.subscribe("data", since="now")
    hub.settle()
    assert client.read()[-1]["type"] == "channel:live"


def test_work_of_many_paths_grows_with_their_number() -> None:
    with mock.patch.object(Path, "covers", autospec=True, side_effect=Path.covers) as covers:
        hub = InMemoryHub(QUIET)
        client = hub.connect("channels=none")
        read_many(hub, client, 2_000)
        client.unsubscribe(*["*"] * 1_000)
        hub.settle()
    assert covers.call_count < 20 * 2_000
    assert client.read()[-1]["data"]["channels"] == []


def test_rejected_unsubscribe_lists_a_few_paths() -> None:
    hub = InMemoryHub(QUIET)
    client = hub.connect("channels=none")
    read_many(hub, client, 1_000)
    client.read()
    client.unsubscribe("data/none")
    hint = client.read()[0]["data"]["hint"]
    assert hint.endswith("data/000019 and 981 others.")


def test_reading_stops_while_many_subscriptions_are_not_live() -> None:
    hub = InMemoryHub(QUIET)
    client = hub.connect("channels=none")
    for number in range(MAX_PENDING_SUBSCRIPTIONS):
        assert client.outlet.reading
        client.subscribe(f"data/{number}", since=f"{EPOCH}:1000000")
    assert not client.outlet.reading
    hub.loop.advance(QUIET.future_wait_s)
    hub.settle()
    assert client.outlet.reading
    assert [message["type"] for message in client.read()].count("channel:live") == MAX_PENDING_SUBSCRIPTIONS


def test_notices_about_types_are_bounded() -> None:
    hub = InMemoryHub(QUIET)
    client = hub.connect("channels=none")
    for turn in range(3):
        handles = [f"made:up_{number}_{turn}" for number in range(90)]
        client.send("channel:subscribe", {"channels": ["data"], "since": "now", "handles": handles})
    hub.settle()
    assert [message["type"] for message in client.read()].count("connection:notice") == MAX_TYPE_NOTICES


def test_undeclared_types_are_bounded() -> None:
    hub = InMemoryHub(QUIET, contract=Contract(lenient=True))
    client = hub.connect("channels=none")
    for number in range(MAX_UNDECLARED_TYPES):
        client.send(f"made:up_{number}", {})
        if number % 100 == 0:
            hub.settle()
    hub.settle()
    client.read()
    client.send("made:one_more", {})
    client.send("made:up_1", {})
    hub.settle()
    assert [message["data"].get("code") for message in client.read()] == ["limit_exceeded", None]
