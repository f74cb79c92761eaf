import asyncio
from collections.abc import Callable

import pytest

from tidings.server.asgi.outlet import CHUNK_BYTES, MAX_WAITING_BYTES, BufferedOutlet


class Flow:
    """Records calls to pause and resume."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Client:
    """Accepts bytes when the test allows it."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, part: bytes) -> None:
        await self.open.wait()
        self.taken.append(part)


@pytest.fixture
def flow() -> Flow:
    return Flow()


@pytest.fixture
async def outlet(flow: Flow) -> BufferedOutlet:
    made = BufferedOutlet()
    made.attach(flow)
    return made


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the test waits for rounds of the loop
            await asyncio.sleep(0)


async def test_outlet_sends_writes_in_order_and_reports_unsent_bytes(outlet: BufferedOutlet, flow: Flow) -> None:
    client = Client()
    sending = asyncio.create_task(outlet.send_all(client.send))
    outlet.write(b"one")
    outlet.write(b"two")
    assert outlet.write_buffer_size() == 6
    await until(lambda: not outlet.write_buffer_size())
    assert (client.taken, flow.calls) == ([b"onetwo"], [])
    outlet.end()
    await sending


async def test_bytes_not_accepted_by_the_server_count_as_unsent(outlet: BufferedOutlet, flow: Flow) -> None:
    client = Client()
    client.open.clear()
    sending = asyncio.create_task(outlet.send_all(client.send))
    outlet.write(b"x" * MAX_WAITING_BYTES)
    await asyncio.sleep(0)
    assert flow.calls == []
    outlet.write(b"y" * 5)
    outlet.write(b"z" * 5)
    assert outlet.write_buffer_size() == MAX_WAITING_BYTES + 10
    assert flow.calls == ["pause"]
    client.open.set()
    await until(lambda: outlet.write_buffer_size() == 0)
    assert flow.calls == ["pause", "resume"]
    outlet.end()
    await sending


async def test_outlet_sends_at_most_one_chunk_at_a_time(outlet: BufferedOutlet) -> None:
    client = Client()
    for _ in range(5):
        outlet.write(b"x" * (CHUNK_BYTES // 2))
    outlet.close(1000, "")
    await outlet.send_all(client.send)
    assert [len(part) for part in client.taken] == [CHUNK_BYTES, CHUNK_BYTES, CHUNK_BYTES // 2]


async def test_close_sends_earlier_writes_and_nothing_after(outlet: BufferedOutlet) -> None:
    client = Client()
    outlet.write(b"before")
    outlet.close(4100, "draining")
    outlet.close(1000, "again")
    outlet.write(b"after")
    await outlet.send_all(client.send)
    assert client.taken == [b"before"]
    assert outlet.closing == (4100, "draining")


@pytest.mark.parametrize("early", [True, False], ids=["closed before sending", "closed while sending"])
async def test_client_that_reads_nothing_times_out_after_close(
    outlet: BufferedOutlet, monkeypatch: pytest.MonkeyPatch, early: bool
) -> None:
    monkeypatch.setattr("tidings.server.asgi.outlet.CLOSE_TIMEOUT_S", 0.01)
    client = Client()
    client.open.clear()
    outlet.write(b"x")
    if early:
        outlet.close(1000, "")
    sending = asyncio.create_task(outlet.send_all(client.send))
    await asyncio.sleep(0)
    outlet.close(1000, "")
    with pytest.raises(TimeoutError):
        await sending


async def test_end_drops_all_writes_silently(outlet: BufferedOutlet, flow: Flow) -> None:
    client = Client()
    sending = asyncio.create_task(outlet.send_all(client.send))
    await asyncio.sleep(0)
    outlet.write(b"x")
    outlet.end()
    outlet.write(b"y")
    await sending
    assert client.taken == []
    assert flow.calls == []
    assert outlet.write_buffer_size() == 0


async def test_end_may_come_during_a_send(outlet: BufferedOutlet, flow: Flow) -> None:
    client = Client()
    client.open.clear()
    sending = asyncio.create_task(outlet.send_all(client.send))
    outlet.write(b"x")
    await asyncio.sleep(0)
    outlet.end()
    client.open.set()
    await sending
    assert (flow.calls, outlet.write_buffer_size()) == ([], 0)


async def test_paused_reading_resumes_at_the_latest_on_close(outlet: BufferedOutlet) -> None:
    assert outlet.may_read.is_set()
    outlet.pause_reading()
    assert not outlet.may_read.is_set()
    outlet.resume_reading()
    assert outlet.may_read.is_set()
    outlet.pause_reading()
    outlet.close(1000, "")
    assert outlet.may_read.is_set()


async def test_direct_takes_whole_writes_up_to_a_bound(outlet: BufferedOutlet, flow: Flow) -> None:
    send = outlet.direct()
    assert send(b"x" * (MAX_WAITING_BYTES - 7)) == MAX_WAITING_BYTES - 7
    with pytest.raises(BlockingIOError):
        send(b"eight by")
    assert send(b"through") == 7
    assert (outlet.write_buffer_size(), flow.calls) == (MAX_WAITING_BYTES, [])


async def test_ping_and_empty_writes_do_nothing(outlet: BufferedOutlet) -> None:
    outlet.ping()
    outlet.write(b"")
    assert outlet.write_buffer_size() == 0


async def test_abort_ends_a_send_that_the_client_does_not_take(outlet: BufferedOutlet) -> None:
    client = Client()
    client.open.clear()
    sending = asyncio.create_task(outlet.send_all(client.send))
    outlet.write(b"x")
    await asyncio.sleep(0)
    outlet.abort()
    with pytest.raises(TimeoutError):
        await sending
    assert client.taken == []


async def test_close_after_the_sending_has_ended_does_nothing(outlet: BufferedOutlet) -> None:
    sending = asyncio.create_task(outlet.send_all(Client().send))
    await asyncio.sleep(0)
    outlet.end()
    await sending
    outlet.close(1001, "draining")
    assert outlet.closing == (1001, "draining")
