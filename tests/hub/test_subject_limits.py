"""Limits of one subject: it uses up nothing of what the hub keeps for the others."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.hub.events import update
from tests.hub.identified import IdentifyingHub, code

from tidings.contract.contract import Contract
from tidings.hub.config import HubConfig
from tidings.hub.undeclared_types import MAX_UNDECLARED_TYPES_OF_SUBJECT
from tidings.log.base import Log, Retention
from tidings.log.memory import MemoryLog
from tidings.log.sqlite.log import SqliteLog
from tidings.operations.run_history import MAX_NAMES
from tidings.operations.table import MAX_LIVE_OF_OWNER
from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import EPOCH, InMemoryClient, InMemoryHub
from tidings.testing.loop import ManualLoop

OpenHub = Callable[[Retention], IdentifyingHub]


@pytest.fixture(params=["memory", "sqlite", "sqlite, opened again"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> OpenHub:
    """Return a function that opens a hub with two subjects, whose log is opened again after `reopen`."""

    def open_hub(retention: Retention) -> IdentifyingHub:
        def open_folder() -> Log:
            return SqliteLog(tmp_path, loop, lambda: next(epochs), retention=retention, ballast_bytes=0)

        clock = ManualClock()
        loop = ManualLoop(clock)
        epochs = iter(["0badc0de", "1badc0de"])
        log: Log = MemoryLog(EPOCH, retention) if request.param == "memory" else open_folder()
        served = IdentifyingHub(log=log, loop=loop, clock=clock, config=HubConfig(retention=retention))
        for name in ("ann", "eve"):
            served.tokens.add(name, "read *", "publish *")
        if request.param == "sqlite, opened again":
            served.reopen = open_folder
        request.addfinalizer(lambda: served.hub.log.close())
        return served

    return open_hub


def publish_all(served: IdentifyingHub, token: str, type: str, *payloads: object) -> InMemoryClient:
    client = served.connect(token)
    for payload in payloads:
        client.send(type, payload)
        served.hub.settle()
    return client


def test_keys_of_one_subject_evict_its_own_only(opened: OpenHub) -> None:
    served = opened(Retention(newest_per_type=100))
    publish_all(served, "ann", "data:update", *(update(f"ann-{number}") for number in range(10)))
    publish_all(served, "eve", "data:update", *(update(f"eve-{number}") for number in range(60)))
    served.restart()
    publish_all(served, "eve", "data:update", *(update(f"eve-{number}") for number in range(60, 300)))
    keys = [str(key) for key, _ in served.hub.log.newest.keys("data", "data:update")]
    assert sum(key.startswith("ann-") for key in keys) == 10
    assert 80 <= len(keys) <= 100
    assert "eve-299" in keys


def test_ended_operations_of_one_subject_evict_its_own_only(opened: OpenHub) -> None:
    served = opened(Retention(operations=100))
    publish_all(served, "ann", "operation:complete", *({"operation_id": f"ann-{number}"} for number in range(10)))
    publish_all(served, "eve", "operation:complete", *({"operation_id": f"eve-{number}"} for number in range(60)))
    served.restart()
    publish_all(served, "eve", "operation:complete", *({"operation_id": f"eve-{number}"} for number in range(60, 300)))
    ended = [status.operation_id for status in served.hub.hub.operations.ended]
    assert sum(operation_id.startswith("ann-") for operation_id in ended) == 10
    assert len(ended) <= 100


def test_names_of_one_subject_evict_its_own_only(opened: OpenHub) -> None:
    served = opened(Retention())
    run = publish_all(served, "ann", "operation:start", {"operation_id": "ann", "name": "import"})
    run.send("operation:complete", {"operation_id": "ann"})
    served.hub.settle()
    served.restart()
    eve = served.connect("eve")
    for number in range(MAX_NAMES + 10):
        eve.send("operation:start", {"operation_id": f"{number}", "name": f"n{number}"})
        eve.send("operation:complete", {"operation_id": f"{number}"})
        if number % 100 == 0:
            served.hub.settle()
    served.hub.settle()
    names = served.hub.hub.operations.names
    assert (len(names), "import" in names, "n0" in names) == (MAX_NAMES, True, False)


def test_live_operations_of_one_subject_are_bounded() -> None:
    served = IdentifyingHub()
    served.tokens.add("ann", "publish *")
    served.tokens.add("eve", "publish *")
    eve = served.connect("eve")
    for number in range(MAX_LIVE_OF_OWNER):
        eve.send("operation:start", {"operation_id": f"{number}"})
        if number % 500 == 0:
            served.hub.settle()
            eve.read()
    served.hub.settle()
    eve.read()
    refused = served.ask(eve, "operation:start", {"operation_id": "more"})
    assert code(refused) == "limit_exceeded"
    assert served.ask(eve, "operation:progress", {"operation_id": "1", "progress": 1})["type"] == "event:accepted"
    ann = served.connect("ann")
    assert served.ask(ann, "operation:start", {"operation_id": "more"})["type"] == "event:accepted"
    assert served.ask(eve, "operation:complete", {"operation_id": "1"})["type"] == "event:accepted"
    assert served.ask(eve, "operation:start", {"operation_id": "again"})["type"] == "event:accepted"


def test_live_operations_of_all_subjects_are_bounded() -> None:
    served = IdentifyingHub(config=HubConfig(live_operations=10))
    for name in ("ann", "eve"):
        served.tokens.add(name, "publish *")
    eve, ann = served.connect("eve"), served.connect("ann")
    for number in range(10):
        assert served.ask(eve, "operation:start", {"operation_id": f"{number}"})["type"] == "event:accepted"
    assert code(served.ask(eve, "operation:start", {"operation_id": "more"})) == "limit_exceeded"
    assert code(served.ask(eve, "operation:progress", {"operation_id": "more", "progress": 1})) == "limit_exceeded"
    for number in range(5):
        begun = served.ask(ann, "operation:start", {"operation_id": f"ann-{number}"})
        assert begun["type"] == "event:accepted", "a subject with less than its share may begin operations"
    assert code(served.ask(ann, "operation:start", {"operation_id": "ann-5"})) == "limit_exceeded"
    for number in range(6):
        assert served.ask(eve, "operation:complete", {"operation_id": f"{number}"})["type"] == "event:accepted"
    assert served.ask(eve, "operation:start", {"operation_id": "again"})["type"] == "event:accepted"


def test_live_operations_without_authentication_are_bounded() -> None:
    hub = InMemoryHub(config=HubConfig(live_operations=3))
    client = hub.connect()
    for number in range(3):
        client.send("operation:start", {"operation_id": f"{number}"})
    hub.settle()
    client.read()
    client.send("operation:start", {"operation_id": "more"}, id="refused")
    client.send("operation:complete", {"operation_id": "other"})
    client.send("operation:complete", {"operation_id": "1"})
    hub.settle()
    answers = client.read()
    assert [answer["data"]["code"] for answer in answers if answer["type"] == "connection:error"] == ["limit_exceeded"]
    assert len(hub.hub.operations) == 2


def test_undeclared_types_of_one_subject_are_bounded() -> None:
    served = IdentifyingHub(contract=Contract(lenient=True))
    served.tokens.add("ann", "publish data *")
    served.tokens.add("eve", "publish data *")
    eve = served.connect("eve")
    for number in range(MAX_UNDECLARED_TYPES_OF_SUBJECT):
        eve.send(f"x:t{number}", {})
    served.hub.settle()
    eve.read()
    assert code(served.ask(eve, "x:more", {})) == "limit_exceeded"
    assert served.ask(eve, "x:t1", {})["type"] == "event:accepted"
    assert served.ask(served.connect("ann"), "x:more", {})["type"] == "event:accepted"
