import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tidings.cli.serve.addresses import explain_in_use, find_addresses
from tidings.exceptions import AddressInUse
from tidings.server.serve import ListenAddress


@pytest.mark.parametrize(
    ("host", "place", "is_public"),
    [
        ("127.0.0.1", "127.0.0.1:8765", False),
        ("::1", "[::1]:8765", False),
        ("192.0.2.7", "192.0.2.7:8765", True),
        ("fe80::1%eth0", "[fe80::1%eth0]:8765", True),
        ("0.0.0.0", "127.0.0.1:8765", True),
        ("::", "[::1]:8765", True),
    ],
)
def test_addresses_can_be_connected_to(host: str, place: str, is_public: bool) -> None:
    found = find_addresses([ListenAddress(host, 8765)], ws_path="/ws", secure=False)
    assert (found.websocket, found.http) == (f"ws://{place}/ws", f"http://{place}/")
    assert found.is_public is is_public
    if found.elsewhere is not None:
        assert host in ("0.0.0.0", "::")
        assert "//0.0.0.0" not in found.elsewhere
        assert "//[::]" not in found.elsewhere


def test_one_public_address_among_several_counts() -> None:
    listening = [ListenAddress("127.0.0.1", 1), ListenAddress("192.0.2.7", 1)]
    assert find_addresses(listening, ws_path="/ws", secure=False).is_public


def test_greeting_of_a_default_hub_needs_no_url() -> None:
    greeting = find_addresses([ListenAddress("127.0.0.1", 8765)], ws_path="/ws", secure=False).greeting("1.2")
    assert greeting == (
        "tidings 1.2 listens on http://127.0.0.1:8765/. Ctrl-C stops it.\n"
        "Open it in a browser, or watch it with `tidings watch`, and report with `tidings run -- COMMAND`."
    )


def test_greeting_of_a_hub_without_a_dashboard_names_no_browser() -> None:
    found = find_addresses([ListenAddress("127.0.0.1", 8765)], ws_path="/ws", secure=False)
    assert found.greeting("1.2", has_dashboard=False).splitlines()[1].startswith("Watch it with `tidings watch`")


def test_greeting_of_another_hub_names_its_url() -> None:
    greeting = find_addresses([ListenAddress("::1", 9)], ws_path="/live", secure=True).greeting("1.2")
    assert "https://[::1]:9/" in greeting
    assert "`tidings watch --url wss://[::1]:9/live`" in greeting
    assert "`tidings run --url wss://[::1]:9/live -- COMMAND`" in greeting


@contextmanager
def answering(answer: bytes) -> Iterator[int]:
    """Answer one connection, and yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(65_536)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(60)


def in_use(port: int) -> AddressInUse:
    return AddressInUse("in use", host="127.0.0.1", port=port, hint="as before")


def test_port_of_another_hub_is_explained() -> None:
    body = json.dumps({"name": "tidings"}).encode()
    with answering(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)) as port:
        hint = explain_in_use(in_use(port)).hint
    assert hint.startswith(f"A hub listens there already: use it (`tidings watch --url http://127.0.0.1:{port}`)")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 404 No\r\n\r\n<html>",
    ],
)
def test_port_of_another_program_keeps_its_hint(answer: bytes) -> None:
    with answering(answer) as port:
        error = in_use(port)
        assert explain_in_use(error) is error
