import json

from msgspec import Raw

from tidings.cli.replay.player import KeptIds, NewIds
from tidings.protocol.envelope import Envelope, check_event_id

AT = "2025-07-30T12:00:00Z"


def test_kept_ids_are_recorded_or_derived_ids() -> None:
    with_id = Envelope("a:b", AT, "t", Raw(b"1"), event_id="e" * 16)
    without = Envelope("a:b", AT, "t", Raw(b"1"))
    assert KeptIds().event_id(with_id) == "e" * 16
    first = KeptIds().event_id(without)
    assert first is not None
    assert check_event_id(first) == KeptIds().event_id(without)
    assert KeptIds().event_id(Envelope("a:b", None, "t", Raw(b"1"))) is None


def test_new_ids_are_consistent_in_a_replay_and_differ_between_replays() -> None:
    ids, others = NewIds(), NewIds()
    start = json.loads(ids.data("operation:start", b'{"operation_id":"b","parent_id":"a","resumes":"c"}'))
    parent = json.loads(ids.data("operation:start", b'{"operation_id":"a"}'))
    assert start["parent_id"] == parent["operation_id"] == ids.operation_id("a")
    assert start["resumes"] == ids.operation_id("c")
    assert ids.operation_id("acme.a").startswith("acme.a~"), "prefixes of paths still match"
    assert ids.operation_id("a") != others.operation_id("a")
    assert ids.trace_id("t") == ids.trace_id("t") != others.trace_id("t")
    assert len(ids.trace_id("t")) == 32
    envelope = Envelope("a:b", AT, "t", Raw(b"1"), event_id="e" * 16)
    assert ids.event_id(envelope) != ids.event_id(envelope)


def test_a_new_id_for_the_longest_id_is_valid() -> None:
    ids = NewIds("mark")
    longest = "ü" * 127 + "x"
    assert len(ids.operation_id(longest).encode()) <= 255
    assert ids.operation_id(longest) != ids.operation_id(longest[:-1] + "y")
