"""Random grants, subscriptions, tokens and revocations against a small reference."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.access.token_table import CHANNELS, grants
from tests.hub.events import update
from tests.hub.identified import IdentifyingHub

from tidings.access.grants import Grants
from tidings.log.revocations import Revocation
from tidings.protocol.paths import NO_PATHS, PathSet, parse_paths
from tidings.testing.in_memory_hub import InMemoryClient

KEYS = ("a", "ab", "b")
PATHS = (
    "*",
    *(f"{channel}{key}" for channel in ("data", "operations") for key in ("", "/a", "/a*", "/b")),
)
_grants = st.lists(st.sampled_from([f"read {path}" for path in PATHS]), max_size=3, unique=True).map(tuple)
_publish = st.tuples(st.just("publish"), st.sampled_from(("data", "operations")), st.sampled_from(KEYS))
_steps = st.one_of(
    _publish,
    _publish,
    _publish,
    st.tuples(st.just("subscribe"), st.sampled_from(PATHS)),
    st.tuples(st.just("unsubscribe"), st.sampled_from(PATHS)),
    st.tuples(st.just("token"), _grants),
    st.tuples(st.just("roles"), _grants),
    st.tuples(st.sampled_from(("settle", "stall", "take", "revoke"))),
)


class Reader:
    """One connection and what the reference expects of it."""

    def __init__(self, served: IdentifyingHub, texts: Sequence[str], *, versioned: bool) -> None:
        self.served = served
        self.versioned = versioned
        self.tokens = 0
        self.grants = self._add_token(texts)
        self.everything = not versioned
        self.client: InMemoryClient = served.connect("t0", versioned=versioned, past_transport=False)
        self.paths = self.grants.read if self.everything else NO_PATHS
        self.expected: dict[int, tuple[bool, bool]] = {}
        """By number of an event: whether it must arrive, and whether it may."""
        self.places: dict[int, tuple[str, str]] = {}
        self.arrived: list[int] = []
        self.ended = False

    def _add_token(self, texts: Sequence[str]) -> Grants:
        self.served.tokens.add(f"t{self.tokens}", *texts, name="ann")
        return grants(*texts)

    def published(self, number: int, channel: str, key: str) -> None:
        self.places[number] = channel, key
        self.expected[number] = False, False
        self._judge(number, first=True)

    def _judge(self, number: int, *, first: bool = False) -> None:
        must, may = self.expected[number]
        place = self.places[number]
        on_paths = not self.ended and self.paths.matches(*place)
        allowed = not self.ended and self.grants.read.matches(*place)
        self.expected[number] = (on_paths if first else must and on_paths), may or allowed

    def changed(self, paths: PathSet, read: Grants) -> None:
        self.paths, self.grants = paths, read
        arrived = set(self.arrived)
        for number in self.places:
            if number not in arrived:
                self._judge(number)

    def subscribe(self, path: str) -> None:
        self.client.send("channel:subscribe", {"channels": [path], "since": "now"})
        self.receive()
        added = parse_paths([path], CHANNELS, self.grants.read.paths)
        if added and not self.grants.uncovered(added):
            self.everything = self.everything or path == "*"
            self.changed(self.paths | added, self.grants)

    def unsubscribe(self, path: str) -> None:
        gone = self.paths if path == "*" else parse_paths([path], CHANNELS)
        named = [each for each in gone.paths if each.channel != "global"]
        if path != "*" and not set(named) <= set(self.paths.paths):
            self.client.send("channel:unsubscribe", {"channels": [path]})
            return
        self.client.send("channel:unsubscribe", {"channels": [path]})
        self.receive()
        self.everything = False
        self.changed(self.paths.without(gone), self.grants)

    def change(self, texts: Sequence[str], *, in_place: bool) -> None:
        self.receive()
        if in_place:
            self.tokens += 1
        read = self._add_token(texts)
        if in_place:
            self.client.send("auth:token", {"token": f"t{self.tokens}"})
        else:
            assert self.served.hub.hub.access is not None
            self.served.hub.hub.access.reevaluate()
        kept = PathSet(tuple(path for path in self.paths.paths if read.read.covers(path)))
        self.changed(read.read if self.everything else kept, read)

    def revoke(self) -> None:
        revocation = Revocation(kind="subject", name="ann", issued_before_ns=self.served.tokens.wall_ns() + 1)
        self.served.hub.log.revoke(revocation, lambda stored: None)
        assert self.served.hub.hub.access is not None
        self.served.hub.hub.access.end_revoked()
        self.receive()
        self.ended = True
        self.changed(NO_PATHS, grants())

    def receive(self) -> None:
        """Note the events that arrived by now: what was written before rights are lost was allowed then."""
        for event in self.client.read_events():
            data = event["data"]
            self.arrived.append(data["metadata"]["n"] if "metadata" in data else int(data["message"]))

    def check(self) -> None:
        assert self.arrived == sorted(set(self.arrived))
        must = {number for number, (must, _) in self.expected.items() if must}
        may = {number for number, (_, may) in self.expected.items() if may}
        assert must <= set(self.arrived) <= may


def publish(publisher: InMemoryClient, number: int, channel: str, key: str) -> None:
    body: dict[str, Any] = {"type": "operation:log", "data": {"operation_id": key, "message": f"{number}"}}
    if channel == "data":
        body = {"type": "data:update", "data": update(key, metadata={"n": number, "pad": "x" * 3_000})}
    publisher.send_raw(json.dumps(body).encode())


@given(texts=_grants, versioned=st.booleans(), steps=st.lists(_steps, max_size=60))
def test_reader_receives_what_its_grants_allow_and_nothing_else(
    texts: Sequence[str], versioned: bool, steps: Sequence[tuple[Any, ...]]
) -> None:
    with capture_logs() as lines:
        play(texts, steps, versioned=versioned)
    assert [line for line in lines if line["log_level"] == "error"] == []


def play(texts: Sequence[str], steps: Sequence[tuple[Any, ...]], *, versioned: bool) -> None:
    served = IdentifyingHub()
    publisher = served.connect(served.tokens.add("p", "publish *"))
    reader = Reader(served, texts, versioned=versioned)
    for number, (kind, *arguments) in enumerate(steps):
        if kind == "publish":
            publish(publisher, number, *arguments)
            served.hub.settle()
            reader.published(number, *arguments)
        elif kind in ("subscribe", "unsubscribe"):
            if versioned and not reader.ended:
                getattr(reader, kind)(*arguments)
        elif kind in ("token", "roles"):
            if not reader.ended:
                reader.change(*arguments, in_place=kind == "token")
        elif kind == "revoke":
            if number > 20 and not reader.ended:
                reader.revoke()
        elif kind == "settle":
            served.hub.settle()
        elif kind == "stall":
            reader.client.outlet.stall()
        else:
            reader.client.outlet.take()
    reader.client.outlet.take()
    served.hub.settle()
    reader.receive()
    reader.check()
