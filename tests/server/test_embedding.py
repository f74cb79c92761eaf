import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.server.hub_server import QUIET, update

from tidings.exceptions import ConfigError, Draining, OperationFinished, TooDeep, UnknownType
from tidings.hub.config import HubConfig
from tidings.server.embedding import embedded_hub

CONFIG = HubConfig(**QUIET)


async def publish_and_read(data: Path | None) -> list[dict[str, Any]]:
    """Run an application with an embedded hub for one post, and return the events in its log."""
    hub = embedded_hub(data, config=CONFIG)
    app = Starlette(routes=[Mount("/tidings", hub)])
    transport = httpx.ASGITransport(app)
    async with hub.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://app.example.com") as client:
        (await client.post("/tidings/v1/events", json=update("a"))).raise_for_status()
        found: list[dict[str, Any]] = (await client.get("/tidings/v1/events")).json()["events"]
        return found


async def test_embedded_hub_with_a_folder_keeps_its_log(tmp_path: Path) -> None:
    first = await publish_and_read(tmp_path / "data")
    second = await publish_and_read(tmp_path / "data")
    assert len(first) == 1
    assert second[:1] == first
    assert len(second) == 2


async def test_embedded_hub_without_a_folder_keeps_no_log() -> None:
    assert [len(await publish_and_read(None)) for _ in range(2)] == [1, 1]


async def test_contract_bounds_the_log_lines_of_an_operation() -> None:
    hub = embedded_hub(config=CONFIG)
    async with hub.lifespan():
        transport = httpx.ASGITransport(hub)
        async with httpx.AsyncClient(transport=transport, base_url="http://app.example.com") as client:
            line = {"type": "operation:log", "data": {"operation_id": "o", "message": "m"}}
            for _ in range(2):
                (await client.post("/v1/events", json=[line] * 600)).raise_for_status()
            kept = (await client.get("/v1/events", params={"limit": 1000})).json()["events"]
    assert len(kept) == 1_000


def test_invalid_origin_raises_config_error() -> None:
    with pytest.raises(ConfigError):
        embedded_hub(allow_origins=["app.example.com"])


async def test_application_publishes_without_a_connection() -> None:
    hub = embedded_hub(config=CONFIG)
    async with hub.lifespan():
        begun = await hub.publish("operation:start", {"operation_id": "import"}, event_id="0123456789abcdef")
        again = await hub.publish("operation:start", {"operation_id": "import"}, event_id="0123456789abcdef")
        assert (begun.attempt, begun.duplicate) == (1, False)
        assert (again.position, again.duplicate) == (begun.position, True)
        await hub.publish("operation:complete", {"operation_id": "import"})
        with pytest.raises(OperationFinished):
            await hub.publish("operation:progress", {"operation_id": "import", "progress": 40})
        with pytest.raises(UnknownType):
            await hub.publish("import:start", {})
        with pytest.raises(TooDeep):
            await hub.publish("data:update", b'{"dataset":' + b"[" * 64 + b"]" * 64 + b"}")
        assert hub.hub.counters.accepted == 2
    with pytest.raises(Draining):
        await hub.publish("data:update", {"dataset": "a"})


async def test_cancelled_publisher_leaves_its_event_in_the_log() -> None:
    hub = embedded_hub(config=CONFIG)
    async with hub.lifespan():
        publishing = asyncio.create_task(hub.publish("data:update", {"dataset": "a"}))
        await asyncio.sleep(0)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        assert (await hub.publish("data:update", {"dataset": "b"})).position.endswith(":2")
