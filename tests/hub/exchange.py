"""Hubs with one client, and summaries of the messages that a connection received."""

from tests.hub.events import progress

from tidings.hub.config import HubConfig
from tidings.log.memory import MemoryLog
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryClient, InMemoryHub, Message


def start(config: HubConfig | None = None, **more: object) -> tuple[InMemoryHub, InMemoryClient]:
    hub = InMemoryHub(config, **more)  # type: ignore[arg-type]
    publisher = hub.connect("channels=none")
    hub.settle()
    return hub, publisher


def faulty(config: HubConfig | None = None) -> tuple[InMemoryHub, InMemoryClient, FaultyLog]:
    log = FaultyLog(MemoryLog(EPOCH))
    hub, publisher = start(config, log=log)
    return hub, publisher, log


def publish_progress(hub: InMemoryHub, publisher: InMemoryClient, *percents: tuple[str, float]) -> None:
    for key, percent in percents:
        publisher.send("operation:progress", progress(key, percent))
    hub.settle()


def summarize(messages: list[Message]) -> list[tuple[str, object]]:
    """Summarize messages: an event by its offset, the others by their position."""
    summary: list[tuple[str, object]] = []
    for message in messages:
        data = message["data"]
        if "channel" in message:
            summary.append(("event", int(message["position"].partition(":")[2])))
        elif message["type"] == "channel:subscribed":
            summary.append((data["outcome"], int(data["position"].partition(":")[2])))
        elif message["type"] == "channel:live":
            summary.append(("live at", int(data["position"].partition(":")[2])))
        elif message["type"] == "channel:gap":
            summary.append((f"gap {data['reason']}", (data["after"], data["until"])))
        elif message["type"] == "channel:unsubscribed":
            summary.append(("unsubscribed", data["channels"]))
    return summary


def position(offset: int) -> str:
    return f"{EPOCH}:{offset}"


def connect(
    query: str = "", *, versioned: bool = True, config: HubConfig | None = None
) -> tuple[InMemoryHub, InMemoryClient]:
    """Return a new hub and a client of it that has read its greeting."""
    hub = InMemoryHub(config)
    client = hub.connect(query, versioned=versioned)
    hub.settle()
    client.read()
    return hub, client


def answer(hub: InMemoryHub, client: InMemoryClient) -> Message:
    """Let the hub finish its work, and return the only new message."""
    hub.settle()
    (message,) = client.read()
    return message
