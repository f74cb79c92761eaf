"""A hub with authentication, behind our own server and behind another ASGI server, and requests to it."""

from collections.abc import Iterable
from typing import Any

import httpx
import msgspec
from tests.access.token_table import TokenTable
from tests.server.hub_server import HubServer, Stream
from websockets.sync.client import ClientConnection

from tidings.hub.clock import SystemClock

ALL = ("read *", "publish *", "publish global", "cancel operations", "details")


class Secured:
    """A hub that knows a few tokens, and requests to it."""

    def __init__(
        self,
        edge: Any,
        allow_origins: Iterable[str] = (),
        clock: SystemClock | None = None,
        config: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.tokens = TokenTable(SystemClock().wall_ns)
        add = self.tokens.add
        add("ada-token", "read operations/acme.*", "read data/daily-*", "publish operations/acme.*", name="ada")
        add("bob-token", "read operations/zeta.*", "publish operations/zeta.*", name="bob")
        add("writer-token", *ALL, name="writer")
        add("canceller-token", "read operations", "cancel operations/acme.*", name="canceller")
        add("root-token", "admin", name="root")
        add("nobody-token", name="nobody")
        access = msgspec.structs.replace(self.tokens.options, **options)
        self.server = HubServer(edge, access=access, allow_origins=allow_origins, clock=clock, config=config)

    def __enter__(self) -> "Secured":
        self.server.__enter__()
        return self

    def __exit__(self, *args: object) -> None:
        self.server.__exit__(*args)

    def request(self, method: str, path: str, who: str = "", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {who}-token"} if who else {}
        headers.update(options.pop("headers", {}))
        return httpx.request(method, self.server.http + path, headers=headers, timeout=60, **options)

    def get(self, path: str, who: str = "", **options: Any) -> httpx.Response:
        return self.request("GET", path, who, **options)

    def post(self, *events: dict[str, Any], who: str = "writer", **options: Any) -> Any:
        answer = self.request("POST", "/v1/events", who, json=list(events), **options)
        assert answer.status_code == 200, answer.text
        return answer.json()["results"]

    def stream(self, query: str, who: str, **headers: str) -> Stream:
        return Stream(self.server.port, query, headers={"Authorization": f"Bearer {who}-token", **headers})


def start(operation_id: str, **data: Any) -> dict[str, Any]:
    return {"type": "operation:start", "data": {"operation_id": operation_id, **data}}


def fail(operation_id: str) -> dict[str, Any]:
    error = {"code": "boom", "message": "it broke", "details": "Traceback: secret.py", "recoverable": False}
    return {"type": "operation:failed", "data": {"operation_id": operation_id, **error}}


def update(dataset: str) -> dict[str, Any]:
    return {"type": "data:update", "data": {"dataset": dataset}}


def read_to_the_end(socket: ClientConnection) -> None:
    """Read until the server closes, and raise why."""
    while True:
        socket.recv(60)


class StoppedClock(SystemClock):
    """A clock whose wall time stands still, so that no failure expires."""

    def wall_ns(self) -> int:
        return 1_753_876_800_000_000_000
