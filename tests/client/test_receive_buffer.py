import asyncio

import pytest

from tidings.client.events import Gap, ReceivedEvent
from tidings.client.receive_buffer import BufferLimits, ReceiveBuffer


def event(size: int = 10) -> ReceivedEvent:
    return ReceivedEvent(
        type="t:t", timestamp="", trace_id="", channel="data", key=None, payload=None, data=b"x" * size, position="e:1"
    )


async def started(*tasks: "asyncio.Task[object]") -> None:
    """Let tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


async def test_buffer_is_full_by_count_or_by_bytes() -> None:
    buffer = ReceiveBuffer(BufferLimits(events=2, bytes=1 << 20))
    buffer.put_nowait(event())
    assert not buffer.full
    buffer.put_nowait(Gap(after="a", until="b", reason="trimmed"))
    assert buffer.full
    heavy = ReceiveBuffer(BufferLimits(events=100, bytes=1_000))
    heavy.put_nowait(event(2_000))
    assert heavy.full
    assert heavy.bytes > 2_000
    heavy.take_nowait()
    assert (len(heavy), heavy.bytes) == (0, 0)


async def test_buffer_has_room_when_half_is_free() -> None:
    buffer = ReceiveBuffer(BufferLimits(events=4, bytes=1 << 20))
    for _ in range(4):
        buffer.put_nowait(event())
    waiting: asyncio.Task[object] = asyncio.create_task(buffer.wait_room())
    await started(waiting)
    buffer.take_nowait()
    await started(waiting)
    buffer.take_nowait()
    await asyncio.wait_for(waiting, 60)


async def test_closed_buffer_yields_its_items_and_then_raises() -> None:
    buffer = ReceiveBuffer(BufferLimits())
    buffer.put_nowait(event())
    buffer.close(ValueError("why"))
    buffer.close()
    assert buffer.closed
    assert await buffer.wait_item()
    buffer.take_nowait()
    with pytest.raises(ValueError, match="why"):
        await buffer.wait_item()
    await buffer.wait_room()


async def test_closing_wakes_both_waiters() -> None:
    buffer = ReceiveBuffer(BufferLimits(events=1))
    consumer: asyncio.Task[object] = asyncio.create_task(buffer.wait_item())
    await started(consumer)
    buffer.close()
    assert await asyncio.wait_for(consumer, 60) is False
    full = ReceiveBuffer(BufferLimits(events=1))
    full.put_nowait(event())
    link: asyncio.Task[object] = asyncio.create_task(full.wait_room())
    await started(link)
    full.close()
    await asyncio.wait_for(link, 60)


async def test_clearing_drops_all_items() -> None:
    buffer = ReceiveBuffer(BufferLimits())
    buffer.put_nowait(event())
    buffer.clear()
    assert (len(buffer), buffer.bytes) == (0, 0)
