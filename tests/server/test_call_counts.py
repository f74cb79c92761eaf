"""The cost of a request, counted: functions that are called, and writes to the socket."""

import asyncio
import gc
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from http.client import HTTPResponse
from types import FrameType
from typing import Any

import msgspec
from tests.server.hub_server import TIMEOUT_S, HubServer, update
from tests.server.recorder import RecordingServer

from tidings.access.control import AccessOptions
from tidings.access.keys import ApiKeyAuthenticator, generate_key
from tidings.contract.event_types import BUILTIN, list_channels
from tidings.testing.in_memory_hub import InMemoryHub

POSTS = 50
MAX_CALLS_PER_POST = 195
"""Python functions that are called for one event of one post, which has its own append, in every library: 180 are."""
MAX_CALLS_TO_IDENTIFY = 3
"""Those that are called in addition where the hub identifies its clients: 2 are, one of them for one more header. The
third is for the hub's timers."""


class Calls:
    """Counts what a thread calls, from `start` to `stop`: Python functions, and methods of C code by name."""

    def __init__(self) -> None:
        self.functions = 0
        self.methods: Counter[str] = Counter()

    def start(self) -> None:
        sys.setprofile(self._count)

    def stop(self) -> None:
        sys.setprofile(None)

    def _count(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "call":
            self.functions += 1
        elif event == "c_call":
            self.methods[called.__name__] += 1


def count(call: Callable[[Callable[[], None]], None], requests: Callable[[], object]) -> Calls:
    """Count what the server's thread, which `call` runs functions in, does for some requests."""
    calls = Calls()
    call(calls.start)
    try:
        requests()
    finally:
        call(calls.stop)
    return calls


def request(client: socket.socket, path: str, body: bytes, key: str = "") -> None:
    """Send a request in one segment, and receive the answer."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    authorization = f"\r\nAuthorization: Bearer {key}" if key else ""
    client.sendall(f"{head}{authorization}\r\n\r\n".encode() + body)
    with HTTPResponse(client) as response:
        response.begin()
        assert response.status == 200
        response.read()


def identified() -> tuple[AccessOptions, str]:
    """Return options with one API key, and the key."""
    keys = ApiKeyAuthenticator(list_channels(BUILTIN), time.time_ns)
    made, key = generate_key("nightly", ["publish data/*", "read data/*", "details"], now_ns=time.time_ns())
    keys.replace_keys([made])
    return AccessOptions(authenticators=[keys]), key


def count_posts(access: AccessOptions | None = None, key: str = "") -> Calls:
    """Count what the server does for `POSTS` posts of one event each."""
    with (
        HubServer(access=access) as server,
        socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as client,
    ):
        bodies = [msgspec.json.encode(update("item", number)) for number in range(POSTS)]
        request(client, "/v1/events", bodies[0], key)

        def post_all() -> None:
            for body in bodies:
                request(client, "/v1/events", body, key)

        return count(server.call, post_all)


def test_single_post_calls_few_functions() -> None:
    calls = count_posts()
    assert calls.functions <= POSTS * MAX_CALLS_PER_POST
    assert calls.methods["urandom"] <= 1, "random bytes for trace ids are read for many events"


def test_post_of_an_identified_client_calls_few_more() -> None:
    plain, calls = count_posts(), count_posts(*identified())
    assert calls.functions <= plain.functions + POSTS * MAX_CALLS_TO_IDENTIFY
    assert calls.methods["time_ns"] < plain.methods["time_ns"] + POSTS


def count_cycles(access: AccessOptions | None = None, key: str = "") -> int:
    """Count the objects that only the garbage collector can free after `POSTS` posts."""
    body = msgspec.json.encode(update("item", 1))
    with (
        HubServer(access=access) as server,
        socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as client,
    ):
        request(client, "/v1/events", body, key)
        gc.collect()
        gc.disable()
        try:
            for _ in range(POSTS):
                request(client, "/v1/events", body, key)
            return gc.collect()
        finally:
            gc.enable()


def test_post_of_an_identified_client_leaves_no_cycles() -> None:
    assert count_cycles(*identified()) < count_cycles() + POSTS


def count_events(access: AccessOptions | None = None, key: str | None = None) -> Calls:
    """Count what a hub does for `POSTS` events over a connection, each read by two others."""
    hub = InMemoryHub(access=access)
    publisher, *readers = (hub.connect("channels=none", token=key) for _ in range(3))
    for reader in readers:
        reader.subscribe("data/*")
    bodies = [json.dumps({**update("item", number), "id": "1"}).encode() for number in range(POSTS)]
    publisher.send_raw(bodies[0])
    hub.settle()

    def publish_all() -> None:
        for body in bodies:
            publisher.send_raw(body)
            hub.settle()

    calls = count(lambda run: run(), publish_all)
    assert [len(client.read_types()) for client in readers] == [POSTS + 4] * 2
    return calls


def test_event_of_an_identified_client_calls_no_function_more() -> None:
    # Less than one for each event: the collector, or a new block of random bytes, may call some.
    assert count_events(*identified()).functions < count_events().functions + POSTS


def test_head_and_body_of_an_answer_are_one_write() -> None:
    with (
        RecordingServer(asyncio.new_event_loop) as server,
        socket.create_connection(("127.0.0.1", server.port), TIMEOUT_S) as client,
    ):
        calls = count(server.call, lambda: request(client, "/body", b"hello"))
    assert calls.methods["send"] == 1
