"""Producers of an in-memory hub: they attach, publish, answer pushes and disconnect."""

from collections.abc import Callable
from typing import Any

from tidings.testing.in_memory_hub import InMemoryClient, InMemoryHub, Message


class Producer:
    """One producer and its current connection."""

    def __init__(self, hub: InMemoryHub, producer_id: str, *, lease_s: float | None = None) -> None:
        self.hub = hub
        self.producer_id = producer_id
        self.lease_s = lease_s
        self.unread: list[Message] = []
        self.settle: Callable[[], None] = hub.settle
        self.client: InMemoryClient

    def connect(self, *claims: Message) -> dict[str, str]:
        """Open a connection and attach; return the verdicts."""
        self.client = self.hub.connect("channels=none")
        return self.attach(*claims)

    def attach(self, *claims: Message) -> dict[str, str]:
        data: Message = {"producer_id": self.producer_id, "operations": list(claims)}
        if self.lease_s is not None:
            data["lease_s"] = self.lease_s
        answer = self.ask("producer:attach", data)
        assert answer["type"] == "producer:attached", answer
        return {verdict["operation_id"]: verdict["verdict"] for verdict in answer["data"]["operations"]}

    def ask(self, type: str, data: Any, **fields: Any) -> Message:
        """Send a command or an event and return its answer; other messages are kept in `unread`."""
        id = self.client.send(type, data, **fields)
        self.settle()
        answer = None
        for message in self.client.read():
            if message.get("reply_to") == id:
                answer = message
            elif message["type"] != "connection:established":
                self.unread.append(message)
        assert answer is not None, f"{type} was not answered"
        return answer

    def publish(self, action: str, operation_id: str, **data: Any) -> str:
        """Publish an event of an operation; return "ok", or the error code of its refusal."""
        answer = self.ask(f"operation:{action}", {"operation_id": operation_id, **FIELDS.get(action, {}), **data})
        return "ok" if answer["type"] == "event:accepted" else str(answer["data"]["code"])

    def pushes(self) -> list[Message]:
        """Return the cancel pushes received since the last call."""
        self.settle()
        self.unread += self.client.read()
        found = [message for message in self.unread if message["type"] == "operation:cancel"]
        self.unread.clear()
        return found

    def answer(self, push: Message, verdict: str, **data: Any) -> None:
        self.client.send("operation:cancel_answer", {"verdict": verdict, **data}, reply_to=push["id"], id=None)
        self.settle()

    def drop(self) -> None:
        self.client.drop()
        self.settle()


FIELDS: dict[str, Message] = {
    "progress": {"progress": 1},
    "log": {"message": "m"},
    "failed": {"code": "c", "message": "m", "recoverable": False},
}
