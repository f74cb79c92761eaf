import json
from typing import Any

import msgspec
import pytest

from tidings.client.drafts import uuid7
from tidings.client.publish_queue import Rank
from tidings.contract.contract import Contract
from tidings.contract.event_types import event
from tidings.protocol.envelope import check_event_id
from tidings.relay.translate import RecentIds, TranslatedEvent, Translator, derive_event_id, rename_operations
from tidings.relay.warnings import RelayWarnings

NOW_NS = 1_753_876_800_000_000_000
NOW = "2025-07-30T12:00:00Z"


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    trade_id: str


class Reader:
    """A translator, and its warnings."""

    def __init__(self, contract: Contract | None = None, **options: Any) -> None:
        self.reported: list[str] = []
        warnings = RelayWarnings(lambda text, hint: self.reported.append(f"{text} | {hint}"))
        self.translator = Translator(contract or Contract(), warnings, now_ns=lambda: NOW_NS, **options)

    def read(self, *envelopes: dict[str, Any] | bytes) -> list[TranslatedEvent]:
        bodies = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in envelopes]
        return list(self.translator.read(b"\n".join(bodies)))

    def one(self, **fields: Any) -> TranslatedEvent:
        (taken,) = self.read({"type": "data:update", "timestamp": NOW, "data": {"dataset": "a"}, **fields})
        return taken


def test_event_is_published_as_the_service_sent_it() -> None:
    taken = Reader().read(
        b'{"type":"operation:progress","timestamp":"2025-07-30T14:00:00.123456789+02:00","trace_id":"t-1",'
        b'"data":{"operation_id":"op-1", "progress":1.50,"extra":[ ]},"channel":"operations"}'
    )[0]
    draft = taken.draft
    assert (draft.type, draft.timestamp, draft.trace_id, draft.channel) == (
        "operation:progress",
        "2025-07-30T14:00:00.123456789+02:00",
        "t-1",
        "operations",
    )
    assert b"" + draft.data == b'{"operation_id":"op-1", "progress":1.50,"extra":[ ]}'
    assert (taken.rank, taken.key) == (Rank.LATEST, "op-1")


def test_repeated_envelope_has_the_same_id_and_is_skipped() -> None:
    first, second = Reader(), Reader()
    assert first.one().draft.event_id == second.one().draft.event_id
    assert first.one(trace_id="other").draft.event_id != second.one().draft.event_id
    first.translator.recent.add(first.one().draft.event_id)
    assert first.read({"type": "data:update", "timestamp": NOW, "data": {"dataset": "a"}}) == []
    assert first.translator.counts.known == 1


@pytest.mark.parametrize("timestamp", [None, "", "0001-01-01T00:00:00Z", "0001-01-01T02:00:00+02:00"])
def test_event_without_a_timestamp_is_stamped_and_not_deduplicated(timestamp: str | None) -> None:
    reader = Reader()
    drafts = [reader.one(timestamp=timestamp).draft for _ in range(2)]
    assert [draft.timestamp for draft in drafts] == [NOW, NOW]
    assert drafts[0].event_id != drafts[1].event_id
    assert drafts[0].event_id[:13] == uuid7(NOW_NS // 1_000_000, 0)[:13]
    assert len(reader.reported) == 1
    assert "has no timestamp" in reader.reported[0]


def test_early_timestamp_that_is_not_zero_is_kept() -> None:
    assert Reader().one(timestamp="0001-01-01T00:00:00.5Z").draft.timestamp == "0001-01-01T00:00:00.5Z"
    assert Reader().one(timestamp="0001-01-01 nonsense").draft.timestamp == "0001-01-01 nonsense"


@pytest.mark.parametrize(
    "type",
    ["connection:established", "connection:closed", "connection:welcome", "auth:success", "channel:live", "event:new"],
)
def test_connection_messages_are_skipped_without_a_warning(type: str) -> None:
    reader = Reader()
    assert reader.read({"type": type, "data": {}}) == []
    assert (reader.translator.counts.direct, reader.reported) == (1, [])


@pytest.mark.parametrize("type", ["license:expired", "operation:estimate"])
def test_hub_only_types_are_skipped_with_one_warning(type: str) -> None:
    reader = Reader()
    assert reader.read({"type": type, "data": {}}, {"type": type, "data": {}}) == []
    assert reader.translator.counts.direct == 2
    assert [type in text for text in reader.reported] == [True]


def test_old_type_name_is_published_unchanged_with_its_key() -> None:
    error = {"operation_id": "op-1", "code": "x", "message": "", "recoverable": False}
    (taken,) = Reader().read({"type": "operation:error", "timestamp": NOW, "data": error})
    assert (taken.draft.type, taken.rank, taken.key) == ("operation:error", Rank.LIFECYCLE, "op-1")


def test_unknown_type_is_published_with_one_warning_and_a_suggestion() -> None:
    reader = Reader()
    taken = reader.read(*[{"type": "data:updated", "timestamp": NOW, "data": 1, "channel": "data"}] * 3)
    assert [(each.draft.type, each.draft.channel, each.key) for each in taken] == [("data:updated", "data", None)] * 3
    assert dict(reader.translator.unknown) == {"data:updated": 3}
    assert len(reader.reported) == 1
    assert "'data:update'" in reader.reported[0]


def test_custom_contract_is_used() -> None:
    contract = Contract.of(event("trade:executed", Trade, channel="trades", key="trade_id"))
    reader = Reader(contract)
    (taken,) = reader.read({"type": "trade:executed", "timestamp": NOW, "data": {"trade_id": "7"}, "channel": "trades"})
    assert (taken.key, taken.draft.channel, reader.reported) == ("7", "trades", [])


@pytest.mark.parametrize(
    ("type", "channel", "published"),
    [
        ("data:update", None, None),
        ("data:update", "data", "data"),
        ("data:update", "global", "global"),
        ("data:update", "system", None),
        ("data:update", "nowhere", None),
        ("thing:done", "system", "system"),
        ("thing:done", "nowhere", None),
    ],
)
def test_event_gets_a_channel_that_the_hub_allows(type: str, channel: str | None, published: str | None) -> None:
    reader = Reader()
    assert reader.one(type=type, channel=channel).draft.channel == published
    reported = [text for text in reader.reported if "channel" in text]
    assert len(reported) == (channel is not None and published is None)


def test_invalid_envelope_is_counted_and_reported_once_per_kind() -> None:
    reader = Reader()
    taken = reader.read(
        b"nonsense", b"more nonsense", b'{"data":1}', b'{"type":"data:update","data":"\xff"}', b"[" * 99
    )
    assert taken == []
    assert (reader.translator.counts.invalid, reader.translator.counts.envelopes) == (5, 5)
    codes = ["invalid_json", "invalid_envelope", "invalid_utf8", "too_deep"]
    assert [code in text for code, text in zip(codes, reader.reported, strict=True)] == [True] * 4
    assert "'nonsense'" in reader.reported[0]


@pytest.mark.parametrize("fields", [{"data": "x" * 65_534}, {"trace_id": "t" * 9_000}])
def test_oversized_event_is_not_sent_to_the_hub(fields: dict[str, str]) -> None:
    reader = Reader()
    assert reader.read({"type": "data:update", "timestamp": NOW, **fields}) == []
    assert "payload_too_large" in reader.reported[0]


def test_prefix_is_added_once_and_included_in_event_ids() -> None:
    plain, prefixed = Reader(), Reader(prefix="acme.")
    start = {"type": "operation:start", "timestamp": NOW, "data": {"operation_id": "a", "parent_id": "acme.b"}}
    (taken,) = prefixed.read(start)
    assert json.loads(b"" + taken.draft.data) == {"operation_id": "acme.a", "parent_id": "acme.b"}
    assert taken.key == "acme.a"
    assert taken.draft.event_id != plain.read(start)[0].draft.event_id
    (long,) = prefixed.read({"type": "operation:log", "timestamp": NOW, "data": {"operation_id": "x" * 252}})
    assert json.loads(b"" + long.draft.data)["operation_id"] == "x" * 252


def test_invalid_data_is_sent_to_the_hub_to_be_refused() -> None:
    taken = Reader().one(data={"dataset": 5})
    assert (taken.rank, taken.key) == (Rank.DURABLE, None)


EVENT = ("data:update", "2025-07-30T12:00:00.5Z", "trace", "data", b'{"dataset":"a"}')


def test_derived_event_id_is_stable_across_processes() -> None:
    assert derive_event_id(*EVENT) == "relay-6a032bd65946aa09777de7c2970de683b6a42fd1"
    assert check_event_id(derive_event_id(*EVENT)) == derive_event_id(*EVENT)


def test_derived_event_id_depends_on_every_part() -> None:
    ids = {derive_event_id(*EVENT)}
    for number in range(4):
        changed = list(EVENT)
        changed[number] += "x"  # type: ignore[operator]
        ids.add(derive_event_id(*changed))  # type: ignore[arg-type]
    ids.add(derive_event_id(*EVENT[:4], b'{"dataset":"b"}'))
    ids.add(derive_event_id("data:update2", "025-07-30T12:00:00.5Z", *EVENT[2:]))
    assert len(ids) == 7


def renamed(type: str, data: dict[str, Any]) -> Any:
    return json.loads(rename_operations(type, json.dumps(data).encode(), lambda id: f"acme.{id}"))


@pytest.mark.parametrize(
    ("type", "data", "expected"),
    [
        ("operation:progress", {"operation_id": "a", "x": [1]}, {"operation_id": "acme.a", "x": [1]}),
        (
            "operation:start",
            {"name": "n", "operation_id": "a", "parent_id": "b", "resumes": "c"},
            {"name": "n", "operation_id": "acme.a", "parent_id": "acme.b", "resumes": "acme.c"},
        ),
        ("operation:start", {"operation_id": "a", "parent_id": None}, {"operation_id": "acme.a", "parent_id": None}),
        ("operation:start", {"operation_id": "a", "parent_id": ""}, {"operation_id": "acme.a", "parent_id": ""}),
        (
            "system:alert",
            {"alert_id": "producer_away:a", "operation_id": "a"},
            {"alert_id": "producer_away:acme.a", "operation_id": "acme.a"},
        ),
        ("system:alert", {"alert_id": "disk", "operation_id": "a"}, {"alert_id": "disk", "operation_id": "acme.a"}),
        ("system:alert", {"alert_id": "disk"}, {"alert_id": "disk"}),
        ("data:update", {"dataset": "operation_id", "parent_id": "b"}, {"dataset": "operation_id", "parent_id": "b"}),
        ("trade:executed", {"operation_id": "a", "parent_id": "b"}, {"operation_id": "acme.a", "parent_id": "b"}),
        ("operation:log", {"operation_id": 7}, {"operation_id": 7}),
    ],
)
def test_renaming_changes_only_members_that_name_an_operation(
    type: str, data: dict[str, Any], expected: dict[str, Any]
) -> None:
    result = renamed(type, data)
    assert result == expected
    assert list(result) == list(data)


@pytest.mark.parametrize("data", [b"null", b"5", b'["operation_id"]', b'"operation_id"', b'{"operation_id"'])
def test_renaming_leaves_data_that_is_not_an_object(data: bytes) -> None:
    assert rename_operations("operation:log", data, str.upper) == data


def test_renaming_keeps_the_bytes_of_other_members() -> None:
    data = b'{"operation_id":"a","n":1.50,"big":12345678901234567890123,"s":"\\u00e9"}'
    assert rename_operations("operation:log", data, str.upper) == data.replace(b'"a"', b'"A"')


def test_recent_ids_drop_the_oldest() -> None:
    recent = RecentIds(3)
    for id in ("a", "b", "c", "a", "d"):
        recent.add(id)
    assert [id in recent for id in "abcd"] == [True, False, True, True]
    assert len(recent) == 3
