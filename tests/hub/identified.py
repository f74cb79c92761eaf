"""A hub in memory that identifies its clients by a table of tokens."""

from collections.abc import Callable
from typing import Any

from tests.access.token_table import TokenTable

from tidings.log.base import Log
from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import InMemoryClient, InMemoryHub, Message


class IdentifyingHub:
    """A hub that identifies its clients by a table of tokens."""

    def __init__(self, *, clock: ManualClock | None = None, **more: Any) -> None:
        self.clock = clock or ManualClock()
        self.tokens = TokenTable(self.clock.wall_ns)
        self._options = more
        self.hub = InMemoryHub(clock=self.clock, access=self.tokens.options, **more)
        self.reopen: Callable[[], Log] | None = None
        """Opens the log again; None for a hub that does not restart."""

    def restart(self) -> None:
        """Close the log and open it again with another hub, if it can be opened again."""
        if self.reopen is not None:
            self.hub.hub.close()
            self.hub.log.close()
            more = {**self._options, "log": self.reopen()}
            self.hub = InMemoryHub(clock=self.clock, access=self.tokens.options, **more)

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
