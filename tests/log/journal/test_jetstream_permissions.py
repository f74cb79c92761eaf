"""What the user of the hubs must be allowed to do at a NATS server, each with a server that refuses it."""

import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.nats_server import NatsServer

from tidings.exceptions import LogUnavailable
from tidings.log.journal.jetstream import JetStreamJournal, open_jetstream
from tidings.log.journal.jetstream_permissions import SUBSCRIBE, list_publish_permissions
from tidings.log.journal.jetstream_stream import JetStreamAddress, parse_address

STREAM = "hubs"
ADDRESS = parse_address(f"nats://127.0.0.1/{STREAM}")
PERMISSIONS = [f'publish "{subject}"' for subject in list_publish_permissions(ADDRESS)]
AT_OPENING = [each for each in PERMISSIONS if "STREAM.INFO" in each or "STREAM.CREATE" in each] + [
    'subscribe "_INBOX.>"'
]
MAX_WAIT_S = 30.0
ENTRY = b"x" * 50_000
ENTRIES = 60
"""More than the servers send without an answer."""


def documented_permissions() -> dict[str, list[str]]:
    text = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text()
    found = {name: re.search(rf"{name}: \[(.*?)\]", text, re.DOTALL) for name in ("publish", "subscribe")}
    return {name: [] if listed is None else re.findall('"([^"]+)"', listed[1]) for name, listed in found.items()}


def test_documentation_lists_the_permissions() -> None:
    assert documented_permissions() == {"publish": list_publish_permissions(ADDRESS), "subscribe": list(SUBSCRIBE)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server with one user who may do everything, and one for each permission, who has all others."""
    folder = tmp_path_factory.mktemp("nats")
    users = ["{user: all, password: x}"]
    for number, missing in enumerate([*PERMISSIONS, 'subscribe "_INBOX.>"']):
        publish = [f'"{subject}"' for subject in list_publish_permissions(ADDRESS) if f'"{subject}"' not in missing]
        subscribe = "_INBOX.>" if missing.startswith("publish") else "other"
        users.append(
            f"{{user: u{number}, password: x, permissions:"
            f' {{publish: [{", ".join(publish)}], subscribe: ["{subscribe}"]}}}}'
        )
    (folder / "server.conf").write_text(f"authorization: {{users: [{', '.join(users)}]}}")
    server = NatsServer(folder / "data", arguments=["-c", str(folder / "server.conf")])
    server.start()
    yield server
    server.stop()


def address_without(server: NatsServer, permission: str) -> JetStreamAddress:
    number = [*PERMISSIONS, 'subscribe "_INBOX.>"'].index(permission)
    return parse_address(f"nats://u{number}:x@127.0.0.1:{server.port}/{STREAM}")


async def remove_streams(server: NatsServer) -> None:
    journal = await open_jetstream(parse_address(f"nats://all:x@127.0.0.1:{server.port}/{STREAM}"))
    context = journal.connection.client.jetstream()
    for name in (ADDRESS.stream, ADDRESS.snapshot_stream):
        await context.delete_stream(name)
    journal.close()
    await journal.wait_closed()


@pytest.mark.parametrize("permission", AT_OPENING)
async def test_permission_that_is_missing_at_opening_is_named(server: NatsServer, permission: str) -> None:
    await remove_streams(server)
    with pytest.raises(LogUnavailable, match=re.escape(f"does not let the user {permission}")) as refusal:
        await open_jetstream(address_without(server, permission))
    assert "docs/cluster.md" in refusal.value.hint


@pytest.mark.parametrize("permission", [each for each in PERMISSIONS if each not in AT_OPENING])
async def test_permission_that_is_missing_later_is_named(
    server: NatsServer, permission: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    await remove_streams(server)
    journal = await open_jetstream(address_without(server, permission))
    working = asyncio.create_task(use_everything(journal))
    try:
        async with asyncio.timeout(MAX_WAIT_S):
            while f"does not let the user of the hubs {permission}: see docs/cluster.md" not in caplog.text:  # noqa: ASYNC110  # a line of the log has no event
                await asyncio.sleep(0.005)
    finally:
        working.cancel()
        journal.close()
        await journal.wait_closed()


async def use_everything(journal: JetStreamJournal) -> None:
    """Do all that a node does, each step also where the one before was refused."""
    received: list[int] = []
    journal.follow(0, lambda entries: received.extend(entry.seq for entry in entries), lambda *_: None)
    for _ in range(ENTRIES):
        journal.append(ENTRY)
    while len(received) < ENTRIES:  # noqa: ASYNC110  # a journal has no event for it
        await asyncio.sleep(0.005)
    await journal.entry(1)
    await journal.trim(1)
    await journal.snapshots.put("id", 0, b"chunk")
    await journal.snapshots.sweep(0.0)
    journal.close()
