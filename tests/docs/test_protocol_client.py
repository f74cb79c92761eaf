"""PROTOCOL.md's "A client in 60 lines", run against a real hub that it loses and finds again."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.cli.processes import environment
from tests.client.hub_server import HubServer
from tests.client.tcp_proxy import TcpProxy
from tests.transcripts.markdown import Document

import tidings

[CLIENT] = [block.text for block in Document("PROTOCOL.md").blocks_in("python")]
TIMEOUT_S = 60.0


def test_client_has_60_lines() -> None:
    assert len(CLIENT.splitlines()) <= 60


@asynccontextmanager
async def running(file: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(file),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.fixture
def client(tmp_path: Path) -> Path:
    file = tmp_path / "follow.py"
    file.write_text(CLIENT)
    return file


async def read_version(process: asyncio.subprocess.Process) -> int:
    """Return the version in the next line that the client prints."""
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), TIMEOUT_S)
    kind, _, data = line.decode().partition(" ")
    assert kind == "data:update"
    version: int = json.loads(data)["version"]
    return version


async def test_client_after_a_drop_prints_each_event_once(client: Path) -> None:
    with HubServer() as hub:
        async with (
            TcpProxy(hub.port) as proxy,
            tidings.connect(hub.url) as publisher,
            running(client, proxy.url, "data") as process,
        ):
            await publisher.publish("data:update", {"dataset": "prices", "version": 1})
            assert await read_version(process) == 1
            proxy.refusing = True
            proxy.drop()
            # The snapshot would hold only the newest of these; resuming brings all.
            for version in (2, 3, 4):
                await publisher.publish("data:update", {"dataset": "prices", "version": version})
            proxy.refusing = False
            assert [await read_version(process) for _ in range(3)] == [2, 3, 4]


async def test_client_after_a_drain_resumes(client: Path) -> None:
    with HubServer() as hub:
        async with tidings.connect(hub.url) as publisher, running(client, hub.url, "data") as process:
            await publisher.publish("data:update", {"dataset": "prices", "version": 1})
            assert await read_version(process) == 1
            hub.close_all(4100, "the hub is shutting down", retry_after_ms=10)
            await publisher.publish("data:update", {"dataset": "prices", "version": 2})
            assert await read_version(process) == 2


async def test_client_after_a_final_close_code_exits(client: Path) -> None:
    with HubServer() as hub:
        async with tidings.connect(hub.url) as publisher, running(client, hub.url, "data") as process:
            await publisher.publish("data:update", {"dataset": "prices", "version": 1})
            assert await read_version(process) == 1
            hub.close_all(1008, "not you")
            _, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
            assert b"not you" in errors
            assert process.returncode == 1


async def test_client_with_an_unknown_channel_prints_the_hint(client: Path) -> None:
    with HubServer() as hub:
        async with running(client, hub.url, "weather") as process:
            _, errors = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
            assert errors.startswith(b"unknown_channel: ")
            assert process.returncode == 1
