"""No event can break the hub or its folder: whatever is accepted, all timers run, the log closes, and opens again."""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.hub.producers import Producer

from tidings.contract.contract import Contract
from tidings.hub.config import HubConfig
from tidings.hub.system_status import SystemStatusPublisher
from tidings.log.base import Page, Query, Record
from tidings.log.sqlite.inspect import verify
from tidings.log.sqlite.log import SqliteLog
from tidings.operations.descriptions import describe, roll_up_progress, weight_of
from tidings.protocol.paths import parse_paths
from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import InMemoryClient, InMemoryHub, counted_ids
from tidings.testing.loop import ManualLoop

CONTRACT = Contract()
_IN_MEMORY = Path("/dev/shm")
CONFIG = HubConfig(maintain_s=1.0, status_s=20.0, metrics_s=60.0, estimate_s=5.0, lease_s=10.0, unattended_s=120.0)

# Hostile values.

NUMBERS: list[Any] = [
    *(0, 1, -1, 2, 100, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30),
    *(0.0, -0.0, 0.001, 5e-324, 1e-320, 99.999999999, 100.00001, 1e15, 1e16, 1e305, 1e308, -1e308),
]
TEXTS = [
    "",
    "a",
    "b",
    "import",
    "\x00",
    "\n",
    "é" * 127,
    "x" * 255,
    "x" * 300,
    "😀",
    "\u202e",
    '"',
    "\\",
    "1601-01-01T00:00:00Z",
]
TIMESTAMPS = [
    *("", "0001-01-01T00:00:00Z", "0001-01-01T00:53:28+00:53", "0000-12-31T19:03:58-04:56", "1601-01-01T00:00:00Z"),
    *("1677-09-21T00:12:43Z", "1678-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2016-12-31T23:59:60Z"),
    *(
        "2026-01-01T00:00:00.000000001Z",
        "2261-12-31T23:59:59.999999999Z",
        "2262-04-12T00:00:00Z",
        "9999-12-31T23:59:59.9Z",
    ),
]
json_values = st.recursive(
    st.sampled_from([None, True, False, *NUMBERS, *TEXTS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=3),
    max_leaves=6,
)
operation_ids = st.sampled_from(["op-1", "op-2", "op-3"])


def values_of(field: msgspec.inspect.Field) -> st.SearchStrategy[Any]:
    """Return values for a field: mostly of its type, each with the edges of what the type can hold."""
    kinds = field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else (field.type,)
    found: list[st.SearchStrategy[Any]] = []
    for kind in kinds:
        match kind:
            case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
                found.append(st.sampled_from(NUMBERS))
            case msgspec.inspect.StrType():
                found.append(st.sampled_from(TEXTS))
            case msgspec.inspect.LiteralType():
                found.append(st.sampled_from(kind.values))
            case msgspec.inspect.BoolType():
                found.append(st.booleans())
            case msgspec.inspect.ListType():
                found.append(st.lists(st.sampled_from(TEXTS), max_size=3))
            case msgspec.inspect.DictType():
                found.append(st.dictionaries(st.sampled_from(["weight", *TEXTS]), json_values, max_size=3))
            case msgspec.inspect.NoneType():
                pass
            case _:
                found.append(json_values)
    return st.one_of(found or [json_values])


def data_of(type: str) -> st.SearchStrategy[dict[str, Any]]:
    info = msgspec.inspect.type_info(CONTRACT.events[type].payload)
    if not isinstance(info, msgspec.inspect.StructType):
        return st.dictionaries(st.sampled_from(TEXTS), json_values, max_size=3)
    values = {
        field.encode_name: operation_ids
        if field.encode_name in ("operation_id", "parent_id")
        else st.sampled_from([0, 50, 99.5, 100]) | values_of(field)
        if field.encode_name == "progress"
        else values_of(field)
        for field in info.fields
    }
    required = {field.encode_name: values.pop(field.encode_name) for field in info.fields if field.required}
    return st.fixed_dictionaries(required, optional=values)


TYPES = sorted(type for type, row in CONTRACT.events.items() if row.publishable and not type.startswith("connection:"))


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Return a message of any type that clients may publish; sometimes with a character too many or too few."""
    type = draw(st.sampled_from([*TYPES, *(type for type in TYPES if type.startswith("operation:"))]))
    message: dict[str, Any] = {"type": type, "data": draw(data_of(type))}
    if draw(st.booleans()):
        message["timestamp"] = draw(st.sampled_from(TIMESTAMPS))
    if draw(st.integers(0, 3)) == 0:
        message["trace_id"] = draw(st.sampled_from(["t", "trace-1", *TEXTS]))
    if draw(st.integers(0, 3)) == 0:
        message["event_id"] = draw(st.sampled_from(["0123456789abcdef", "fedcba9876543210", *TEXTS]))
    if draw(st.integers(0, 3)) == 0:
        message["channel"] = "global"
    text = json.dumps(message, ensure_ascii=draw(st.booleans()))
    if draw(st.integers(0, 4)) == 0:
        place = draw(st.integers(0, len(text) - 1))
        piece = draw(st.sampled_from(["", "0", "9", "e", "-", "1e9", ".", '"', "{", "\\u0000", "\\ud800", ","]))
        text = text[:place] + piece + text[place + draw(st.integers(0, 1)) :]
    return text.encode()


class Folder:
    """A data folder, and the hub over it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="tidings-log-", dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None))
        self.clock = ManualClock()
        self.loop = ManualLoop(self.clock)
        self.mint = counted_ids()
        self.open_log()
        self.start_hub()

    def open_log(self) -> None:
        self.log = SqliteLog(self.path, self.loop, lambda: self.mint()[-8:], ballast_bytes=0, save_every=5)

    def start_hub(self) -> None:
        self.hub = InMemoryHub(
            CONFIG, log=self.log, clock=self.clock, loop=self.loop, contract=CONTRACT, mint=self.mint
        )
        SystemStatusPublisher(self.hub.hub, self.hub.connections).start()
        self.hub.hub.estimates.start()
        self.readers = [self.hub.connect("channels=*"), self.hub.connect("channels=*&contract=2025-01-30")]
        self.hub.settle()

    def run_all_timers(self) -> None:
        self.hub.loop.advance(130)
        jobs = self.hub.hub.jobs
        assert {job.name: job.failures for job in jobs if job.failures} == {}
        assert jobs.overdue() == []
        assert self.hub.hub.log_error is None
        assert self.log.statistics().set_aside == 0

    def close(self) -> None:
        self.hub.hub.close()
        self.log.close()
        found = verify(self.path)
        assert (found.faults, found.set_aside) == ((), ())

    def records(self) -> list[Record]:
        found: list[Record] = []
        after = 0
        while after < self.log.head:
            pages: list[Any] = []
            everything = parse_paths(("*",), CONTRACT.channels)
            self.log.read(Query(after=after, until=self.log.head, paths=everything, conflate=False), pages.append)
            [page] = pages
            assert isinstance(page, Page)
            found += page.records
            after = page.scanned
        return found

    def operations(self) -> dict[str, bytes]:
        table = self.log.operations
        described = {}
        for status in (*table.live, *table.ended):
            children = table.children(status.operation_id)
            of_children = roll_up_progress([(weight_of(child), child.progress) for child in children])
            described[status.operation_id] = msgspec.json.encode(describe(status, of_children=of_children))
        return described

    def remove(self) -> None:
        self.log.close()
        shutil.rmtree(self.path, ignore_errors=True)


def publish(client: InMemoryClient, bodies: list[bytes]) -> None:
    for body in bodies:
        if not client.connection.closing:
            client.send_raw(body)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(messages(), min_size=1, max_size=12), st.booleans())
@example([b'{"type":"operation:start","timestamp":"1601-01-01T00:00:00Z","data":{"operation_id":"x"}}'], False)
@example([b'{"type":"operation:start","timestamp":"0001-01-01T00:53:28+00:53","data":{"operation_id":"x"}}'], False)
@example([b'{"type":"operation:start","timestamp":"2261-12-31T23:59:59.9Z","data":{"operation_id":"x"}}'], True)
@example([b'{"type":"operation:start","data":{"operation_id":"op-1","attempt":9223372036854775807}}'], True)
@example([b'{"type":"operation:start","data":{"operation_id":"op-1","attempt":2147483647}}'] * 2, True)
@example(
    [
        line
        for duration in (b"1e308", b"0", b"0.001")
        for line in (
            b'{"type":"operation:start","data":{"operation_id":"op-1","name":"n"}}',
            b'{"type":"operation:complete","data":{"operation_id":"op-1","duration_ms":' + duration + b"}}",
        )
    ]
    + [b'{"type":"operation:start","data":{"operation_id":"op-2","name":"n"}}'],
    False,
)
def test_any_accepted_event_is_kept_through_all_timers_and_a_restart(bodies: list[bytes], attached: bool) -> None:
    folder = Folder()
    try:
        publisher = folder.hub.connect("channels=none", versioned=False)
        if attached:  # as a producer that is then lost
            producer = Producer(folder.hub, "p-1")
            producer.connect()
            producer.publish("start", "op-1", name="import")
            producer.drop()
        publish(publisher, bodies)
        folder.hub.settle()
        folder.run_all_timers()
        before = folder.records(), folder.operations()
        for reader in folder.readers:
            assert not reader.connection.closing
            reader.read()
        folder.close()
        folder.open_log()
        assert (folder.records(), folder.operations()) == before
        folder.start_hub()
        folder.run_all_timers()
        folder.close()
    finally:
        folder.remove()
