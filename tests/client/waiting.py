"""Waiting on conditions, for tests that must not sleep."""

import asyncio
from collections.abc import Callable

from tidings.client import Client
from tidings.client.options import LinkOptions
from tidings.client.reconnect import Reconnect

TIMEOUT_S = 60.0
PROMPT = LinkOptions(reconnect=Reconnect(base_s=0.01, cap_s=0.05), open_timeout_s=5.0)
"""Reconnects immediately, so that a test with fifty reconnects does not take a minute."""


async def until(condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
    """Wait until `condition` is true."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 -- conditions of any kind, also on other threads
            await asyncio.sleep(0.005)


def unanswered(client: Client) -> int:
    """Return the number of published events that have no answer yet."""
    return client._publisher.queue.left
