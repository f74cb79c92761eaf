"""Random grants, subscriptions, tokens and revocations on every transport, against a reference of a few lines.

A reader never receives an event that the reference forbids, and misses none that it allows. The reference decides with
prefixes of strings and shares no code with the hub.
"""

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import httpx
import pytest
from tests.access.token_table import TokenTable
from tests.server.hub_server import TIMEOUT_S, Edge, HubServer, Stream
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tidings.hub.clock import SystemClock
from tidings.protocol.messages import SUBPROTOCOL

KEYS = ("acme.1", "acme.2", "acme.eu.1", "zeta.1")
EVENTS = [(channel, key) for channel in ("operations", "data") for key in KEYS]
PATTERNS = ("operations", "data", "operations/acme.*", "data/acme.eu.*", "operations/zeta.1", "data/acme.1", "*")
STEPS = 60

Place = tuple[str, str]


class Reference:
    """The rules of reading and publishing, for the grants of one subject."""

    def __init__(self, read: list[str], publish: list[str]) -> None:
        self.read = read
        self.publish = publish

    def texts(self) -> list[str]:
        return [f"read {path}" for path in self.read] + [f"publish {path}" for path in self.publish]

    @staticmethod
    def covers(granted: str, path: str) -> bool:
        """Return whether all events on `path` are on `granted`."""
        if granted in ("*", path):
            return True
        channel, _, key = granted.partition("/")
        if path == "*" or path.partition("/")[0] != channel:
            return False
        wanted = path.partition("/")[2]
        return not key or (bool(wanted) and key.endswith("*") and wanted.removesuffix("*").startswith(key[:-1]))

    def may_subscribe(self, path: str) -> bool:
        return path == "*" or any(self.covers(granted, path) for granted in self.read)

    def may_read(self, place: Place) -> bool:
        return any(self.covers(granted, "/".join(place)) for granted in self.read)

    def may_publish(self, place: Place) -> bool:
        return any(self.covers(granted, "/".join(place)) for granted in self.publish)


def random_reference(chance: random.Random) -> Reference:
    return Reference(
        chance.sample(PATTERNS, chance.choice((0, 1, 1, 2, 3))), chance.sample(PATTERNS, chance.choice((0, 1, 2)))
    )


class Subjects:
    """Subjects with two tokens each, whose grants change."""

    def __init__(self, server_tokens: TokenTable, chance: random.Random) -> None:
        self._table = server_tokens
        self._chance = chance
        self._numbers = iter(range(1_000_000))
        self.of_token: dict[str, tuple[str, Reference]] = {}
        for name in ("ann", "ben"):
            for _ in range(2):
                self.issue(name)

    def issue(self, name: str) -> str:
        token = f"{name}-{next(self._numbers)}"
        self.change(token, name)
        return token

    def change(self, token: str, name: str) -> None:
        reference = random_reference(self._chance)
        self.of_token[token] = name, reference
        self._table.add(token, *reference.texts(), name=name)

    def tokens_of(self, name: str) -> set[str]:
        return {token for token, (owner, _) in self.of_token.items() if owner == name}

    def pick(self, name: str = "") -> str:
        tokens = sorted(self.tokens_of(name) if name else self.of_token)
        return self._chance.choice(tokens) if tokens else self.issue(name or "ann")


class Transport(Protocol):
    """One client that reads."""

    def next(self) -> dict[str, Any] | None:
        """Return the next message; None once the hub has closed."""


class SocketTransport:
    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def next(self) -> dict[str, Any] | None:
        try:
            message: dict[str, Any] = json.loads(self.socket.recv(TIMEOUT_S))
        except ConnectionClosed:
            return None
        return message

    def send(self, type: str, id: str, **data: Any) -> None:
        self.socket.send(json.dumps({"type": type, "id": id, "data": data}))


class StreamTransport:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def next(self) -> dict[str, Any] | None:
        try:
            return self._stream.message()
        except EOFError:
            return None


class Reader:
    """A client, and what the reference expects of it."""

    def __init__(self, kind: str, transport: Transport, token: str, name: str) -> None:
        self.kind = kind
        self.transport = transport
        self.token = token
        self.name = name
        self.paths: set[str] = set()
        self.expected: list[str] = []
        self.received: list[str] = []
        self.alive = True
        self.awaited: list[dict[str, Any]] = []
        """Messages that are not events of the test, in order."""

    def __repr__(self) -> str:
        return f"{self.kind} of {self.token} on {sorted(self.paths)}"

    def reads(self, place: Place, reference: Reference) -> bool:
        if "*" in self.paths:
            return reference.may_read(place)
        return any(Reference.covers(path, "/".join(place)) for path in self.paths)

    def follow(self, reference: Reference) -> None:
        """Lose the paths that the grants no longer cover, each as a whole."""
        self.paths = {path for path in self.paths if reference.may_subscribe(path)}

    def receive(self) -> dict[str, Any] | None:
        """Take the next message, and return it unless it is an event."""
        message = self.transport.next()
        if message is None:
            self.alive = False
            return None
        if message["trace_id"].startswith("test-"):
            self.received.append(message["trace_id"])
            assert self.received == self.expected[: len(self.received)], f"{self!r}: forbidden, repeated or missed"
        else:
            self.awaited.append(message)
        return message

    def until(self, *types: str) -> dict[str, Any]:
        """Read up to the next message of one of `types`."""
        while True:
            for index, message in enumerate(self.awaited):
                if message["type"] in types:
                    del self.awaited[: index + 1]
                    return message
            assert self.receive() is not None, f"{self!r} was closed before {types}"

    def settle(self) -> None:
        """Read all that the reference expects."""
        while self.alive and len(self.received) < len(self.expected):
            self.receive()
        assert self.received == self.expected, f"{self!r}: missed"

    def drain(self) -> None:
        while self.alive:
            self.receive()


class World:
    """A hub, its readers, and the reference."""

    def __init__(self, edge: Edge, seed: int, stack: ExitStack) -> None:
        self.chance = random.Random(seed)
        self.stack = stack
        self.tokens = TokenTable(SystemClock().wall_ns)
        self.tokens.add("root", "admin")
        self.subjects = Subjects(self.tokens, self.chance)
        self.server = stack.enter_context(HubServer(edge, access=self.tokens.options))
        self.http = stack.enter_context(httpx.Client(base_url=self.server.http, timeout=TIMEOUT_S))
        self.readers: list[Reader] = []
        self.published: list[tuple[str, Place]] = []

    def reference(self, token: str) -> Reference:
        return self.subjects.of_token[token][1]

    def settle(self) -> None:
        for reader in self.readers:
            reader.settle()

    # Steps.

    def publish(self) -> None:
        token, place = self.subjects.pick(), self.chance.choice(EVENTS)
        if self.chance.random() < 0.6:
            token = "root"
        trace_id = f"test-{len(self.published):04}-{self.chance.random():.6f}"
        channel, key = place
        data = {"operation_id": key, "message": "line"} if channel == "operations" else {"dataset": key}
        type = "operation:log" if channel == "operations" else "data:update"
        answer = self.http.post(
            "/v1/events",
            json={"type": type, "trace_id": trace_id, "data": data},
            headers={"Authorization": f"Bearer {token}"},
        )
        allowed = token == "root" or self.reference(token).may_publish(place)
        assert answer.status_code == (200 if allowed else 403), (answer.text, place, token)
        if allowed:
            self.published.append((trace_id, place))
            for reader in self.readers:
                if reader.alive and reader.reads(place, self.reference(reader.token)):
                    reader.expected.append(trace_id)

    def join(self) -> None:
        if len(self.readers) >= 12:
            return
        token = self.subjects.pick()
        kind = self.chance.choice(("versioned", "plain", "stream"))
        path = self.chance.choice(PATTERNS)
        name = self.subjects.of_token[token][0]
        allowed = self.reference(token).may_subscribe(path)
        headers = {"Authorization": f"Bearer {token}"}
        if kind == "stream":
            stream = Stream(self.server.port, f"?since=now&channel={path}", headers=headers)
            if stream.response.status != 200:
                assert not (allowed and self.reference(token).read), (token, path)
                stream.__exit__()
                return
            self.stack.push(stream)
            reader = Reader(kind, StreamTransport(stream), token, name)
        else:
            protocols: Any = [SUBPROTOCOL] if kind == "versioned" else None
            query = "" if kind == "versioned" else f"?channel={path}"
            socket = self.stack.enter_context(
                connect(
                    self.server.ws + query,
                    additional_headers=headers,
                    subprotocols=protocols,
                    proxy=None,
                    compression=None,
                )
            )
            reader = Reader(kind, SocketTransport(socket), token, name)
        if kind != "stream":
            reader.until("connection:established")
        if kind == "versioned":
            self.subscribe(reader, path)
        elif not allowed:
            reader.until("connection:error")
            reader.drain()
        else:
            reader.paths = {path}
            if kind == "stream":
                reader.until("channel:live")
            else:
                self.await_plain(reader)
        self.readers.append(reader)

    def subscribe(self, reader: Reader, path: str) -> None:
        transport = reader.transport
        assert isinstance(transport, SocketTransport)
        transport.send("channel:subscribe", "subscribe", channels=[path], since="now")
        answer = reader.until("channel:subscribed", "connection:error")
        reference = self.reference(reader.token)
        allowed = reference.may_subscribe(path) and bool(reference.read)
        assert (answer["type"] == "channel:subscribed") is allowed, (answer, reader, path)
        if allowed:
            reader.paths.add(path)
            reader.until("channel:live")

    def await_plain(self, reader: Reader) -> None:
        """A plain connection is not told when it reads: an answer to a refused message comes after that."""
        assert isinstance(reader.transport, SocketTransport)
        reader.transport.socket.send('{"type":"no:such"}')
        reader.until("connection:error")

    def subscribe_more(self) -> None:
        readers = [reader for reader in self.readers if reader.alive and reader.kind == "versioned"]
        if readers:
            reader = self.chance.choice(readers)
            self.settle()
            self.subscribe(reader, self.chance.choice(PATTERNS))

    def change_grants(self) -> None:
        """Give another set of grants to a token that is in use."""
        self.settle()
        token = self.subjects.pick()
        self.subjects.change(token, self.subjects.of_token[token][0])
        control = self.server.app.hub.access
        assert control is not None
        self.server.call(control.reevaluate)
        for reader in self.readers:
            if reader.alive and reader.token == token:
                reader.until("auth:success")
                reader.follow(self.reference(token))
                self.end_if_empty(reader)

    def end_if_empty(self, reader: Reader) -> None:
        """A stream that may read nothing more is closed; a connection stays, and may get another token."""
        if reader.kind == "stream" and not (reader.paths and self.reference(reader.token).read):
            reader.drain()

    def renew(self) -> None:
        """Send another token of the same subject on an open connection."""
        readers = [reader for reader in self.readers if reader.alive and reader.kind != "stream"]
        if not readers:
            return
        self.settle()
        reader = self.chance.choice(readers)
        token = self.subjects.pick(reader.name)
        assert isinstance(reader.transport, SocketTransport)
        reader.transport.send("auth:token", "renew", token=token)
        success = reader.until("auth:success")
        assert success["data"]["subject"] == reader.name
        reader.token = token
        reader.follow(self.reference(token))

    def revoke(self) -> None:
        token = self.subjects.pick()
        self.settle()
        body = {"credential_id": token} if self.chance.random() < 0.8 else {"subject": self.subjects.of_token[token][0]}
        answer = self.http.post("/v1/admin/revocations", json=body, headers={"Authorization": "Bearer root"})
        assert answer.status_code == 200, answer.text
        names = {token} if "credential_id" in body else self.subjects.tokens_of(body["subject"])
        for reader in self.readers:
            if reader.alive and reader.token in names:
                assert reader.until("auth:failed")["data"]["code"] == "credential_revoked"
                reader.drain()
        for each in names:
            del self.subjects.of_token[each]

    def look(self) -> None:
        """Read the log and the snapshot over HTTP."""
        token = self.subjects.pick()
        reference = self.reference(token)
        headers = {"Authorization": f"Bearer {token}"}
        for path in ("/v1/events?since=first&limit=1000", "/v1/snapshot"):
            answer = self.http.get(path, headers=headers)
            if not reference.read:
                assert answer.status_code == 403, answer.text
                continue
            found = [each["trace_id"] for each in answer.json()["events"] if each["trace_id"].startswith("test-")]
            allowed = [trace_id for trace_id, place in self.published if reference.may_read(place)]
            assert found == allowed if "events" in path else set(found) <= set(allowed), (token, path)

    def run(self) -> None:
        steps = (
            [self.publish] * 10
            + [self.join] * 3
            + [self.subscribe_more, self.change_grants, self.renew, self.look] * 2
            + [self.revoke]
        )
        for _ in range(STEPS):
            self.chance.choice(steps)()
        self.settle()
        # Whatever follows the last expected event comes before an answer that is asked for now.
        for reader in self.readers:
            if reader.alive and reader.kind != "stream":
                self.await_plain(reader)
                reader.settle()


@pytest.fixture(params=["native", "asgi"])
def edge(request: pytest.FixtureRequest) -> Edge:
    edge: Edge = request.param
    return edge


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("seed", range(6))
def test_readers_get_exactly_what_the_reference_allows(edge: Edge, seed: int, stack: ExitStack) -> None:
    World(edge, seed, stack).run()
