"""Reading the bodies of requests: their times, and the memory for all that have not arrived whole."""

import asyncio
from typing import Any

import pytest
from tests.server.hub_server import HubServer
from tests.server.raw_client import RawClient

from tidings.exceptions import LogBusy, PayloadTooLarge, RequestTimeout
from tidings.server.http import body
from tidings.server.http.body import MAX_BODY_BYTES, BodyReader


class Sender:
    """A client that sends parts of a body when the test says so."""

    def __init__(self, reader: BodyReader) -> None:
        self.messages: asyncio.Queue[Any] = asyncio.Queue()
        self.reading = asyncio.create_task(reader.read(self.messages.get))

    async def send(self, part: bytes, *, more: bool = True) -> None:
        self.messages.put_nowait({"type": "http.request", "body": part, "more_body": more})
        for _ in range(3):  # the queue's getter, the reader, and one that was given up
            await asyncio.sleep(0)

    async def leave(self) -> None:
        self.messages.put_nowait({"type": "http.disconnect"})
        assert await self.reading is None


async def test_bodies_are_put_together() -> None:
    reader = BodyReader(budget_bytes=10)
    whole = Sender(reader)
    await whole.send(b"x" * 100, more=False)
    assert await whole.reading == b"x" * 100, "a body of one part needs no budget"
    parts = Sender(reader)
    await parts.send(b"\xef\xbb\xbfab")
    await parts.send(b"cde", more=False)
    assert await parts.reading == b"abcde"
    gone = Sender(reader)
    await gone.send(b"0123456789")
    await gone.leave()
    again = Sender(reader)
    await again.send(b"0123456789")
    await again.send(b"", more=False)
    assert await again.reading == b"0123456789", "the budget is free again"


async def test_body_over_the_limit_is_refused_and_not_kept() -> None:
    reader = BodyReader(budget_bytes=MAX_BODY_BYTES)
    large = Sender(reader)
    for _ in range(5):
        await large.send(b"x" * (MAX_BODY_BYTES // 4))
    other = Sender(reader)
    await large.send(b"", more=False)
    with pytest.raises(PayloadTooLarge):
        await large.reading
    await other.send(b"x" * MAX_BODY_BYTES)
    await other.send(b"", more=False)
    assert len(await other.reading or b"") == MAX_BODY_BYTES


async def test_silent_body_is_given_up_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_MIN_SILENCE_S", 0)
    reader = BodyReader(budget_bytes=100)
    silent, busy, other = Sender(reader), Sender(reader), Sender(reader)
    await silent.send(b"s" * 40)
    await busy.send(b"b" * 40)
    await other.send(b"o" * 40)
    with pytest.raises(RequestTimeout):
        await silent.reading
    for sender, letter in ((busy, b"b"), (other, b"o")):
        await sender.send(letter, more=False)
        assert await sender.reading == letter * 41


async def test_body_that_is_given_up_while_its_end_arrives_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_MIN_SILENCE_S", 0)
    reader = BodyReader(budget_bytes=50)
    silent, other = Sender(reader), Sender(reader)
    await silent.send(b"s" * 40)
    # Both arrive before the loop's next turn, in which the other is read first.
    other.messages.put_nowait({"type": "http.request", "body": b"o" * 40, "more_body": True})
    silent.messages.put_nowait({"type": "http.request", "body": b"s", "more_body": False})
    await other.send(b"", more=False)
    with pytest.raises(RequestTimeout):
        await silent.reading
    assert await other.reading == b"o" * 40


async def test_newcomer_has_to_wait_while_all_others_arrive() -> None:
    reader = BodyReader(budget_bytes=100)
    first, second = Sender(reader), Sender(reader)
    await first.send(b"x" * 80)
    await second.send(b"y" * 80)
    with pytest.raises(LogBusy):
        await second.reading
    await first.send(b"x", more=False)
    assert await first.reading == b"x" * 81


@pytest.mark.parametrize("sent", [b"", b'{"type":'], ids=["nothing", "a part"])
def test_post_whose_body_stops_is_answered(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(body, "BODY_TIMEOUT_S", 0.05)
    with HubServer() as server, RawClient(int(server.http.rpartition(":")[2])) as client:
        client.send(b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n", sent)
        assert client.read_response().startswith("HTTP/1.1 408 ")
