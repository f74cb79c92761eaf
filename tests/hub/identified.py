"""A hub in memory that identifies its clients by a table of tokens."""

from typing import Any

from tests.access.token_table import TokenTable

from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import InMemoryClient, InMemoryHub, Message


class IdentifyingHub:
    """A hub that identifies its clients by a table of tokens."""

    def __init__(self, **more: Any) -> None:
        clock = ManualClock()
        self.tokens = TokenTable(clock.wall_ns)
        self.hub = InMemoryHub(clock=clock, access=self.tokens.options, **more)

    def connect(self, token: str | None = None, query: str = "", **more: Any) -> InMemoryClient:
        client = self.hub.connect(query, token=token, **more)
        self.hub.settle()
        return client

    def ask(self, client: InMemoryClient, type: str, data: object = None, **fields: Any) -> Message:
        """Send a message and return its answer; drop what else arrives."""
        id = client.send(type, data, **fields)
        self.hub.settle()
        (answer,) = [message for message in client.read() if message.get("reply_to") == id]
        return answer


def code(message: Message) -> str:
    return str(message["data"]["code"])
