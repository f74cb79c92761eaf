"""Hubs as programs that any ASGI server can run: `uvicorn tests.server.asgi_programs:hub` and the like."""

import secrets
from collections.abc import Sequence

import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tidings.exceptions import LogInUse
from tidings.log.base import Log, Scheduler
from tidings.log.memory import MemoryLog
from tidings.protocol.messages import SUBPROTOCOL
from tidings.server.app import HubApp
from tidings.server.serve import DrainingServer, ListenAddress
from tidings.server.websocket.application import websocket_protocol

structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))


def _open_log(scheduler: Scheduler) -> Log:
    return MemoryLog(secrets.token_hex(4))


def _fail_to_open(scheduler: Scheduler) -> Log:
    raise LogInUse("process 42 holds the data folder", hint="Stop it.")


async def _home(request: Request) -> PlainTextResponse:
    return PlainTextResponse("home")


hub = HubApp(_open_log)
"""A hub without a host application."""

broken = HubApp(_fail_to_open)
"""A hub that cannot start."""

mounted = HubApp(_open_log, check_host=False)
parent = Starlette(routes=[Route("/", _home), Mount("/tidings", mounted)], lifespan=mounted.lifespan)
"""A hub inside an application that uses its lifespan."""


def main() -> None:
    """Run a hub with our own server until a signal."""

    def say(addresses: Sequence[ListenAddress]) -> None:
        print(addresses[0].port, flush=True)  # noqa: T201

    async def drain() -> None:
        hub.drain()

    websocket = websocket_protocol(hub, subprotocols=[SUBPROTOCOL])
    # With this grace period, waiting for it would fail a test.
    DrainingServer(hub, port=0, websocket=websocket, on_ready=say, on_drain=drain, grace_s=600.0).run()


if __name__ == "__main__":
    main()
