import gc
import time
from collections import Counter
from contextlib import ExitStack

import pytest
from tests.heap import private_heap
from tests.server.raw_client import RawClient, close, handshake_request, masked, text
from tests.server.recorder import RecordingHandler, RecordingServer, connected
from websockets.frames import Opcode

from tidings.server.websocket import read_queue
from tidings.server.websocket.accept_queue import TICK_BUDGET_S, AcceptQueue
from tidings.server.websocket.frames import text_frame
from tidings.server.websocket.message_reader import MAX_MESSAGE_BYTES
from tidings.server.websocket.protocol import WebSocket

# The opening handshake.


def test_application_gets_the_handshake(server: RecordingServer) -> None:
    with RawClient(server.port) as client:
        response = client.open("/ws?since=first", headers=("Sec-WebSocket-Protocol: other, first",))
        handshake = server.application.handshakes.get(timeout=60)
        assert (handshake.path, handshake.query, handshake.scheme) == ("/ws", "since=first", "ws")
        assert handshake.subprotocol == "first"
        assert handshake.peer == client.socket.getsockname()
        assert "Sec-WebSocket-Protocol: first" in response


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/refused", (), 403),
        ("/broken", (), 500),
        ("/", ("Sec-WebSocket-Version: 8",), 400),  # a second one
    ],
)
def test_refusal_is_sent_before_the_upgrade(
    server: RecordingServer, path: str, headers: tuple[str, ...], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    with RawClient(server.port) as client:
        response = client.open(path, headers=headers)
        assert response.startswith(f"HTTP/1.1 {status} ")
        client.wait_eof()
    assert ("as if the application had a fault" in caplog.text) == (path == "/broken")
    assert server.application.handlers.empty()


def test_frames_written_in_opened_follow_the_101(server: RecordingServer) -> None:
    server.application.reactions["opened"] = lambda handler: handler.socket.send_text(b"welcome")
    with connected(server) as (client, _):
        assert client.frame().data == b"welcome"


def test_backpressure_in_opened_reaches_the_handler(server: RecordingServer) -> None:
    server.application.reactions["opened"] = lambda handler: handler.socket.write(bytes(8 * 1024 * 1024))
    with connected(server) as (_, handler):
        assert handler.next_call() == ("pause",)


def queue_openings(server: RecordingServer, count: int) -> list[int]:
    """Let new handshakes wait for `count` ticks, as a crowd before them would; return the list that records each
    turn."""
    turns: list[int] = []

    class Turn:
        def serve(self) -> bool:
            turns.append(len(turns))
            time.sleep(TICK_BUDGET_S)
            return True

        def refuse_busy(self) -> None:
            raise AssertionError("the queue has no limit")

    def queue() -> None:
        for _ in range(count):
            server.websocket.accept_queue.run(Turn(), "127.0.0.1")

    server.call(queue)
    return turns


def test_queued_handshake_loses_no_frame(server: RecordingServer) -> None:
    frame = text(b"two")
    turns = queue_openings(server, 40)
    with RawClient(server.port) as client:
        client.send(handshake_request(), text(b"one"), frame[:4])
        client.send(frame[4:])
        assert client.read_response().startswith("HTTP/1.1 101 ")
        handler = server.handler()
        assert len(turns) == 40
        assert [handler.next_call(), handler.next_call()] == [("text", b"one"), ("text", b"two")]


def test_client_lost_in_the_queue_is_not_opened(server: RecordingServer) -> None:
    queue_openings(server, 40)
    with RawClient(server.port) as client:
        client.send(handshake_request())
        client.reset()
    with connected(server):  # follows it in the queue
        assert server.application.handlers.empty()
        assert server.connections == 1


def test_client_that_floods_the_queue_is_aborted(server: RecordingServer) -> None:
    queue_openings(server, 60)
    with RawClient(server.port) as client:
        client.send(handshake_request())
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            client.send(bytes(64 * 1024 * 1024))
    assert server.application.handlers.empty()


# Messages.


def test_text_is_delivered_as_bytes(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        client.send(text("grüß dich €".encode()))
        assert handler.next_call() == ("text", "grüß dich €".encode())


def test_two_frames_of_one_segment_are_delivered(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        client.send(text(b"one"), text(b"two"))
        assert [handler.next_call(), handler.next_call()] == [("text", b"one"), ("text", b"two")]


def test_frame_sent_byte_by_byte_is_delivered(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        for byte in text(b"slow but whole"):
            client.send(bytes((byte,)))
        assert handler.next_call() == ("text", b"slow but whole")


def test_binary_messages_are_delivered_separately(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        client.send(masked(Opcode.BINARY, b"\xff\x00"))
        assert handler.next_call() == ("binary", b"\xff\x00")


def test_fragments_are_joined_with_a_ping_among_them(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        euro = "€".encode()
        client.send(text(euro[:1], fin=False), masked(Opcode.PING, b"alive?"))
        pong = client.frame()
        assert (pong.opcode, pong.data) == (Opcode.PONG, b"alive?")
        client.send(masked(Opcode.CONT, euro[1:2], fin=False), masked(Opcode.CONT, euro[2:]))
        assert handler.next_call() == ("text", euro)


def test_ping_is_answered_in_order_with_replies(server: RecordingServer) -> None:
    server.application.reactions["text"] = lambda handler, body: handler.socket.send_text(body)
    with connected(server) as (client, _):
        client.send(text(b"one"), masked(Opcode.PING, b"ping"), text(b"two"))
        received = [client.frame() for _ in range(3)]
        assert [frame.data for frame in received] == [b"one", b"ping", b"two"]


def test_pong_is_dropped(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        server.call(handler.socket.ping)
        assert client.frame().opcode is Opcode.PING
        client.send(masked(Opcode.PONG), text(b"after"))
        assert handler.next_call() == ("text", b"after")


def test_message_of_the_limit_is_delivered(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        client.send(text(b"x" * MAX_MESSAGE_BYTES))
        assert handler.next_call() == ("text", b"x" * MAX_MESSAGE_BYTES)


# Violations.


def test_message_over_the_limit_closes_with_1009(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        client.send(text(b"x" * (MAX_MESSAGE_BYTES + 1)) * 4)
        assert client.closing().code == 1009
        assert handler.next_call()[:2] == ("closed", 1009)
        client.wait_eof()


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(text(b"\xff"), id="whole"),
        pytest.param(text("€".encode()[:2], fin=False) + masked(Opcode.CONT, b"x"), id="across fragments"),
        pytest.param(text(b"\xed\xa0\x80"), id="a surrogate"),
        pytest.param(text(b"\xff") + text(b"after") + close(1000), id="with more behind it"),
    ],
)
def test_invalid_utf8_closes_with_1007(server: RecordingServer, sent: bytes) -> None:
    with connected(server) as (client, handler):
        client.send(text(b"before"), sent)
        assert client.closing().code == 1007
        assert [handler.next_call(), handler.next_call()[:2]] == [("text", b"before"), ("closed", 1007)]
        client.wait_eof()


def test_violation_closes_with_1002_after_earlier_messages(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        client.send(text(b"before"), text_frame(b"not masked"))
        assert client.closing().code == 1002
        assert [handler.next_call(), handler.next_call()[:2]] == [("text", b"before"), ("closed", 1002)]


def test_pings_without_reading_use_bounded_memory(server: RecordingServer) -> None:
    with connected(server, receive_buffer=4096) as (client, handler):
        pings = masked(Opcode.PING, b"p" * 125) * 100
        for _ in range(600):
            client.send(pings)
        client.send(text(b"done"))
        calls = [handler.next_call()]
        while calls[-1][0] in ("pause", "resume"):
            calls.append(handler.next_call())
        assert calls[-1] == ("text", b"done")
        # 60,000 Pongs are 7.6 MB; the kernel's buffers hold a part of them.
        assert server.call(handler.socket.write_buffer_size) < 100_000


# Flow control.


def test_messages_after_a_pause_in_a_segment_are_held(server: RecordingServer) -> None:
    server.application.reactions["text"] = lambda handler, _: handler.socket.pause_reading()
    with connected(server) as (client, handler):
        client.send(text(b"one"), text(b"two"), masked(Opcode.PING, b"alive?"), text(b"three"), close(1000))
        assert handler.next_call() == ("text", b"one")
        assert client.frame().data == b"alive?"  # still answered
        assert handler.no_call()

        def resume() -> None:
            handler.socket.resume_reading()
            assert handler.no_call()  # never during the call

        server.call(resume)
        assert handler.next_call() == ("text", b"two")
        server.call(resume)
        assert handler.next_call() == ("text", b"three")
        server.call(resume)
        assert handler.next_call() == ("closed", 1000, "")
        assert client.closing().code == 1000


def test_pause_and_resume_within_a_message_keep_the_order(server: RecordingServer) -> None:
    def blink(handler: RecordingHandler, _body: bytes) -> None:
        handler.socket.pause_reading()
        handler.socket.resume_reading()

    server.application.reactions["text"] = blink
    with connected(server) as (client, handler):
        client.send(*(text(b"%d" % n) for n in range(50)))
        assert [handler.next_call() for _ in range(50)] == [("text", b"%d" % n) for n in range(50)]
        client.send(text(b"still reading"))
        assert handler.next_call() == ("text", b"still reading")


def test_close_while_paused_receives_the_peers_close(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        server.call(handler.socket.pause_reading)
        client.send(text(b"unread"))
        server.call(handler.socket.close)
        assert client.closing().code == 1000
        client.send(close(1000))
        assert handler.next_call() == ("closed", 1000, "")


def test_close_after_a_held_close_answers_it(server: RecordingServer) -> None:
    server.application.reactions["text"] = lambda handler, _: handler.socket.pause_reading()
    with connected(server) as (client, handler):
        client.send(text(b"one"), text(b"two"), close(4001))
        assert handler.next_call() == ("text", b"one")
        server.call(handler.socket.close)
        assert client.closing().code == 4001
        assert handler.next_call() == ("closed", 4001, "")


def test_paused_reading_stops_the_client(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        server.call(handler.socket.pause_reading)
        frame = text(b"x" * 60_000)
        sent = client.send_until_blocked(frame)
        assert handler.no_call()
        assert sent < 16 * 1024 * 1024  # only the kernel's buffers
        server.call(handler.socket.resume_reading)
        for _ in range(sent // len(frame)):
            assert handler.next_call() == ("text", b"x" * 60_000)


def test_full_buffer_pauses_writing_during_write_and_resumes(server: RecordingServer) -> None:
    with connected(server, receive_buffer=4096) as (client, handler):

        def fill() -> int:
            handler.socket.set_write_buffer_limits(high=100_000, low=1_000)
            written = 0
            while handler.no_call():
                handler.socket.write(text_frame(b"x" * 60_000))
                written += 1
            assert handler.socket.write_buffer_size() > 100_000
            return written

        written = server.call(fill)
        assert handler.next_call() == ("pause",)
        for _ in range(written):
            assert client.frame().data == b"x" * 60_000
        assert handler.next_call() == ("resume",)


# The cost of a connection.


def test_open_connection_keeps_no_handshake_state(server: RecordingServer) -> None:
    of_the_opening = {"UpgradableHttpProtocol", "FlowControl", "HttpRequestParser", "Handshake", "Opening", "Headers"}

    with ExitStack() as stack:
        stack.enter_context(connected(server))  # fills the caches
        server.application.handshakes.get(timeout=60)
        stack.enter_context(private_heap())
        client, handler = stack.enter_context(connected(server))
        server.application.handshakes.get(timeout=60)
        client.send(text(b"settled"))
        handler.next_call()
        added = Counter(type(thing).__name__ for thing in gc.get_objects())
    assert added["ServedWebSocket"] == 1
    assert not of_the_opening & added.keys()


def test_idle_connections_schedule_no_timers(server: RecordingServer) -> None:
    with connected(server) as (_, handler):
        socket = handler.socket
        assert isinstance(socket, WebSocket)
        assert socket._timer is None
        assert not hasattr(socket, "__dict__")


def test_server_counts_open_connections(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        assert server.connections == 1
        client.send(close(1000))
        client.wait_eof()
        assert handler.next_call()[0] == "closed"
    deadline = time.monotonic() + 60
    while server.connections and time.monotonic() < deadline:
        time.sleep(0.005)
    assert server.connections == 0


def test_slow_messages_of_one_segment_take_several_turns(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_queue, "TURN_S", 0.0)  # each message exceeds the turn
    with connected(server) as (client, handler):
        before = server.call(lambda: handler.socket.read_queue.rounds)
        client.send(*[text(b"%d" % number) for number in range(10)])
        assert [handler.next_call() for _ in range(10)] == [("text", b"%d" % number) for number in range(10)]
        assert server.call(lambda: handler.socket.read_queue.rounds) - before >= 9


def test_close_in_a_message_before_the_peers_close_answers_it(server: RecordingServer) -> None:
    server.application.reactions["text"] = lambda handler, _: handler.socket.close(4000)
    with connected(server) as (client, _):
        client.send(text(b"one"), text(b"two"), close(4001))
        assert client.closing().code in (4000, 4001)
        client.wait_eof()


def test_handshake_beyond_the_queue_is_refused_with_503(server: RecordingServer) -> None:
    server.websocket.accept_queue = queue = AcceptQueue(rate=0.01)
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(server.port)) for _ in range(3)]
        assert clients[0].open().startswith("HTTP/1.1 101 ")
        clients[1].send(handshake_request(), text(b"early"))
        while not server.call(lambda: queue.waiting):
            pass
        clients[2].send(handshake_request(), text(b"early"))
        response = clients[2].read_response()
        assert response.startswith("HTTP/1.1 503 ")
        assert "Retry-After: 5" in response
