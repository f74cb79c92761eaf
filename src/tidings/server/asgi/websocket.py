"""The hub's WebSocket for any ASGI server: the same connections as on the native edge, at the cost of two tasks each.

The server itself does the framing, Pings and the closing handshake.
"""

import asyncio
from typing import Final

from starlette.types import Receive, Scope, Send

from tidings.exceptions import LogOpening, TidingsError
from tidings.hub.connection import HubConnection
from tidings.protocol.codes import error_data, row_of
from tidings.protocol.messages import SUBPROTOCOL
from tidings.protocol.payloads import encode_payload
from tidings.server.asgi.outlet import BufferedOutlet
from tidings.server.asgi.scope import (
    access_request,
    admit,
    headers_of,
    port_of,
    query_of,
    request_address,
    route_path,
)
from tidings.server.http.responses import SECURITY_FIELDS
from tidings.server.running_hub import HubHost
from tidings.server.websocket.handshake_check import HandshakeCheck
from tidings.server.websocket.hub_handler import HubWebSocketApp
from tidings.server.websocket.message_reader import MAX_MESSAGE_BYTES, MAX_REASON_BYTES
from tidings.server.websocket.refusing_handler import closing_message
from tidings.server.wire_formats import PLAIN_LINES, VERSIONED_LINES

MAX_TURN_MESSAGES: Final = 64
"""Messages of one client that are read before other tasks have their turn."""

_LOST: Final = 1006
_NO_CODE: Final = 1005
_TOO_BIG: Final = 1009


class WebSocketEndpoint:
    """The ASGI application for scopes of type `websocket`."""

    def __init__(self, host: HubHost, check: HandshakeCheck) -> None:
        self._host = host
        self._check = check

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket, from the handshake to its end."""
        if (await receive())["type"] != "websocket.connect":
            return
        try:
            if not self._host.started:
                await self._host.wait_for_opening()
            app = self._host.running().websocket_app
            app.check_draining()
            scope = self._admit(scope)
        except LogOpening as opening:
            await self._refuse_in_band(opening, scope, send)
            return
        except TidingsError as error:
            await _refuse(error, scope, send)
            return
        offered = scope.get("subprotocols", ())
        versioned = SUBPROTOCOL in offered
        if not versioned:
            app.report_unknown_subprotocols(", ".join(offered))
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if versioned else None})
        outlet = BufferedOutlet()
        connection = app.connection(
            outlet,
            VERSIONED_LINES if versioned else PLAIN_LINES,
            query_of(scope),
            versioned=versioned,
            client=request_address(scope).client,
            request=access_request(scope) if app.identifies else None,
            host=request_address(scope).host,
        )
        outlet.attach(connection)
        await _Session(app, connection, outlet).run(receive, send)

    def _admit(self, scope: Scope) -> Scope:
        """Check a handshake, and return its scope with its address.

        Raises:
            OriginRefused: It comes from a web page that may not use the hub.
            RequestError: A header is not valid.
            NotFound: Its path is not the WebSocket's.
        """
        with self._check.logging_refusals():
            scope = admit(scope, self._check.request_check, headers_of(scope))
        self._check.check_path(route_path(scope), port_of(scope))
        return scope

    async def _refuse_in_band(self, error: LogOpening, scope: Scope, send: Send) -> None:
        """Accept the upgrade, send why it is closed, and close."""
        try:
            self._admit(scope)
        except TidingsError as refused:
            await _refuse(refused, scope, send)
            return
        versioned = SUBPROTOCOL in scope.get("subprotocols", ())
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if versioned else None})
        code, body = closing_message(error)
        await send({"type": "websocket.send", "text": body.decode()})
        await send({"type": "websocket.close", "code": code, "reason": error.message[:MAX_REASON_BYTES]})


class _Session:
    """One accepted WebSocket."""

    def __init__(self, app: HubWebSocketApp, connection: HubConnection, outlet: BufferedOutlet) -> None:
        self._app = app
        self._connection = connection
        self._outlet = outlet

    async def run(self, receive: Receive, send: Send) -> None:
        """Serve until either side closes."""
        outcome = _LOST, ""
        self._app.opened(self._connection)
        sending = asyncio.create_task(self._send(send))
        receiving = asyncio.create_task(self._receive(receive))
        try:
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                outcome = receiving.result()
            elif sending.done():
                outcome = sending.result()
        finally:
            self._outlet.end()
            self._app.closed(self._connection, *outcome)
            sending.cancel()
            receiving.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _send(self, send: Send) -> tuple[int, str]:
        """Send the hub's frames, then its Close; return the close code and reason."""

        async def send_lines(lines: bytes) -> None:
            for line in lines.split(b"\n")[:-1]:
                await send({"type": "websocket.send", "text": line.decode()})

        try:
            await self._outlet.send_all(send_lines)
            code, reason = self._outlet.closing or (_LOST, "")
            short = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
            await send({"type": "websocket.close", "code": code, "reason": short})
        except (OSError, TimeoutError):  # the client is gone, or reads nothing more
            return _LOST, ""
        return code, reason

    async def _receive(self, receive: Receive) -> tuple[int, str]:
        """Pass the client's messages to the hub; return the close code and reason from the server."""
        outlet = self._outlet
        turn = 0
        while True:
            await outlet.may_read.wait()
            turn += 1
            if turn % MAX_TURN_MESSAGES == 0:
                await asyncio.sleep(0)  # a server's queue of received messages is read without waiting
            message = await receive()
            if message["type"] == "websocket.disconnect":
                return message.get("code") or _NO_CODE, message.get("reason") or ""
            if outlet.closing is not None:
                continue
            text = message.get("text")
            if text is None:
                self._connection.reject_binary(message.get("bytes") or b"")
            else:
                self._text_received(text)

    def _text_received(self, text: str) -> None:
        # Some servers accept half a surrogate pair; it is bad UTF-8 here, and the hub rejects the message.
        body = text.encode(errors="surrogatepass")
        if len(body) > MAX_MESSAGE_BYTES:
            self._outlet.close(_TOO_BIG, "message too big")
        else:
            self._connection.received(body)


async def _refuse(error: TidingsError, scope: Scope, send: Send) -> None:
    """Refuse the upgrade with an HTTP response; a server without that extension sends a bare 403."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    body = encode_payload(error_data(error))
    fields = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *SECURITY_FIELDS]
    await send({"type": "websocket.http.response.start", "status": row_of(error).http, "headers": fields})
    await send({"type": "websocket.http.response.body", "body": body})
