"""Events and records for tests of single parts, made without a contract."""

from tidings.hub.hub import Hub
from tidings.log.base import EventToAppend, Record
from tidings.protocol.envelope import Event
from tidings.protocol.message_types import EventClass, SlotEffect
from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import InMemoryClient, Message

LATEST = frozenset({"operation:progress", "system:status"})
ENDS = frozenset({"operation:complete", "operation:failed", "operation:cancelled"})


def make_event(
    type: str = "data:update",
    key: str | None = None,
    *,
    channel: str | None = None,
    trace_id: str = "t",
    data: bytes = b"{}",
    event_id: str | None = None,
) -> Event:
    domain = type.partition(":")[0]
    return Event(
        type=type,
        timestamp="2026-01-01T00:00:00Z",
        trace_id=trace_id,
        data=data,
        channel=channel or {"operation": "operations"}.get(domain, domain),
        key=key,
        event_class=EventClass.LATEST if type in LATEST else EventClass.DURABLE,
        event_id=event_id,
        effect=SlotEffect.END if type in ENDS else SlotEffect.REPLACE,
    )


def make_entry(event: Event, scope: str = "") -> EventToAppend:
    return EventToAppend(event, ManualClock().wall_ns(), scope)


def make_record(offset: int, event: Event | None = None) -> Record:
    return Record(offset, event or make_event(), 0)


def update(dataset: str = "d", **more: object) -> Message:
    return {"dataset": dataset, **more}


def progress(operation_id: str, percent: float = 1, **more: object) -> Message:
    return {"operation_id": operation_id, "progress": percent, **more}


def publish_updates(client: InMemoryClient, count: int, dataset: str = "d", size: int = 0) -> None:
    """Publish durable events, numbered after the client's last one."""
    for number in range(count):
        client.send("data:update", update(dataset, metadata={"n": number, "pad": "x" * size}))


def live(hub: Hub) -> int:
    """Return the number of live subscribers."""
    return sum(len(lane.members) for lane in hub.delivery.lanes)
