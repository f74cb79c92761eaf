import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from tests.contract.envelopes import message

from tidings.contract.contract import Contract
from tidings.contract.event_types import event
from tidings.contract.traffic_check import UNREADABLE, TrafficCheck, find_field_faults


class Venue(msgspec.Struct, frozen=True, kw_only=True):
    name: str


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    trade_id: str
    price: float
    side: str = "buy"
    venues: list[Venue] | None = None
    rates: dict[str, float] | None = None


class OlderTrade(msgspec.Struct, frozen=True, kw_only=True):
    trade_id: str
    price: int


TRADES = Contract.of(event("trade:executed", Trade, channel="trades", key="trade_id"))
OLDER = Contract.of(
    event("trade:executed", OlderTrade, channel="trades", key="trade_id"),
    event("trade:gone", OlderTrade, channel="trades"),
)
GOOD = {"trade_id": "a", "price": 1}


def trade(**members: Any) -> bytes:
    return message("trade:executed", json.dumps({**GOOD, **members}))


def checked(lines: Iterable[bytes], contract: Contract = TRADES, old: Contract | None = None) -> TrafficCheck:
    check = TrafficCheck(contract, old)
    for number, line in enumerate(lines, 1):
        check.check_line(line, f"line {number}")
    return check


def told(check: TrafficCheck) -> list[tuple[str, str, str, int, str]]:
    return [(each.type, each.code, each.path, each.count, each.first) for each in check.findings.values()]


def test_valid_events_are_counted() -> None:
    check = checked([trade(), trade(), message("data:update", "null")])
    assert (check.events, check.refused, told(check)) == (3, 0, [])
    assert check.by_type == {"trade:executed": 2, "data:update": 1}


def test_each_invalid_field_is_counted_by_its_path() -> None:
    lines = [
        trade(),
        trade(price="1"),
        message("trade:executed", '{"price":"1"}'),
        trade(venues=[{"name": "x"}, {"name": 5}], rates={"eur": "1"}),
        trade(side=7, venues=[{}]),
    ]
    check = checked(lines)
    assert told(check) == [
        ("trade:executed", "invalid_payload", "$.data.price", 2, "line 2"),
        ("trade:executed", "invalid_payload", "$.data.trade_id", 1, "line 3"),
        ("trade:executed", "invalid_payload", "$.data.venues[*].name", 1, "line 4"),
        ("trade:executed", "invalid_payload", "$.data.rates.*", 1, "line 4"),
        ("trade:executed", "invalid_payload", "$.data.side", 1, "line 5"),
        ("trade:executed", "invalid_payload", "$.data.venues[*]", 1, "line 5"),
    ]
    assert check.refused == 4
    assert (
        check.findings["trade:executed", "invalid_payload", "$.data.price"].message == "Expected `number`, got `string`"
    )


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        (b"{", (UNREADABLE, "invalid_json", "$")),
        (b"[]", (UNREADABLE, "invalid_envelope", "$")),
        (b'{"type":5}', (UNREADABLE, "invalid_envelope", "$.type")),
        (b'{"type":"\xff"}', (UNREADABLE, "invalid_utf8", "$")),
        (b'{"type":"' + b"x" * 300_000, (UNREADABLE, "payload_too_large", "$")),
        (
            message("trade:executed", json.dumps(GOOD)[:-1] + ',"x":1,"x":2}'),
            ("trade:executed", "invalid_json", "$.data"),
        ),
        (trade(Trade_ID="x"), ("trade:executed", "invalid_payload", "$.data")),
        (message("trade:executed", "5"), ("trade:executed", "invalid_payload", "$.data")),
        (message("trade:executed", "null"), ("trade:executed", "invalid_payload", "$.data")),
        (trade(trade_id=""), ("trade:executed", "invalid_key", "$.data.trade_id")),
        (
            message("trade:executed", json.dumps(GOOD), channel='"data"'),
            ("trade:executed", "wrong_channel", "$.channel"),
        ),
        (
            message("trade:executed", json.dumps(GOOD), channel='"x"'),
            ("trade:executed", "unknown_channel", "$.channel"),
        ),
        (
            message("trade:executed", json.dumps(GOOD), timestamp='"today"'),
            ("trade:executed", "invalid_timestamp", "$.timestamp"),
        ),
        (message("trade:executd", json.dumps(GOOD)), ("trade:executd", "unknown_type", "$.type")),
    ],
)
def test_each_kind_of_rejected_line_is_a_finding(line: bytes, finding: tuple[str, str, str]) -> None:
    check = checked([line])
    assert (check.events, check.refused) == (1, 1)
    assert told(check) == [(*finding, 1, "line 1")]


def test_unknown_type_has_the_nearest_name_as_hint() -> None:
    check = checked([message("trade:executd", "{}"), message("trade:executd", "{}"), message("zzz:qqq", "{}")])
    assert [(each.hint, each.count) for each in check.findings.values()] == [
        ("Did you mean 'trade:executed'?", 2),
        ("", 1),
    ]


def test_hub_messages_are_not_checked_as_publications() -> None:
    lines = [
        message("connection:established", "{}"),
        message("channel:subscribe", '{"channels":["trades"]}', id='"1"'),
        message("event:accepted", '{"position":"0badc0de:1"}'),
        message("operation:estimate", '{"operation_id":"a","stalled":false}'),
        message("license:expired", "{}"),
    ]
    check = checked(lines)
    assert (check.messages, check.events, check.refused) == (3, 2, 0)


def test_events_that_only_the_hub_writes_are_checked() -> None:
    assert told(checked([message("operation:estimate", '{"operation_id":"a"}')])) == [
        ("operation:estimate", "invalid_payload", "$.data.stalled", 1, "line 1")
    ]


def test_own_event_that_is_not_publishable_is_rejected() -> None:
    own = msgspec.structs.replace(event("trade:executed", Trade, channel="trades"), publishable=False)
    assert told(checked([trade()], Contract.of(own))) == [("trade:executed", "not_publishable", "$.type", 1, "line 1")]


def test_deprecated_types_are_counted_with_their_replacement() -> None:
    failed = '{"operation_id":"a","code":"x","message":"y","recoverable":false}'
    own = Contract.of(event("trade:executed", Trade, channel="trades", deprecated="Publish trade:made."))
    check = checked([message("operation:error", failed), trade(), trade()], own)
    assert check.refused == 0
    assert [(each.type, each.count, each.first, each.hint) for each in check.deprecated.values()] == [
        ("operation:error", 1, "line 1", "Publish operation:failed."),
        ("trade:executed", 2, "line 2", "Publish trade:made."),
    ]
    wrong = checked([message("operation:error", '{"operation_id":"a"}')])
    assert {each[2] for each in told(wrong)} == {"$.data.code", "$.data.message", "$.data.recoverable"}


def test_finding_names_the_position_of_a_message() -> None:
    check = checked([message("trade:executed", "{}", position='"0badc0de:7"')])
    assert {each.first for each in check.findings.values()} == {"line 1, position 0badc0de:7"}


def test_fault_in_both_contracts_is_not_new() -> None:
    lines = [
        trade(price=1.5),  # only the old one refuses it
        trade(price="1"),  # both
        message("trade:gone", json.dumps(GOOD)),  # only the new one
        message("trade:never", "{}"),  # both
        message("data:update", "{}"),  # neither
        b"{",  # both
    ]
    check = checked(lines, TRADES, OLDER)
    assert (check.refused, check.refused_before, check.newly_refused, check.accepted_now) == (4, 3, 1, 1)
    news = {each.type for each in check.findings.values() if each.before < each.count}
    assert news == {"trade:gone"}
    assert checked(lines).newly_refused == 4


def test_lenient_contract_accepts_undeclared_types() -> None:
    lines = [message("own:thing", '{"x":1}'), message("own:thing", '{"x":2}'), message("channel:own", "{}")]
    check = checked(lines, TRADES.with_validation(lenient=True))
    assert (check.undeclared, check.refused) == (2, 1)


def test_findings_are_bounded_for_a_recording_of_garbage() -> None:
    check = checked(message(f"own:thing_{number}", "{}") for number in range(3_000))
    assert (check.events, check.refused) == (3_000, 3_000)
    assert len(check.findings) == len(check.by_type) == 1_000
    assert check.unlisted == 2_000


def test_ignored_types_are_not_checked() -> None:
    check = TrafficCheck(TRADES, ignored_types=frozenset({"tidings:recording"}))
    check.check_line(message("tidings:recording", "{}"), "line 1")
    assert (check.events, check.messages) == (0, 1)


class Closed(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    trade_id: str


def test_fault_outside_of_a_field_has_the_decoder_s_message() -> None:
    assert list(find_field_faults(Closed, b'{"tradeId":"a","more":1}')) == []
    assert list(find_field_faults(Closed, b"[]")) == []
    assert list(find_field_faults(Closed, b'{"trade_id":"a"}')) == [("$.data.tradeId", "a required field is missing")]
    own = Contract.of(event("trade:executed", Closed, channel="trades"))
    check = checked([message("trade:executed", '{"tradeId":"a","more":1}')], own)
    assert [each[2] for each in told(check)] == ["$.data"]
    assert "more" in next(iter(check.findings.values())).message
