import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.producer.drafts import draft, event_id

from tidings.producer.spool.file import (
    SpooledEvent,
    SpoolHeader,
    SpoolLine,
    encode_line,
    file_name,
    name_prefix,
    parse_spool,
)
from tidings.protocol.payloads import OperationStartData

HEADER = SpoolHeader(url="ws://hub/ws", producer_id="p-1", pid=7)


def lines(*those: SpoolLine) -> bytes:
    return b"".join(encode_line(line) + b"\n" for line in (HEADER, *those))


def keep(number: int) -> SpoolLine:
    return SpoolLine(keep=SpooledEvent(draft=draft(number)))


def test_kept_events_are_pending_in_order_until_done() -> None:
    header, pending = parse_spool(lines(keep(1), keep(2), keep(3), SpoolLine(done=event_id(2))))
    assert header == HEADER
    assert list(pending) == [event_id(1), event_id(3)]


def test_event_round_trips() -> None:
    again = OperationStartData(operation_id="op-1", metadata={"größe": [1, None]})
    kept = SpooledEvent(draft=draft(1, name="größer", trace=[1, None]), attempt=2, again=again)
    _, pending = parse_spool(lines(SpoolLine(keep=kept)))
    assert pending == {event_id(1): kept}


@given(st.integers(0, 400))
def test_truncated_file_yields_all_complete_lines(cut: int) -> None:
    whole = lines(keep(1), keep(2))
    body = whole[: len(whole) - min(cut, len(whole))]
    header, pending = parse_spool(body)
    entries = body.count(b"\n") - 1
    if entries < 0:
        assert header is None or body == whole[: len(body)]
    assert len(pending) >= max(0, entries)
    assert set(pending) <= {event_id(1), event_id(2)}


@pytest.mark.parametrize("torn", [encode_line(keep(2))[:40], b'{"x":' + b"[" * 100_000, b"\xff\x00"], ids=len)
def test_partial_line_affects_no_other_line(torn: bytes) -> None:
    _, pending = parse_spool(lines(keep(1)) + torn + b"\n" + encode_line(keep(3)) + b"\n")
    assert list(pending) == [event_id(1), event_id(3)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n",
        b"hello\n",
        b'{"x":' + b"[" * 100_000,
        b'{"spool":1}\n',
        b'{"spool":2,"url":"u","producer_id":"p","pid":1}\n',
    ],
)
def test_file_of_another_format_is_empty(body: bytes) -> None:
    assert parse_spool(body + encode_line(keep(1)) + b"\n") == (None, {})


def test_file_names_differ_by_url_without_showing_it() -> None:
    assert file_name("ws://user:secret@hub/ws", "p-1").startswith(name_prefix("ws://user:secret@hub/ws"))
    assert "secret" not in file_name("ws://user:secret@hub/ws", "p-1")
    assert name_prefix("ws://a/ws") != name_prefix("ws://b/ws")
