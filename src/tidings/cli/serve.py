"""`tidings serve`: run a hub."""

import secrets
from collections.abc import Sequence
from typing import Annotated

import typer

from tidings.contract.commands import SUBPROTOCOL
from tidings.log.base import Log, Scheduler
from tidings.log.memory import MemoryLog
from tidings.server.app import HubApp
from tidings.server.runner import Address, Runner
from tidings.server.websocket import websocket_protocol


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks one.")] = 8765,
) -> None:
    """Run a hub until Ctrl-C."""

    def open_log(scheduler: Scheduler) -> Log:
        return MemoryLog(secrets.token_hex(4))

    def ready(addresses: Sequence[Address]) -> None:
        first = addresses[0]
        typer.echo(f"ws://{first.host}:{first.port}{hub_app.ws_path}")

    async def asgi(scope: dict[str, object], receive: object, send: object) -> None:
        raise NotImplementedError

    hub_app = HubApp(open_log)
    Runner(
        asgi,
        host=host,
        port=port,
        websocket=websocket_protocol(hub_app, subprotocols=[SUBPROTOCOL]),
        lifespan="off",
        on_ready=ready,
    ).run()
    hub_app.stop()
