from tests.hub.events import progress

from tidings.testing.in_memory_hub import InMemoryHub


def test_clients_of_both_revisions_read_the_same_log() -> None:
    hub = InMemoryHub()
    clients = {
        date: hub.connect(f"channel=operations&contract={date}", versioned=versioned)
        for date, versioned in (("2025-01-30", False), ("2025-07-30", True))
    }
    publisher = hub.connect("channels=none")
    publisher.send("operation:failed", {"operation_id": "a", "code": "c", "message": "m", "recoverable": False})
    publisher.send("operation:cancelled", {"operation_id": "b", "reason": "no more"})
    publisher.send("operation:progress", progress("c"))
    hub.settle()
    read = {date: client.read() for date, client in clients.items()}
    for date, messages in read.items():
        assert messages[0]["data"]["contract"]["version"] == date
    old = [message for message in read["2025-01-30"] if "channel" in message]
    new = [message for message in read["2025-07-30"] if "channel" in message]
    assert [event["type"] for event in old] == ["operation:error", "operation:error", "operation:progress"]
    assert [event["type"] for event in new] == ["operation:failed", "operation:cancelled", "operation:progress"]
    assert old[1]["data"]["code"] == "cancelled"
    assert old[1]["data"]["message"] == "no more"


def test_old_revision_applies_to_catch_up() -> None:
    hub = InMemoryHub()
    hub.connect("channels=none").send("operation:cancelled", {"operation_id": "b"})
    hub.settle()
    late = hub.connect("channel=operations&contract=2025-01-30&since=first", versioned=False)
    hub.settle()
    assert [event["type"] for event in late.read_events()] == ["operation:error"]


def test_revised_form_is_encoded_once() -> None:
    hub = InMemoryHub()
    for _ in range(5):
        for date in ("2025-01-30", "2025-07-30"):
            hub.connect(f"channel=operations&contract={date}")
    hub.settle()
    assert len(hub.hub.delivery.lanes) == 2
    before = hub.hub.delivery.ring.encodes
    hub.connect("channels=none").send("operation:progress", progress("c"))
    hub.settle()
    assert hub.hub.delivery.ring.encodes - before == 2


def test_old_revision_gets_no_deprecation_notice() -> None:
    hub = InMemoryHub()
    error = {"operation_id": "a", "code": "c", "message": "m", "recoverable": False}
    told = {}
    for date in ("2025-01-30", "2025-07-30"):
        client = hub.connect(f"channels=none&contract={date}")
        client.send("operation:error", {**error, "operation_id": date})
        hub.settle()
        told[date] = client.read_types()
    assert "connection:notice" not in told["2025-01-30"]
    assert "connection:notice" in told["2025-07-30"]


def test_unknown_revision_is_refused_with_the_known_ones() -> None:
    client = InMemoryHub().connect("contract=2024-01-01")
    refused = client.read()[1]
    assert refused["data"]["code"] == "not_supported"
    assert refused["data"]["hint"] == "Use one of 2025-01-30, 2025-07-30."
