"""Mounted hubs whose application identifies their clients, behind real servers."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import Depends, FastAPI, HTTPException
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import Mount
from tests.access.tokens import CHANNELS, SECRET, token
from tests.server.hub_server import QUIET, update
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tidings.access.claims import GrantRules
from tidings.access.signing_keys import make_secret
from tidings.access.tokens import FixedKeys, TokenAuthenticator, TokenPolicy
from tidings.exceptions import Forbidden
from tidings.hub.config import HubConfig
from tidings.server.application_access import ApplicationAuthenticator
from tidings.server.embedding import GrantedSubject, embedded_hub

USERS = {"session-ada": "ada", "session-bob": "bob"}


def grants_of(name: str) -> list[str]:
    return [f"read data/{name}/*", f"publish data/{name}/*"]


async def by_cookie(connection: HTTPConnection) -> GrantedSubject | None:
    name = USERS.get(connection.cookies.get("session", ""))
    return None if name is None else GrantedSubject(name=name, grants=grants_of(name))


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    config = uvicorn.Config(app, port=0, ws="websockets-sansio", log_config=None, access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    running = asyncio.create_task(server.serve(sockets=[socket]))
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        yield f"127.0.0.1:{socket.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
        socket.close()


def hub_with(authenticate: Any, **options: Any) -> Any:
    return embedded_hub(config=HubConfig(**QUIET), authenticate=authenticate, **options)


async def greeting(
    address: str, path: str = "/tidings/ws", *, until: str = "connection:pong", **headers: str
) -> tuple[list[Any], int | None]:
    """Return the messages of a connection up to one of type `until`, or until the hub closes, and the close code."""
    messages: list[Any] = []
    async with connect(f"ws://{address}{path}", subprotocols=["tidings.v1"], additional_headers=headers) as socket:  # type: ignore[list-item]
        with contextlib.suppress(ConnectionClosed):
            await socket.send('{"type":"connection:ping","id":"p"}')
        try:
            async for text in socket:
                messages.append(json.loads(text))
                if messages[-1]["type"] == until:
                    return messages, None
        except ConnectionClosed:
            pass
        return messages, socket.close_code


async def check_application(app: Any, *, sign_in: dict[str, dict[str, str]]) -> None:
    """Check that each user has what is theirs, and that no one else has anything."""
    async with serving(app) as address, httpx.AsyncClient(base_url=f"http://{address}/tidings") as client:
        for name, headers in sign_in.items():
            event = {"type": "data:update", "data": {"dataset": f"{name}/1"}}
            own = {"origin": f"http://{address}", **headers}
            posted = await client.post("/v1/events", json=event, headers=own)
            assert posted.status_code == 200, posted.text
            other = {"type": "data:update", "data": {"dataset": "eve/1"}}
            assert (await client.post("/v1/events", json=other, headers=own)).status_code == 403
            path = f"/tidings/ws?channel=data/{name}/*&since=first"
            messages, code = await greeting(address, path, until="channel:live", **headers)
            assert code is None
            assert messages[0]["data"]["auth"] == name
            assert [each["data"]["dataset"] for each in messages if each["type"] == "data:update"] == [f"{name}/1"]
        assert (await client.get("/v1/events")).status_code == 401
        assert (await client.post("/v1/events", json=update("a"))).status_code == 401
        messages, code = await greeting(address)
        assert [each["type"] for each in messages] == ["connection:established", "auth:failed", "connection:closed"]
        assert code == 4001


async def test_fastapi_dependency_identifies_clients() -> None:
    async def current_user(connection: HTTPConnection) -> str:
        name = USERS.get(connection.headers.get("authorization", "").removeprefix("Bearer "))
        if name is None:
            raise HTTPException(401, "sign in first")
        return name

    async def identify(connection: HTTPConnection) -> GrantedSubject:
        name = await current_user(connection)
        return GrantedSubject(name=name, grants=grants_of(name))

    hub = hub_with(identify)
    app = FastAPI(lifespan=hub.lifespan)

    @app.get("/me")
    async def me(name: str = Depends(current_user)) -> str:
        return name

    app.mount("/tidings", hub)
    headers = {name: {"authorization": f"Bearer {session}"} for session, name in USERS.items()}
    await check_application(app, sign_in=headers)


async def test_starlette_middleware_identifies_clients() -> None:
    class Backend(AuthenticationBackend):
        async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
            name = USERS.get(conn.cookies.get("session", ""))
            return None if name is None else (AuthCredentials(["authenticated"]), SimpleUser(name))

    async def identify(connection: HTTPConnection) -> GrantedSubject | None:
        user = connection.user
        return GrantedSubject(name=user.username, grants=grants_of(user.username)) if user.is_authenticated else None

    hub = hub_with(identify)
    app = Starlette(
        routes=[Mount("/tidings", hub)],
        middleware=[Middleware(AuthenticationMiddleware, backend=Backend())],
        lifespan=hub.lifespan,
    )
    cookies = {name: {"cookie": f"session={session}"} for session, name in USERS.items()}
    await check_application(app, sign_in=cookies)


async def test_django_session_identifies_clients(tmp_path: Path) -> None:
    import django
    from asgiref.sync import sync_to_async
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.core.management import call_command

    settings.configure(
        SECRET_KEY="for tests",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": tmp_path / "django.db"}},
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        ALLOWED_HOSTS=["*"],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    )
    django.setup()
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.db import connections
    from django.http import HttpRequest

    def sign_in(name: str) -> str:
        user = User.objects.create_user(name, password="p")
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.save()
        return str(session.session_key)

    def find_user(key: str | None) -> str | None:
        request = HttpRequest()
        request.session = SessionStore(key)
        user = get_user(request)
        return user.get_username() if user.is_authenticated else None

    async def identify(connection: HTTPConnection) -> GrantedSubject | None:
        name = await sync_to_async(find_user)(connection.cookies.get(settings.SESSION_COOKIE_NAME))
        return None if name is None else GrantedSubject(name=name, grants=grants_of(name))

    def prepare() -> dict[str, dict[str, str]]:
        call_command("migrate", verbosity=0)
        return {name: {"cookie": f"{settings.SESSION_COOKIE_NAME}={sign_in(name)}"} for name in USERS.values()}

    headers = await sync_to_async(prepare)()
    hub = hub_with(identify)
    routes = [Mount("/tidings", hub), Mount("/", get_asgi_application())]
    try:
        await check_application(Starlette(routes=routes, lifespan=hub.lifespan), sign_in=headers)
    finally:
        await sync_to_async(connections.close_all)()


urlpatterns: list[Any] = []
"""The routes of Django."""


async def fail_with(error: Exception) -> Any:
    raise error


async def never() -> Any:
    await asyncio.Event().wait()


async def value(result: Any) -> Any:
    return result


FAULTS: dict[str, tuple[Any, int, str, str]] = {
    "raises": (lambda _: fail_with(RuntimeError("secret-7")), 503, "authentication_unavailable", "failed"),
    "raises 401": (lambda _: fail_with(HTTPException(401, "sign in")), 401, "unauthenticated", ""),
    "raises 403": (lambda _: fail_with(HTTPException(403, "no")), 403, "forbidden", ""),
    "raises 500": (lambda _: fail_with(HTTPException(500, "no")), 503, "authentication_unavailable", ""),
    "raises ours": (lambda _: fail_with(Forbidden("not you")), 403, "forbidden", ""),
    "is no coroutine": (lambda _: GrantedSubject(name="a"), 503, "authentication_unavailable", "failed"),
    "never returns": (lambda _: never(), 503, "authentication_unavailable", "in time"),
    "returns None": (lambda _: value(None), 401, "unauthenticated", ""),
    "returns True": (lambda _: value(True), 503, "authentication_unavailable", "failed"),
    "returns a name": (lambda _: value("ada"), 503, "authentication_unavailable", "failed"),
    "an empty name": (lambda _: value(GrantedSubject(name="")), 503, "authentication_unavailable", "failed"),
    "a name of lines": (lambda _: value(GrantedSubject(name="a\nb")), 503, "authentication_unavailable", "failed"),
    "a name that is a number": (
        lambda _: value(GrantedSubject(name=7)), 503, "authentication_unavailable", "failed"  # type: ignore[arg-type]
    ),
    "grants as text": (
        lambda _: value(GrantedSubject(name="a", grants="admin")), 503, "authentication_unavailable", "failed"
    ),
    "an invalid grant": (
        lambda _: value(GrantedSubject(name="a", grants=["seize"])), 503, "authentication_unavailable", "invalid grant"
    ),
    "a time without zone": (
        lambda _: value(GrantedSubject(name="a", expires_at=datetime.now())), 503, "authentication_unavailable",
        "failed",
    ),
    "a time in the past": (
        lambda _: value(GrantedSubject(name="a", expires_at=datetime.now(UTC) - timedelta(seconds=1))), 401,
        "token_expired", "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
async def test_fault_of_the_application_opens_no_door(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        ApplicationAuthenticator.__init__, "__kwdefaults__", {"timeout_s": 0.05, "wall_ns": time.time_ns}
    )
    function, status, code, logged = FAULTS[case]
    hub = hub_with(function)
    transport = httpx.ASGITransport(hub)
    async with hub.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://app.example.com") as client:
        for method, path in (("GET", "/v1/events"), ("GET", "/v1/operations"), ("GET", "/metrics")):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.json()["code"]) == (status, code)
            assert "secret-7" not in answer.text
        assert (await client.get("/healthz")).status_code == 200
    assert logged in capsys.readouterr().out


async def test_page_of_another_origin_changes_nothing_with_a_cookie() -> None:
    hub = hub_with(by_cookie, allow_origins=["https://other.example"])
    transport = httpx.ASGITransport(hub)
    event = {"type": "data:update", "data": {"dataset": "ada/1"}}
    cookie = {"cookie": "session=session-ada"}
    async with hub.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
        for headers, status in (
            ({"origin": "http://app.example"}, 200),
            ({"sec-fetch-site": "same-origin"}, 200),
            ({"origin": "https://other.example"}, 403),
            ({"origin": "null"}, 403),
            ({"sec-fetch-site": "cross-site"}, 403),
            ({}, 403),
        ):
            answer = await client.post("/v1/events", json=event, headers={**cookie, **headers})
            assert (answer.status_code, headers) == (status, headers)
            # A ticket, which counts for streams only, does not take the place of the check.
            answer = await client.post("/v1/events?ticket=x", json=event, headers={**cookie, **headers})
            assert (answer.status_code, headers) == (status, headers)
        assert (await client.get("/v1/events", headers=cookie)).status_code == 200


@pytest.mark.parametrize(
    ("allowed", "answer"),
    [
        ("https://app.example", "ada"),
        ("*", "forbidden"),
    ],
)
async def test_websocket_of_any_page_is_not_identified_by_a_cookie(allowed: str, answer: str) -> None:
    hub = hub_with(by_cookie, allow_origins=[allowed])
    async with serving(Starlette(routes=[Mount("/tidings", hub)], lifespan=hub.lifespan)) as address:
        page = {"cookie": "session=session-ada", "origin": "https://app.example"}
        messages, _ = await greeting(address, **page)
        first, second = (each["data"] for each in messages[:2])
        assert answer in (first["auth"], second.get("code"))
        own = {**page, "origin": f"http://{address}"}
        assert (await greeting(address, **own))[0][0]["data"]["auth"] == "ada"


async def test_ticket_stands_for_the_request_that_asked_for_it() -> None:
    hub = hub_with(by_cookie)
    async with serving(Starlette(routes=[Mount("/tidings", hub)], lifespan=hub.lifespan)) as address:
        async with httpx.AsyncClient(base_url=f"http://{address}/tidings") as client:
            own = {"cookie": "session=session-ada", "origin": f"http://{address}"}
            tickets = [(await client.post("/v1/tickets", headers=own)).json()["ticket"] for _ in range(4)]
            url = f"/v1/stream?channel=data/ada/*&ticket={tickets[0]}"
            async with client.stream("GET", url) as stream:
                assert stream.status_code == 200
            assert (await client.get(url)).status_code == 401
            messages, _ = await greeting(address, f"/tidings/ws?ticket={tickets[1]}")
            assert messages[0]["data"]["auth"] == "ada"
            while (await client.get(url)).status_code == 401:
                pass  # until too many failures came from this address
            async with client.stream("GET", url.replace(tickets[0], tickets[2])) as stream:
                assert stream.status_code == 200
        messages, _ = await greeting(address, f"/tidings/ws?ticket={tickets[3]}")
        assert messages[0]["data"]["auth"] == "ada"


async def test_mounted_hub_accepts_tokens_besides_sessions() -> None:
    tokens = TokenAuthenticator(
        FixedKeys([make_secret(SECRET)]),
        TokenPolicy(audiences=("tidings",)),
        GrantRules(CHANNELS),
        wall_ns=time.time_ns,
    )
    seen: list[str] = []

    async def identify(connection: HTTPConnection) -> GrantedSubject | None:
        seen.append(connection.headers.get("authorization", ""))
        return await by_cookie(connection)

    hub = hub_with(identify, authenticators=[tokens], allow_origins=["*"])
    text = token(sub="nightly", iat=int(time.time()), exp=int(time.time()) + 60, tidings=["read data"])
    async with serving(Starlette(routes=[Mount("/tidings", hub)], lifespan=hub.lifespan)) as address:
        messages, _ = await greeting(address, authorization=f"Bearer {text}")
        assert (messages[0]["data"]["auth"], seen) == ("nightly", [])
        messages, _ = await greeting(address, cookie="session=session-bob")
        assert messages[0]["data"]["auth"] == "bob"
        any_page = {"cookie": "session=session-bob", "origin": "https://app.example"}
        for headers in ({}, any_page):
            messages, code = await greeting(address, **headers)
            assert [each["type"] for each in messages] == ["connection:established", "auth:required", "connection:pong"]
            assert code is None


async def test_token_of_a_message_reaches_the_application() -> None:
    async def identify(connection: HTTPConnection) -> GrantedSubject | None:
        session = connection.headers.get("authorization", "").removeprefix("Bearer ")
        return GrantedSubject(name=USERS[session], grants=["read data"]) if session in USERS else None

    hub = hub_with(identify)
    async with serving(Starlette(routes=[Mount("/tidings", hub)], lifespan=hub.lifespan)) as address:
        headers = {"authorization": "Bearer session-ada"}
        async with connect(f"ws://{address}/tidings/ws", additional_headers=headers) as socket:
            assert json.loads(await socket.recv())["data"]["auth"] == "ada"
            await socket.send('{"type":"auth:token","data":{"token":"session-ada"}}')
            renewed = json.loads(await socket.recv())
            await socket.send('{"type":"auth:token","data":{"token":"session-eve"}}')
            refused = json.loads(await socket.recv())
    assert (renewed["type"], refused["type"]) == ("auth:success", "auth:failed")


async def test_number_of_clients_that_are_identified_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.server.application_access.MAX_WAITING", 1)
    release = asyncio.Event()

    async def identify(connection: HTTPConnection) -> GrantedSubject | None:
        await release.wait()
        return await by_cookie(connection)

    hub = hub_with(identify)
    transport = httpx.ASGITransport(hub)
    cookie = {"cookie": "session=session-ada"}
    async with hub.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
        waiting = asyncio.create_task(client.get("/v1/events", headers=cookie))
        second = asyncio.create_task(client.get("/v1/events", headers=cookie))
        done, _ = await asyncio.wait((waiting, second), return_when=asyncio.FIRST_COMPLETED)
        assert [each.result().status_code for each in done] == [503]
        release.set()
        assert sorted([(await waiting).status_code, (await second).status_code]) == [200, 503]


async def test_ticket_stands_for_the_request_that_the_application_identified() -> None:
    async def by_header(connection: HTTPConnection) -> GrantedSubject | None:
        name = connection.headers.get("x-user")
        return None if name is None else GrantedSubject(name=name, grants=grants_of(name))

    async with serving(hub_with(by_header)) as address, httpx.AsyncClient(base_url=f"http://{address}") as client:
        ticket = (await client.post("/v1/tickets", headers={"X-User": "ada"})).json()["ticket"]
        messages, _ = await greeting(address, f"/ws?ticket={ticket}")
        assert messages[0]["data"]["auth"] == "ada"
        ticket = (await client.post("/v1/tickets", headers={"X-User": "ada"})).json()["ticket"]
        async with client.stream("GET", f"/v1/stream?ticket={ticket}") as stream:
            assert stream.status_code == 200
            first = await anext(stream.aiter_text())
            assert "data/ada/*" in first
