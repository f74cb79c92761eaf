"""Requests to real servers: bounded in time, size, number and redirects."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import trustme
from tests.access.servers import reply, serving

from tidings.access import fetching
from tidings.access.fetching import HttpAnswer, HttpFetcher
from tidings.exceptions import AuthenticationUnavailable

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def void(result: object) -> None: ...


async def fetch(
    fetcher: HttpFetcher, url: str, headers: Mapping[str, str] | None = None
) -> HttpAnswer | AuthenticationUnavailable:
    answered: asyncio.Future[HttpAnswer | AuthenticationUnavailable] = asyncio.get_running_loop().create_future()
    fetcher(url, headers or {}, answered.set_result)
    return await answered


async def failure(fetcher: HttpFetcher, url: str) -> str:
    answer = await fetch(fetcher, url)
    assert isinstance(answer, AuthenticationUnavailable)
    return answer.message


async def test_answer_has_status_headers_and_body() -> None:
    seen: list[str | None] = []

    def handle(request: BaseHTTPRequestHandler) -> None:
        seen.append(request.headers["Cookie"])
        reply(request, b"body", 401, X_User="ada")

    with serving(handle) as url:
        answer = await fetch(HttpFetcher(), url, {"cookie": "session=1"})
    assert isinstance(answer, HttpAnswer)
    assert (answer.status, answer.body, answer.headers["x-user"]) == (401, b"body", "ada")
    assert seen == ["session=1"]


async def test_redirects_stay_within_the_origin() -> None:
    reached: list[str] = []

    def other(request: BaseHTTPRequestHandler) -> None:
        reached.append(request.headers["Authorization"])
        reply(request)

    with serving(other) as foreign:

        def handle(request: BaseHTTPRequestHandler) -> None:
            targets = {"/away": foreign, "/here": "/there", "/loop": "/loop", "/there": ""}
            target = targets[request.path]
            if target:
                reply(request, status=302, Location=target)
            else:
                reply(request, b"arrived")

        with serving(handle) as url:
            secret = {"authorization": "Bearer secret"}
            away = await fetch(HttpFetcher(), f"{url}/away", secret)
            here = await fetch(HttpFetcher(), f"{url}/here", secret)
            not_followed = await fetch(HttpFetcher(follow_redirects=False), f"{url}/here", secret)
            loop = await fetch(HttpFetcher(), f"{url}/loop", secret)
    assert isinstance(away, HttpAnswer)
    assert (away.status, reached) == (302, [])
    assert isinstance(here, HttpAnswer)
    assert (here.status, here.body) == (200, b"arrived")
    assert isinstance(not_followed, HttpAnswer)
    assert not_followed.status == 302
    assert isinstance(loop, HttpAnswer)
    assert loop.status == 302


async def test_answer_that_is_too_large_is_not_read() -> None:
    sent = 0

    def handle(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                request.wfile.write(b"x" * 65_536)
                sent += 65_536
        except OSError:
            return

    with serving(handle) as url:
        assert "larger than 1 MiB" in await failure(HttpFetcher(), url)
    assert sent < 16 << 20


async def test_server_that_hangs_is_given_up_while_the_loop_runs() -> None:
    release = threading.Event()

    def handle(request: BaseHTTPRequestHandler) -> None:
        release.wait()

    with serving(handle) as url:
        fetcher = HttpFetcher(timeout_s=0.2)
        turns = 0
        waiting = asyncio.ensure_future(failure(fetcher, url))
        while not waiting.done():
            turns += 1
            await asyncio.sleep(0)
        assert "in time" in waiting.result() or "within 0.2 s" in waiting.result()
        assert turns > 10, "the event loop goes on"
        release.set()


async def test_server_that_dribbles_is_given_up() -> None:
    release = threading.Event()

    def handle(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while not release.wait(0.02):
                request.wfile.write(b"x")
        except OSError:
            return

    with serving(handle) as url:
        assert "within 0.2 s" in await failure(HttpFetcher(timeout_s=0.2), url)
        release.set()


@pytest.mark.parametrize(
    ("begin", "more"),
    [(b"HTTP/1.1 200 OK\r\nX: ", b"x"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (CHUNKED + b"1;", b"x")],
    ids=["header", "continue", "chunk"],
)
async def test_answer_that_never_gets_on_holds_no_thread(begin: bytes, more: bytes) -> None:
    """The time limit of a socket begins again with each byte."""
    release = threading.Event()

    def handle(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(begin)
        with contextlib.suppress(OSError):
            while not release.wait(0.02):
                request.wfile.write(more)

    with serving(handle) as url:
        fetcher = HttpFetcher(timeout_s=0.2)
        assert "within 0.2 s" in await failure(fetcher, url)
        try:
            for thread in threading.enumerate():
                if thread.name == "tidings-fetch":
                    await asyncio.to_thread(thread.join, 30)
                    assert not thread.is_alive()
        finally:
            release.set()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nRemote-User: ad",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nRemote-User: ada\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
    ],
)
async def test_answer_that_is_cut_off_is_none(answer: bytes) -> None:
    with serving(lambda request: void(request.wfile.write(answer))) as url:
        assert await failure(HttpFetcher(), url) == "the answer is cut off"


async def test_repeated_headers_are_joined_and_noted() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nA: 1\r\na: 2\r\nB: 1\r\nb: 1\r\nC: 1\r\n\r\n"
    with serving(lambda request: void(request.wfile.write(head))) as url:
        answer = await fetch(HttpFetcher(), url)
    assert isinstance(answer, HttpAnswer)
    assert [answer.headers[name] for name in "abc"] == ["1, 2", "1", "1"]
    assert answer.ambiguous == {"a"}


async def test_requests_beyond_those_in_flight_wait_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_REQUESTS", 2)
    monkeypatch.setattr(fetching, "MAX_QUEUED", 3)
    release = threading.Event()
    lock = threading.Lock()
    active, most = 0, 0

    def handle(request: BaseHTTPRequestHandler) -> None:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        release.wait()
        with lock:
            active -= 1
        reply(request)

    with serving(handle) as url:
        fetcher = HttpFetcher()
        waiting = [asyncio.ensure_future(fetch(fetcher, url)) for _ in range(5)]
        await asyncio.sleep(0)
        assert "3 requests wait already" in await failure(fetcher, url)
        async with asyncio.timeout(60):
            while most < 2:  # noqa: ASYNC110 -- counted on other threads
                await asyncio.sleep(0.001)
        release.set()
        assert [type(answer) for answer in await asyncio.gather(*waiting)] == [HttpAnswer] * 5
        assert isinstance(await fetch(fetcher, url), HttpAnswer)
    assert most == 2


async def test_request_that_waits_too_long_is_never_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request hangs where no time limit of a socket helps: in the resolver."""
    monkeypatch.setattr(fetching, "MAX_REQUESTS", 1)
    release, asked, real_lookup = threading.Event(), list[str](), socket.getaddrinfo

    def look_up(*args: Any, **options: Any) -> Any:
        release.wait()
        return real_lookup(*args, **options)

    def handle(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        reply(request)

    with serving(handle) as url:
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        fetcher = HttpFetcher(timeout_s=0.05)
        late = [asyncio.ensure_future(failure(fetcher, f"{url}/{name}")) for name in ("first", "second")]
        assert await asyncio.gather(*late) == ["no answer within 0.05 s"] * 2
        release.set()
        for thread in threading.enumerate():
            if thread.name == "tidings-fetch":
                await asyncio.to_thread(thread.join)
    assert "/second" not in asked


async def test_unreachable_server_and_nonsense_are_described() -> None:
    with serving(reply) as url:
        pass
    assert "refused" in await failure(HttpFetcher(), url)

    def nonsense(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"\x00\x01 nonsense\r\n\r\n")

    with serving(nonsense) as url:
        assert await failure(HttpFetcher(), url) == "BadStatusLine"


async def test_certificate_of_the_server_is_checked() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with serving(reply, context) as url:
        assert "not trusted" in await failure(HttpFetcher(), url)
        assert isinstance(await fetch(HttpFetcher(tls=trusting), url), HttpAnswer)


async def test_server_of_this_machine_is_asked_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with serving(reply) as url:
        assert isinstance(await fetch(HttpFetcher(), url), HttpAnswer)
