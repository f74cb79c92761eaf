import asyncio
import contextlib
import subprocess
import sys

import pytest
from tests.client.hub_server import HubServer
from tests.client.tcp_proxy import TcpProxy
from tests.client.waiting import PROMPT, unanswered, until
from tests.nats_server import free_port
from websockets.asyncio.server import ServerConnection, serve

import tidings
from tidings.client import PUBLISH_TIMEOUT_S, Client, LinkOptions, State, Status, WindowLimits, connect
from tidings.client.options import OnChange
from tidings.exceptions import (
    ClientError,
    CommandRefused,
    ConfigError,
    ConnectionLost,
    HandshakeRefused,
    HubClosed,
    HubUnreachable,
    InvalidPayload,
    NotAHub,
    PublishTimeout,
)
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import OperationStartData


def in_flight(client: Client) -> int:
    return client._publisher.queue.unacknowledged


class TestConnecting:
    async def test_connect_awaited_or_entered_returns_a_connected_client(self, hub: HubServer) -> None:
        client = await tidings.connect(hub.url)
        assert client.state == "live"
        await client.aclose()
        assert client.state == "closed"
        connecting = connect(hub.url)
        async with connecting as entered:
            assert entered.state is State.LIVE
            with pytest.raises(ConfigError):
                await connecting.__aenter__()

    async def test_connect_uses_the_url_of_the_environment(
        self, hub: HubServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TIDINGS_URL", f"http://127.0.0.1:{hub.port}")
        async with connect() as client:
            assert client.url == hub.url

    async def test_connect_with_an_invalid_url_raises_immediately(self) -> None:
        with pytest.raises(ConfigError):
            connect("ftp://127.0.0.1:8765")

    async def test_connect_without_a_hub_raises_immediately(self) -> None:
        with pytest.raises(HubUnreachable):
            await connect(f"ws://127.0.0.1:{free_port()}/ws", options=PROMPT)

    async def test_connect_can_wait_for_a_hub(self) -> None:
        port = free_port()
        errors: list[Exception | None] = []
        connecting = asyncio.ensure_future(_connected(port, lambda status: errors.append(status.error)))
        await until(lambda: any(isinstance(error, HubUnreachable) for error in errors))
        with HubServer(port):
            client = await asyncio.wait_for(connecting, 60)
            assert client.status.error is None
            await client.aclose()

    async def test_connect_cancelled_while_waiting_leaves_nothing(self) -> None:
        told: list[Status] = []
        connecting = asyncio.ensure_future(_connected(free_port(), told.append))
        await until(lambda: bool(told))
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting

    async def test_connect_raises_for_a_refused_upgrade_even_if_it_waits(self, hub: HubServer) -> None:
        with pytest.raises(HandshakeRefused):
            await connect(f"ws://127.0.0.1:{hub.port}/elsewhere", wait_for_hub=True)

    async def test_server_without_a_greeting_is_not_a_hub(self) -> None:
        async def silent(connection: ServerConnection) -> None:
            await connection.wait_closed()

        async with serve(silent, "127.0.0.1", 0, subprotocols=["tidings.v1"]) as server:  # type: ignore[list-item]
            port = next(iter(server.sockets)).getsockname()[1]
            with pytest.raises(NotAHub, match="no greeting"):
                await connect(f"ws://127.0.0.1:{port}/ws", options=LinkOptions(open_timeout_s=1.0))

    async def test_chat_server_is_not_a_hub(self) -> None:
        async def chat(connection: ServerConnection) -> None:
            await connection.send("hello")
            await connection.wait_closed()

        async with serve(chat, "127.0.0.1", 0, subprotocols=["tidings.v1"]) as server:  # type: ignore[list-item]
            port = next(iter(server.sockets)).getsockname()[1]
            with pytest.raises(NotAHub, match="does not speak tidings"):
                await connect(f"ws://127.0.0.1:{port}/ws")

    async def test_proxy_that_never_answers_is_unreachable_after_the_timeout(
        self, hub: HubServer, proxy: TcpProxy
    ) -> None:
        proxy.stall()
        with pytest.raises(HubUnreachable, match=r"no answer within 0\.2 s"):
            await connect(proxy.url, options=LinkOptions(open_timeout_s=0.2))

    async def test_connect_cancelled_at_any_moment_leaves_nothing(self, hub: HubServer) -> None:
        for ticks in range(40):
            connecting = asyncio.ensure_future(_connected(hub.port, None))
            for _ in range(ticks):
                await asyncio.sleep(0)
            connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await connecting).aclose()
        await until(lambda: hub.connections() == 0)


async def _connected(port: int, on_change: OnChange | None) -> Client:
    return await connect(f"ws://127.0.0.1:{port}/ws", wait_for_hub=True, options=PROMPT, on_change=on_change)


class TestPublishing:
    async def test_publish_takes_structs_and_mappings_and_both_type_forms(self, hub: HubServer) -> None:
        async with connect(hub.url) as client:
            first = await client.publish(MessageType.OPERATION_START, OperationStartData(operation_id="a"))
            second = await client.publish("operation:start", {"operation_id": "b"})
            assert (first.duplicate, second.duplicate) == (False, False)
            assert first.position != second.position

    async def test_publish_with_an_event_id_is_idempotent(self, hub: HubServer) -> None:
        async with connect(hub.url) as client:
            first = await client.publish("data:update", {"dataset": "a"}, event_id="0123456789abcdef")
            again = await client.publish("data:update", {"dataset": "a"}, event_id="0123456789abcdef")
            assert (again.position, again.duplicate) == (first.position, True)
            with pytest.raises(CommandRefused) as caught:
                await client.publish("data:update", {"dataset": "b"}, event_id="0123456789abcdef")
            assert caught.value.refusal == "event_id_reused"

    async def test_publish_refusal_has_code_and_hint_and_ends_nothing(self, hub: HubServer) -> None:
        async with connect(hub.url) as client:
            with pytest.raises(CommandRefused) as caught:
                await client.publish("operation:progress", {"operation_id": "a", "progress": 101})
            assert caught.value.refusal == "invalid_payload"
            assert caught.value.hint
            assert not caught.value.recoverable
            await client.publish("operation:progress", {"operation_id": "a", "progress": 100})

    async def test_publish_refuses_a_payload_that_is_not_json(self, hub: HubServer) -> None:
        async with connect(hub.url) as client:
            with pytest.raises(InvalidPayload):
                await client.publish("data:update", {"dataset": object()})

    async def test_publish_uses_the_given_channel_and_trace(self, hub: HubServer) -> None:
        async with connect(hub.url) as client, client.watch("global", since="now") as watch:
            await watch.wait_until_live()
            await client.publish("data:update", {"dataset": "a"}, channel="global", trace_id="t-1")
            event = await anext(watch)
            assert (event.channel, event.trace_id) == ("global", "t-1")

    async def test_publish_without_an_answer_raises_publish_timeout(self, hub: HubServer, proxy: TcpProxy) -> None:
        async with connect(proxy.url, options=PROMPT) as client:
            proxy.stall()
            with pytest.raises(PublishTimeout) as caught:
                await client.publish("data:update", event_id="0123456789abcdef", timeout_s=0.1)
            assert "0123456789abcdef" in caught.value.hint
            assert caught.value.event_id == "0123456789abcdef"
            proxy.drop()
            proxy.resume()
            accepted = await client.publish("data:update", event_id="0123456789abcdef")
            assert hub.call(lambda: hub.app.hub.log.head) == 1
            assert accepted.position == hub.call(lambda: str(hub.app.hub.log.position(1)))

    @pytest.mark.parametrize("timeout_s", [PUBLISH_TIMEOUT_S, None])
    async def test_closing_raises_for_publications_without_an_answer(
        self, hub: HubServer, proxy: TcpProxy, timeout_s: float | None
    ) -> None:
        client = await connect(proxy.url, options=PROMPT)
        proxy.stall()
        publishing = [asyncio.create_task(client.publish("data:update", timeout_s=timeout_s)) for _ in range(3)]
        await until(lambda: unanswered(client) == 3)
        await client.aclose()
        for task in publishing:
            with pytest.raises(ConnectionLost):
                await task
        with pytest.raises(ConnectionLost):
            await client.publish("data:update")
        with pytest.raises(ClientError):
            client.watch("data")

    async def test_publish_waits_beyond_the_window(self, hub: HubServer, proxy: TcpProxy) -> None:
        async with connect(proxy.url, options=PROMPT, window=WindowLimits(events=5)) as client:
            proxy.stall()
            tasks = [asyncio.create_task(client.publish("data:update", {"version": n})) for n in range(20)]
            await until(lambda: in_flight(client) == 5)
            assert not any(task.done() for task in tasks)
            proxy.resume()
            await asyncio.gather(*tasks)
            assert hub.call(lambda: hub.app.hub.log.head) == 20

    async def test_publish_cancelled_before_it_is_sent_is_never_sent(self, hub: HubServer, proxy: TcpProxy) -> None:
        async with connect(proxy.url, options=PROMPT) as client:
            proxy.refusing = True
            proxy.drop()
            await until(lambda: client.state is State.CONNECTING)
            task = asyncio.create_task(client.publish("data:update", {"dataset": "gone"}))
            await until(lambda: unanswered(client) == 1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            proxy.refusing = False
            await client.publish("data:update", {"dataset": "kept"})
            assert hub.call(lambda: hub.app.hub.log.head) == 1

    async def test_publish_cancelled_at_any_moment_does_not_affect_others(self, hub: HubServer) -> None:
        async with connect(hub.url, window=WindowLimits(events=3)) as client:
            kept = []
            for number in range(60):
                doomed = asyncio.create_task(client.publish("data:update", {"dataset": "x", "version": number}))
                kept.append(asyncio.create_task(client.publish("data:update", {"dataset": "y", "version": number})))
                for _ in range(number % 7):
                    await asyncio.sleep(0)
                doomed.cancel()
            accepted = await asyncio.gather(*kept)
            assert len({answer.position for answer in accepted}) == 60

    async def test_publish_after_a_final_close_code_raises_its_reason(self, hub: HubServer) -> None:
        client = await connect(hub.url, options=PROMPT)
        hub.close_all(4003, "not yours")
        await until(lambda: client.state is State.CLOSED)
        with pytest.raises(HubClosed, match="not yours"):
            await client.publish("data:update")
        assert isinstance(client.status.error, HubClosed)
        await client.aclose()

    async def test_publish_during_a_restart_of_the_hub_succeeds(self) -> None:
        with HubServer() as first:
            client = await connect(first.url, options=PROMPT)
            await asyncio.to_thread(first.stop)
        tasks = [asyncio.create_task(client.publish("data:update", {"version": number})) for number in range(50)]
        with HubServer(first.port) as second:
            positions = [answer.position for answer in await asyncio.gather(*tasks)]
            assert second.call(lambda: second.app.hub.log.head) == 50
            assert len(set(positions)) == 50
            await client.aclose()


class TestImporting:
    def test_client_imports_only_the_base_install(self) -> None:
        program = (
            "import sys, tidings\n"
            "assert not {'msgspec', 'websockets', 'asyncio'} & set(sys.modules), 'import tidings'\n"
            "tidings.connect\n"
            "import tidings.client.sync, tidings.producer.outbox.outbox\n"
            "heavy = {'structlog', 'starlette', 'uvicorn', 'uvloop', 'typer', 'rich', 'httpx', 'sqlite3'}\n"
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
            "above = ('tidings.hub', 'tidings.server', 'tidings.log')\n"
            "assert not [name for name in sys.modules if name.startswith(above)]\n"
        )
        subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)

    def test_ctrl_c_ends_a_watching_program_without_task_warnings(self, hub: HubServer) -> None:
        program = (
            "import asyncio, os, signal, sys, tidings\n"
            "async def main(url):\n"
            "    async with tidings.connect(url) as client:\n"
            "        watch = client.watch('data', since='now')\n"
            "        await watch.wait_until_live()\n"
            "        asyncio.get_running_loop().call_later(0.05, os.kill, os.getpid(), signal.SIGINT)\n"
            "        async for event in watch: pass\n"
            "try: asyncio.run(main(sys.argv[1]))\n"
            "except KeyboardInterrupt: print('interrupted')\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, hub.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
