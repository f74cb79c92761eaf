"""What may happen to a stream and its server while hubs use it: with a real nats-server."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path

import nats
import pytest
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, StreamConfig, StreamInfo
from tests.client.tcp_proxy import TcpProxy
from tests.log.journal.harnesses import JetStreamHarness
from tests.nats_server import NatsServer

from tidings.exceptions import LogError, LogForeign, LogFull, LogTooNew, LogUnavailable
from tidings.log.journal import jetstream_connection, jetstream_follower
from tidings.log.journal.base import LossReason
from tidings.log.journal.jetstream import JetStreamJournal, open_jetstream
from tidings.log.journal.jetstream_connection import ServerConnection
from tidings.log.journal.jetstream_stream import FORMAT_KEY, has_majority, parse_address
from tidings.testing.journal_conformance import RecordingFollower, append, fill

_LARGE_BYTES = 512 << 10
_PAUSE_S = 0.05
_MAX_MOVE_S = 30.0
"""A node that waits for what it could not send does not move at all."""


@pytest.fixture
def harness() -> Iterator[JetStreamHarness]:
    with closing(JetStreamHarness()) as harness:
        yield harness


def administer(harness: JetStreamHarness, work: Callable[[JetStreamContext], Awaitable[object]]) -> None:
    """Do what an administrator does, over a connection of their own."""

    async def connect() -> None:
        connection = await nats.connect(harness.server.url)
        await work(connection.jetstream())
        await connection.close()

    harness.run(connect())


def test_killed_server_that_starts_again_loses_nothing(harness: JetStreamHarness) -> None:
    writer, other = RecordingFollower(harness.open()), RecordingFollower(harness.open())
    for number in range(10):
        append(harness, writer, b"before %d" % number)
    harness.server.stop()
    harness.run(asyncio.sleep(0.2))
    writer.journal.append(b"lost")
    assert isinstance(writer.journal.failure, LogUnavailable)
    harness.server.start()
    for number in range(10):
        append(harness, writer, b"after %d" % number)
    assert harness.wait_until(lambda: other.entries == writer.entries)
    assert writer.journal.failure is None
    assert [body for body in writer.bodies if body.startswith(b"before")] == [b"before %d" % n for n in range(10)]
    assert b"lost" not in writer.bodies
    assert writer.seqs == list(range(1, len(writer.seqs) + 1))
    assert (writer.losses, other.losses) == ([], [])


def test_consumer_that_is_silent_is_followed_by_another(
    harness: JetStreamHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No one tells a follower that its consumer was deleted, as by servers that lost it.
    monkeypatch.setattr(jetstream_follower, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(jetstream_follower, "SILENCE_S", 0.3)
    follower = fill(harness, 3)

    async def delete(context: JetStreamContext) -> None:
        for consumer in await context.consumers_info("hubs"):
            await context.delete_consumer("hubs", consumer.name)

    for number in range(3):
        administer(harness, delete)
        append(harness, follower, b"after %d" % number)
    assert follower.seqs == list(range(1, len(follower.seqs) + 1))
    assert follower.losses == []


def test_node_that_is_cut_off_in_a_large_message_moves_to_another_server(
    harness: JetStreamHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream_connection, "PING_S", 1)

    async def cut_off() -> None:
        async with TcpProxy(harness.server.port) as first, TcpProxy(harness.server.port) as second:
            hosts = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
            journal = await open_jetstream(parse_address(f"nats://{hosts}/hubs"))
            follower = RecordingFollower(journal)
            used, other = (first, second) if first.accepted else (second, first)
            used.stall()
            while not other.accepted:  # more than the buffers of the kernel take, until the node is somewhere else
                journal.append(bytes(_LARGE_BYTES))
                await asyncio.sleep(_PAUSE_S)
            while b"after" not in follower.bodies:
                journal.append(b"after")
                await asyncio.sleep(_PAUSE_S)
            journal.close()
            await journal.wait_closed()

    harness.run(asyncio.wait_for(cut_off(), _MAX_MOVE_S))


def test_stream_that_is_deleted_is_a_loss(harness: JetStreamHarness) -> None:
    follower = fill(harness, 3)

    async def delete(context: JetStreamContext) -> None:
        await context.delete_stream("hubs")

    administer(harness, delete)
    assert harness.wait_until(lambda: follower.losses)
    assert follower.losses == [LossReason.REWRITTEN]
    with pytest.raises(LogUnavailable, match="was deleted"):
        harness.run(follower.journal.look())
    follower.journal.append(b"to no one")
    assert harness.wait_until(lambda: follower.journal.failure is not None)


def test_stream_that_was_put_back_and_went_on_is_a_loss(harness: JetStreamHarness) -> None:
    follower = fill(harness, 8)
    harness.rewind(5)
    journal = harness.open()
    assert harness.wait_until(lambda: follower.losses)
    behind = RecordingFollower(journal, 5)
    for number in range(5):
        append(harness, behind, b"instead %d" % number)
    assert follower.losses == [LossReason.REWRITTEN]
    assert b"instead 4" not in follower.bodies


def test_full_stream_says_so_until_it_is_trimmed(harness: JetStreamHarness) -> None:
    address = parse_address(f"{harness.server.url}/hubs?max_bytes=20000")
    journal = harness.run(open_jetstream(address))
    harness.journals.append(journal)
    follower = RecordingFollower(journal)
    while journal.failure is None:
        journal.append(b"x" * 3_000)
        harness.wait_until(lambda: False)
    assert isinstance(journal.failure, LogFull)
    assert len(follower.entries) == 6
    harness.run(journal.trim(4))
    append(harness, follower, b"fits again")
    assert follower.seqs == list(range(1, len(follower.seqs) + 1))
    assert set(follower.bodies[6:]) == {b"fits again"}
    assert journal.failure is None


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"metadata": None}, LogForeign, "not created by tidings"),
        ({"metadata": {FORMAT_KEY: "2"}}, LogTooNew, "has format 2"),
        ({"max_age": 3600}, LogForeign, "max-age"),
        ({"discard": DiscardPolicy.OLD}, LogForeign, "discard"),
        ({"subjects": ["hubs.journal", "orders.*"]}, LogForeign, "subjects"),
        ({"max_msgs": 1000}, LogForeign, "max-msgs"),
        ({"sources": None, "deny_purge": True}, LogForeign, "sealed"),
    ],
)
def test_stream_that_could_lose_entries_is_refused(
    harness: JetStreamHarness, change: dict[str, object], error: type[LogError], text: str
) -> None:
    right = {
        "name": "hubs",
        "subjects": ["hubs.journal"],
        "discard": DiscardPolicy.NEW,
        "metadata": {FORMAT_KEY: "1"},
    }

    async def create(context: JetStreamContext) -> None:
        await context.add_stream(StreamConfig(**{**right, **change}))  # type: ignore[arg-type]

    administer(harness, create)
    with pytest.raises(error, match=text):
        harness.run(open_jetstream(harness.address))


def test_stream_that_no_server_has_room_for_is_refused(harness: JetStreamHarness) -> None:
    address = parse_address(f"{harness.server.url}/hubs?max_bytes={1 << 59}")
    with pytest.raises(LogUnavailable, match="insufficient storage") as caught:
        harness.run(open_jetstream(address))
    assert "max_bytes" in caught.value.hint


def test_server_without_jetstream_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.log.journal.jetstream_stream.OPENING_S", 0.5)
    server = NatsServer(tmp_path, jetstream=False)
    server.start()
    try:
        with pytest.raises(LogUnavailable, match="no server with JetStream") as caught:
            asyncio.run(open_jetstream(parse_address(f"{server.url}/hubs")))
        assert "--jetstream" in caught.value.hint
    finally:
        server.stop()


def test_server_that_is_away_and_credentials_that_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jetstream_connection, "OPENING_S", 0.5)
    server = NatsServer(tmp_path, arguments=["--user", "hub", "--pass", "right"])
    server.start()
    host = server.url.removeprefix("nats://")
    try:
        with pytest.raises(LogUnavailable, match="Authorization Violation") as caught:
            asyncio.run(open_jetstream(parse_address(f"nats://hub:wrong@{host}/hubs")))
        assert "wrong" not in str(caught.value)
        journal = asyncio.run(_open_and_close(f"nats://hub:right@{host}/hubs"))
        assert journal.failure is None
    finally:
        server.stop()
    with pytest.raises(LogUnavailable, match=host):
        asyncio.run(open_jetstream(parse_address(f"nats://{host}/hubs")))


def test_closed_connection_tries_no_server_again_though_a_cancellation_was_lost(tmp_path: Path) -> None:
    """As when a server ends in the moment in which its node ends: `asyncio.wait_for` of Python 3.11 loses it."""
    server = NatsServer(tmp_path)
    server.start()

    async def close_while_the_server_is_away() -> None:
        connection = ServerConnection(parse_address(f"{server.url}/hubs"), credentials="", tls=None, name="node")
        await connection.open()
        client = connection.client
        server.stop()
        while not client.is_reconnecting:  # noqa: ASYNC110 - the driver announces it to no one
            await asyncio.sleep(_PAUSE_S)
        connecting, client._reconnection_task = client._reconnection_task, None  # so that `close` does not cancel it
        assert connecting is not None
        await connection.close()
        ended, _ = await asyncio.wait([connecting], timeout=_MAX_MOVE_S)
        assert ended

    asyncio.run(close_while_the_server_is_away())


async def _open_and_close(url: str) -> JetStreamJournal:
    journal = await open_jetstream(parse_address(url))
    journal.close()
    await journal.wait_closed()
    return journal


@pytest.mark.parametrize(
    ("answered_s", "leads"),
    [
        ([], True),
        ([0.001, 1.2], True),
        ([0.001, 30.0], True),
        ([0.001, 0.0], True),
        ([3.5, 30.0], False),
        ([0.0], False),
    ],
)
def test_leader_that_few_servers_answer_is_not_believed(answered_s: list[float], leads: bool) -> None:
    replicas = [{"name": "other", "current": True, "active": int(seconds * 1e9)} for seconds in answered_s]
    info = StreamInfo.from_response(
        {
            "config": {"name": "hubs"},
            "state": {"messages": 0, "bytes": 0, "first_seq": 0, "last_seq": 0, "consumer_count": 0},
            "cluster": {"leader": "this", "replicas": replicas},
        }
    )
    assert has_majority(info) is leads


@pytest.mark.parametrize(
    ("url", "servers", "text"),
    [
        ("nats://a/hubs", ("nats://a",), "nats://a/hubs"),
        ("nats://u:p@a:1,b:2/hubs?replicas=3", ("nats://u:p@a:1", "nats://u:p@b:2"), "nats://a:1,b:2/hubs"),
        ("tls://a", ("tls://a",), "tls://a/tidings"),
    ],
)
def test_address_is_read(url: str, servers: tuple[str, ...], text: str) -> None:
    address = parse_address(url)
    assert address.servers == servers
    assert str(address) == text
    assert address.replicas == (3 if "replicas" in url else 1)


@pytest.mark.parametrize(
    "url",
    [
        "http://a/hubs",
        "nats:///hubs",
        "nats://a/hubs.of.mine",
        "nats://a/hubs/mine",
        "nats://a/hubs?replicas=0",
        "nats://a/hubs?replicas=x",
        "nats://a/hubs?replica=3",
    ],
)
def test_address_that_cannot_be_meant_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"journal|stream|number"):
        parse_address(url)
