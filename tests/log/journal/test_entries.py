import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.log.journal.events import RECEIVED_NS, batches, events

from tidings.exceptions import LogCorrupt, LogTooNew
from tidings.log.base import EventToAppend
from tidings.log.journal.entries import (
    MAX_BYTES,
    MAX_EVENTS,
    RULES,
    NodeBatch,
    count_fitting,
    decode_batch,
    encode_batch,
    event_bytes,
    max_entry_bytes,
)
from tidings.log.journal.sqlite import MAX_BODY_BYTES
from tidings.protocol.envelope import MAX_DATA_BYTES, Event
from tidings.protocol.message_types import EventClass

pack = msgspec.msgpack.encode


def make_event(data: bytes, text: str = "x" * 64) -> EventToAppend:
    event = Event(text, text, text, data, text, text, EventClass.DURABLE, text)
    return EventToAppend(event, RECEIVED_NS, text, text, 30.0)


def row(**changes: object) -> list[object]:
    values: dict[str, object] = {
        "type": "t", "timestamp": "", "trace_id": "", "data": b"{}", "channel": "c", "key": None, "latest": False,
        "event_id": None, "effect": 0, "received_ns": 0, "scope": "", "producer_id": "", "lease_s": 0.0, "rare": None,
        "max_live": 0,
    }  # fmt: skip
    return list((values | changes).values())


@given(batches)
def test_batch_is_the_same_after_encoding_and_decoding(batch: NodeBatch) -> None:
    body = encode_batch(batch)
    assert decode_batch(body) == batch
    assert encode_batch(decode_batch(body)) == body


def check_hostile(body: bytes) -> None:
    try:
        decode_batch(body)
    except LogTooNew:
        rules = msgspec.msgpack.decode(body, type=list[msgspec.Raw])[0]  # the rest may have any form
        assert msgspec.msgpack.decode(rules) > RULES
    except LogCorrupt:
        pass


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x95" * 10_000)
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\x95\x01\xa1s\x01\xdd\xff\xff\xff\xff")
@example(pack([1, "s", 1, [], []]) + b"\x00")
@example(pack([RULES + 1, "s", 1, [], []]).replace(b"\xa1s", b"\xa1\xff"))
@settings(max_examples=500)
def test_any_bytes_are_decoded_or_refused_with_one_error(body: bytes) -> None:
    check_hostile(body)


@given(batches, st.data())
@settings(max_examples=300)
def test_damaged_body_is_decoded_or_refused_with_one_error(batch: NodeBatch, data: st.DataObject) -> None:
    body = bytearray(encode_batch(batch))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    check_hostile(bytes(body[: data.draw(st.integers(0, len(body)))]))


@pytest.mark.parametrize(
    "body",
    [
        pack(None),
        pack({"rules": 1}),
        pack([1, "s", 1, []]),
        pack([1, "s", 1, [], [], []]),
        pack([1, "s", 0, [], []]),
        pack([1, "s", -1, [], []]),
        pack([1, "s", 2**63, [], []]),
        pack([1, "", 1, [], []]),
        pack([1, "s" * 65, 1, [], []]),
        pack([1, b"s", 1, [], []]),
        pack([True, "s", 1, [], []]),
        pack([1, "s", 1, [row()[:-1]], []]),
        pack([1, "s", 1, [[*row(), 0]], []]),
        pack([1, "s", 1, [row(effect=3)], []]),
        pack([1, "s", 1, [row(effect=-1)], []]),
        pack([1, "s", 1, [row(data="text")], []]),
        pack([1, "s", 1, [row(latest=1)], []]),
        pack([1, "s", 1, [row(lease_s=-1.0)], []]),
        pack([1, "s", 1, [row(lease_s=float("nan"))], []]),
        pack([1, "s", 1, [row(lease_s=float("inf"))], []]),
        pack([1, "s", 1, [row(rare=[False, True, None, 0])], []]),
        pack([1, "s", 1, [row(rare=[False, True, None, -1, None])], []]),
        pack([1, "s", 1, [row(rare=[False, True, [None], 0, None])], []]),
        pack([1, "s", 1, [row(rare=[False, True, [[["c", [["c", 1, False]]]], True], 0, None])], []]),
        pack([1, "s", 1, [row()] * (MAX_EVENTS + 1), []]),
        pack([1, "s", 1, [], [[99]]]),
        pack([1, "s", 1, [], [[2, 1]]]),
        pack([1, "s", 1, [], [[2, 1, 1, 1]]]),
        pack([1, "s", 1, [], [[2, -1, 1]]]),
        pack([1, "s", 1, [], [["2", 1, 1]]]),
        b"\x95\x01\xa1\xff\x01\x90\x90",
    ],
)
def test_body_that_no_version_writes_is_refused(body: bytes) -> None:
    with pytest.raises(LogCorrupt):
        decode_batch(body)


@pytest.mark.parametrize("rest", [["s", 1, [], []], [], ["s", 1, [], [], "a new field"], [{"another": "form"}]])
def test_body_of_newer_rules_is_refused_as_too_new(rest: list[object]) -> None:
    with pytest.raises(LogTooNew, match=f"rules {RULES + 1}"):
        decode_batch(pack([RULES + 1, *rest]))


# Bounds.


def test_largest_event_fits_in_the_smallest_entry() -> None:
    event = make_event(b"1" * MAX_DATA_BYTES, "\U0001f680" * 255)
    smallest = max_entry_bytes(4 * MAX_DATA_BYTES)
    body = encode_batch(NodeBatch(rules=RULES, session="s" * 64, number=2**63 - 1, events=[event], controls=[]))
    assert len(body) <= smallest
    assert count_fitting([event], smallest) == 1
    with pytest.raises(ValueError, match="invalid size of a body 262139"):
        max_entry_bytes(4 * MAX_DATA_BYTES - 1)


def test_entry_takes_half_a_mebibyte_or_half_of_what_the_journal_takes() -> None:
    assert max_entry_bytes(MAX_BODY_BYTES) == MAX_BYTES == 512 * 1_024
    assert max_entry_bytes(MAX_BYTES) == MAX_BYTES // 2


@given(events)
def test_size_of_an_event_is_at_least_what_it_adds_to_an_entry(event: EventToAppend) -> None:
    def size(count: int) -> int:
        return len(encode_batch(NodeBatch(rules=1, session="s", number=1, events=[event] * count, controls=[])))

    assert size(5) - size(4) <= event_bytes(event)


@pytest.mark.parametrize("size", [0, 100, 1_000, MAX_DATA_BYTES])
@pytest.mark.parametrize("text", ["", "x" * 64, "\U0001f680" * 64])
def test_events_that_fit_are_within_the_bounds(size: int, text: str) -> None:
    waiting = [make_event(b"1" * size, text)] * (MAX_EVENTS + 10)
    count = count_fitting(waiting, MAX_BYTES)
    body = encode_batch(NodeBatch(rules=1, session="s" * 64, number=1, events=waiting[:count], controls=[]))
    assert 1 <= count <= MAX_EVENTS
    assert len(body) <= MAX_BYTES + 200
    assert count == MAX_EVENTS or event_bytes(waiting[0]) * (count + 1) > MAX_BYTES
    assert len(decode_batch(body).events) == count


def test_nothing_fits_of_nothing() -> None:
    assert count_fitting([], MAX_BYTES) == 0
