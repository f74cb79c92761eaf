"""Plays a transcript against a real hub over real WebSockets, frame by frame."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any

from tests.transcripts.pattern import Mismatch, Names
from tests.transcripts.served import TIMEOUT_S, ServedHub, served
from tests.transcripts.transcript import Step, Transcript
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

_RECEIVE_BUFFER = 16 << 10
"""Receive buffer of each client's socket, in bytes. Small, so that a client that stops reading falls behind soon."""

_END = Step(line="", kind="end")


class Client:
    """One client of a transcript."""

    def __init__(self, socket_: ClientConnection) -> None:
        self._socket = socket_
        self._ahead: list[Any] = []
        self.events: list[tuple[str, Any]] = []
        """Type and data of the logged events that it read."""

    def queue(self, body: str | bytes) -> None:
        """Queue a frame; `flush` sends all queued frames in one write."""
        if isinstance(body, str):
            self._socket.protocol.send_text(body.encode())
        else:
            self._socket.protocol.send_binary(body)

    def flush(self) -> None:
        """Send the queued frames."""
        self._socket.transport.write(b"".join(self._socket.protocol.data_to_send()))

    async def receive(self) -> Any:
        """Return the next frame, which must arrive within the timeout."""
        if self._ahead:
            return self._ahead.pop()
        async with asyncio.timeout(TIMEOUT_S):
            return json.loads(await self._socket.recv())

    def put_back(self, frame: Any) -> None:
        """Return `frame` again from the next `receive`."""
        self._ahead.append(frame)

    def note(self, frame: Any) -> None:
        """Keep `frame` if it is a logged event."""
        if "channel" in frame:
            self.events.append((frame["type"], frame["data"]))

    async def wait_closed(self) -> int:
        """Wait for the hub's Close and return its code; no other frame may come first."""
        try:
            frame = await self.receive()
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else 1006
        raise Mismatch(f"{frame} came before the Close")

    async def check_nothing_left(self) -> None:
        """Check that the hub sent no more than was shown: the next frame must be the answer to this invalid message."""
        self.queue("the end")
        self.flush()
        frame = await self.receive()
        if frame["type"] != "connection:error" or frame["data"]["code"] != "invalid_json":
            raise Mismatch(f"the transcript does not show {json.dumps(frame, ensure_ascii=False)}")

    async def close(self) -> None:
        await self._socket.close()

    def drop(self) -> None:
        self._socket.transport.abort()


class Player:
    """The state of one transcript that is being played."""

    def __init__(self, hub: ServedHub) -> None:
        self._hub = hub
        self._names = Names()
        self._clients: dict[str, Client] = {}
        self._unordered: list[Step] = []
        self._kinds: dict[str, Callable[[Step], Awaitable[None]]] = {
            "connects": self._connect,
            "sends": self._send,
            "sends text": self._send_text,
            "sends bytes": self._send_bytes,
            "receives": self._receive,
            "closed": self._closed,
            "drops": self._drop,
            "stops reading": self._do_nothing,
            "reads again": self._do_nothing,
            "same": self._same,
            "the hub drains": self._drain,
            "the log is trimmed": self._trim,
        }

    async def play(self, transcript: Transcript) -> None:
        """Play every step.

        Raises:
            Mismatch: The hub did something else.
        """
        for step, following in pairwise((*transcript.steps, _END)):
            try:
                await self._play(step, following)
            except (Mismatch, TimeoutError, ConnectionClosed) as error:
                raise Mismatch(f"at {step.line!r}: {error!r}") from error
        for client in self._clients.values():
            await client.check_nothing_left()

    async def _play(self, step: Step, following: Step) -> None:
        goes_on = following.client == step.client
        if step.kind == "receives in any order":
            self._unordered.append(step)
            if not goes_on or following.kind != step.kind:
                await self._receive_unordered(step.client)
            return
        await self._kinds[step.kind](step)
        if step.kind == "connects":
            await self._greet(step, following)
        elif step.kind.startswith("sends") and not (goes_on and following.kind.startswith("sends")):
            self._clients[step.client].flush()

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    async def _connect(self, step: Step) -> None:
        address = await self._hub.ready
        name = step.facts["subprotocol"]
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, (address.host, address.port))
        opened = await connect(
            f"ws://{address.host}:{address.port}{self._names.fill_text(step.facts['target'])}",
            sock=raw,
            subprotocols=[Subprotocol(name)] if name else None,
            ping_interval=None,
            compression=None,
            max_queue=1,
            proxy=None,
        )
        self._clients[step.client] = Client(opened)

    async def _greet(self, step: Step, following: Step) -> None:
        """Read the greeting where the transcript leaves it out."""
        shown = following.client == step.client and following.kind == "receives"
        if not shown or following.frame["type"] != "connection:established":
            frame = await self._clients[step.client].receive()
            if frame["type"] != "connection:established":
                raise Mismatch(f"{frame} came before the greeting")

    async def _send(self, step: Step) -> None:
        client = self._clients[step.client]
        for number in range(1, step.most + 1):
            client.queue(json.dumps(self._names.fill(step.frame, number), ensure_ascii=False, separators=(",", ":")))

    async def _send_text(self, step: Step) -> None:
        self._clients[step.client].queue(step.frame)

    async def _send_bytes(self, step: Step) -> None:
        self._clients[step.client].queue(bytes.fromhex(step.frame))

    async def _receive(self, step: Step) -> None:
        client = self._clients[step.client]
        for count in range(step.most):
            frame = await client.receive()
            if count >= step.fewest:
                try:
                    self._names.match(step.frame, frame)
                except Mismatch:
                    client.put_back(frame)
                    return
            else:
                self._names.match(step.frame, frame)
            client.note(frame)

    async def _receive_unordered(self, name: str) -> None:
        steps, self._unordered = self._unordered, []
        for _ in range(len(steps)):
            frame = await self._clients[name].receive()
            self._clients[name].note(frame)
            found = next((step for step in steps if self._fits(step, frame)), None)
            if found is None:
                raise Mismatch(f"none of these is {json.dumps(frame, ensure_ascii=False)}")
            steps.remove(found)

    def _fits(self, step: Step, frame: Any) -> bool:
        known = dict(self._names.known)
        try:
            self._names.match(step.frame, frame)
        except Mismatch:
            self._names.known = known
            return False
        return True

    async def _closed(self, step: Step) -> None:
        code = await self._clients.pop(step.client).wait_closed()
        if code != int(step.facts["code"]):
            raise Mismatch(f"it was closed with {code}")

    async def _drop(self, step: Step) -> None:
        self._clients.pop(step.client).drop()

    async def _do_nothing(self, step: Step) -> None:
        """Do nothing: a client reads only what the transcript shows it reading."""

    async def _same(self, step: Step) -> None:
        one, other = (self._clients[step.facts[name]].events for name in ("one", "other"))
        if one != other or not one:
            raise Mismatch(f"they read {one} and {other}")

    async def _drain(self, step: Step) -> None:
        self._hub.runner.stop()

    async def _trim(self, step: Step) -> None:
        self._hub.trim_log()


async def play(transcript: Transcript) -> None:
    """Play `transcript` against a hub of its own.

    Raises:
        Mismatch: The hub did something else.
    """
    async with served(transcript.settings, transcript.tokens) as hub:
        player = Player(hub)
        try:
            await player.play(transcript)
        finally:
            await player.close()
