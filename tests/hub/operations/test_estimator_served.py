"""Estimates as clients meet them: over a real socket, and in a hub whose clock a test moves."""

import asyncio

from tests.client.hub_server import HubServer

from tidings.client import connect
from tidings.hub.config import HubConfig
from tidings.protocol.payloads import OperationEstimateData
from tidings.testing.manual_hub import ManualHub


async def test_a_hub_that_is_served_tells_its_estimates() -> None:
    config = HubConfig(status_s=0, metrics_s=0, estimate_s=0.02)
    with HubServer(config=config) as hub:
        async with asyncio.timeout(20), connect(hub.url) as client, client.watch("operations") as watch:
            await client.publish("operation:start", {"operation_id": "a", "name": "import"})
            progress = 0.0
            estimate = None
            async for event in watch:
                if isinstance(event.payload, OperationEstimateData) and event.payload.remaining_s is not None:
                    estimate = event.payload
                    break
                progress += 1
                await client.publish("operation:progress", {"operation_id": "a", "progress": min(99, progress)})
        assert estimate is not None
        assert estimate.operation_id == "a"
        assert estimate.rate is not None
        assert estimate.rate > 0


def test_a_hub_in_memory_tells_them_when_its_clock_is_moved() -> None:
    with ManualHub() as hub:
        hub.publish("operation:start", {"operation_id": "a", "name": "import"})
        for progress in range(1, 11):
            hub.advance(10)
            hub.publish("operation:progress", {"operation_id": "a", "progress": progress})
        hub.advance(5)
        estimates = [event.payload for event in hub.events("operations/a") if event.type == "operation:estimate"]
    last = estimates[-1]
    assert isinstance(last, OperationEstimateData)
    assert last.remaining_s is not None
    assert 700 < last.remaining_s < 1_000
