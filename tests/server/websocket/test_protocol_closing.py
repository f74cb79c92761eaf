"""The end of a connection, from either side."""

from contextlib import ExitStack

import pytest
from tests.server.conftest import LoopFactory
from tests.server.raw_client import RawClient, close, text
from tests.server.recorder import RecordingHandler, RecordingServer, connected

from tidings.server.websocket.frames import text_frame
from tidings.server.websocket.protocol import CLOSE_TIMEOUT_S


def test_peers_close_is_answered_and_reported(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        client.send(text(b"last"), close(4001, "enough"))
        assert (client.closing().code, handler.next_call()) == (4001, ("text", b"last"))
        assert handler.next_call() == ("closed", 4001, "enough")
        client.wait_eof()


def test_messages_after_our_close_are_dropped(server: RecordingServer) -> None:
    server.application.reactions["text"] = lambda handler, _: handler.socket.close(4100, "draining")
    with connected(server) as (client, handler):
        client.send(text(b"one"), text(b"two"))
        answer = client.closing()
        assert (answer.code, answer.reason) == (4100, "draining")
        client.send(text(b"three"), close(4100, "draining"))
        assert handler.next_call() == ("text", b"one")
        assert handler.next_call() == ("closed", 4100, "draining")
        client.wait_eof()


def test_writes_after_close_are_harmless(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        kept = handler.socket.write

        def close_and_write() -> None:
            handler.socket.close(1000)
            assert handler.socket.is_closing
            handler.socket.send_text(b"dropped")
            handler.socket.ping()
            handler.socket.close(4001)
            kept(text_frame(b"through a copy, in the same tick"))

        server.call(close_and_write)
        assert client.closing().code == 1000
        client.send(close(1000))
        assert handler.next_call()[:2] == ("closed", 1000)

        def write_after_the_end() -> None:
            handler.socket.send_text(b"dropped")
            handler.socket.close()
            handler.socket.pause_reading()
            handler.socket.resume_reading()

        server.call(write_after_the_end)
        assert handler.no_call()


def test_abort_ends_immediately_with_1006(server: RecordingServer) -> None:
    with connected(server) as (client, handler):

        def abort_and_write() -> None:
            kept = handler.socket.write
            handler.socket.abort()
            kept(b"through a copy, in the same tick")
            handler.socket.send_text(b"dropped")

        server.call(abort_and_write)
        assert handler.next_call() == ("closed", 1006, "")
        with pytest.raises((EOFError, ConnectionResetError)):
            client.frame()


def test_reset_during_a_message_reports_1006(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        client.send(text(b"one"), text(b"cut off")[:-2])
        assert handler.next_call() == ("text", b"one")
        client.reset()
        assert handler.next_call() == ("closed", 1006, "")
        assert server.connections == 0


def test_half_close_ends_the_connection_after_earlier_messages(server: RecordingServer) -> None:
    with connected(server) as (client, handler):
        client.send(text(b"last words"))
        client.socket.shutdown(1)  # SHUT_WR
        assert [handler.next_call(), handler.next_call()] == [("text", b"last words"), ("closed", 1006, "")]
        client.wait_eof()
        assert handler.no_call()


def test_peer_that_does_not_answer_the_close_is_aborted(
    server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tidings.server.websocket.protocol.CLOSE_TIMEOUT_S", 0.05)
    assert CLOSE_TIMEOUT_S > 1
    with connected(server) as (client, handler):
        server.call(handler.socket.close)
        assert client.closing().code == 1000
        assert handler.next_call() == ("closed", 1006, "")


def test_handler_error_closes_with_1011(server: RecordingServer, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_handler: RecordingHandler, _body: bytes) -> None:
        raise RuntimeError("as if the handler had a fault")

    server.application.reactions["text"] = fail
    with connected(server) as (client, handler):
        client.send(text(b"one"), text(b"two"))
        assert client.closing().code == 1011
        client.send(close(1011))
        assert [handler.next_call(), handler.next_call()[:2]] == [("text", b"one"), ("closed", 1011)]
    assert "as if the handler had a fault" in caplog.text


@pytest.mark.parametrize("where", ["opened", "pause"])
def test_handler_error_outside_a_message_closes_with_1011(
    server: RecordingServer, caplog: pytest.LogCaptureFixture, where: str
) -> None:
    def fail(handler: RecordingHandler) -> None:
        raise RuntimeError("as if the handler had a fault")

    server.application.reactions[where] = fail
    with connected(server) as (client, handler):
        if where == "pause":
            server.call(lambda: handler.socket.write(text_frame(bytes(8 * 1024 * 1024))))
        assert client.closing().code == 1011
    assert "as if the handler had a fault" in caplog.text


def test_handler_error_in_closed_is_logged(server: RecordingServer, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_handler: RecordingHandler, _code: int, _reason: str) -> None:
        raise RuntimeError("as if the handler had a fault")

    server.application.reactions["closed"] = fail
    with connected(server) as (client, handler):
        client.send(close(1000))
        assert client.closing().code == 1000
        client.wait_eof()
        assert handler.next_call() == ("closed", 1000, "")
        assert "as if the handler had a fault" in caplog.text


def test_drain_calls_shutdown_if_the_handler_has_it(loop_factory: LoopFactory) -> None:
    with ExitStack() as stack:
        with RecordingServer(loop_factory) as server:
            client = stack.enter_context(RawClient(server.port))
            client.open()
            handler = server.handler()
            handler.shutdown = lambda: handler.socket.close(4100, "draining")  # type: ignore[attr-defined]
        answer = client.closing()
    assert (answer.code, answer.reason) == (4100, "draining")
