from typing import Any
from unittest import mock

import pytest

from tidings.testing import ABSENT, ANYTHING, approx, containing, event, satisfying
from tidings.testing.matching import SeenEvent


def differences(is_: dict[str, Any], **wanted: Any) -> list[str]:
    return event("data:update", wanted).differences(SeenEvent(type="data:update", data=is_))


@pytest.mark.parametrize(
    ("wanted", "is_"),
    [
        (3, 3),
        (3, 3.0),
        ("a", "a"),
        (None, None),
        (ANYTHING, None),
        (approx(1.0), 1.0 + 1e-7),
        (approx(10, within=2), 12),
        (containing("price"), "prices"),
        (containing("a"), ["a", "b"]),
        (containing("a"), {"a": 1}),
        (satisfying(lambda value: value > 3), 4),
        (pytest.approx(0.3), 0.1 + 0.2),
        (mock.ANY, {"a": 1}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": {"b": ABSENT}}, {"a": {}}),
        ([1, {"a": ANYTHING}], [1, {"a": 2, "b": 3}]),
        ((1, 2), [1, 2]),
    ],
)
def test_matcher_accepts(wanted: Any, is_: Any) -> None:
    assert differences({"member": is_, "other": 1}, member=wanted) == []


@pytest.mark.parametrize(
    ("wanted", "is_", "difference"),
    [
        (3, 4, "member: expected 3, is 4"),
        (3, "3", "member: expected 3, is '3'"),
        (approx(1, within=0.5), 2, "member: expected 1 ± 0.5, is 2"),
        (approx(1), "1", "member: expected 1 ± 1e-06, is '1'"),
        (approx(1), True, "member: expected 1 ± 1e-06, is True"),
        (containing("x"), "prices", "member: expected containing 'x', is 'prices'"),
        (containing("x"), 3, "member: expected containing 'x', is 3"),
        (containing(3), "3", "member: expected containing 3, is '3'"),
        (ABSENT, 1, "member: expected to be absent, is 1"),
        (satisfying(str.isupper), "a", "member: expected satisfying isupper, is 'a'"),
        (satisfying(str.isupper, "in capitals"), "a", "member: expected in capitals, is 'a'"),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, "member.a.b: expected 1, is 2"),
        ({"a": 1}, {}, "member.a: expected 1, is absent"),
        ({"a": 1}, 3, "member: expected {'a': 1}, is 3"),
        ([1, 2], [1, 3], "member[1]: expected 2, is 3"),
        ([1, 2], [1], "member: expected [1, 2], is [1]"),
    ],
)
def test_matcher_rejects_with_a_difference(wanted: Any, is_: Any, difference: str) -> None:
    assert differences({"member": is_}, member=wanted) == [difference]


def test_every_difference_is_listed() -> None:
    assert differences({"a": 1, "b": 2}, a=2, b=2, c=ANYTHING) == [
        "a: expected 2, is 1",
        "c: expected anything, is absent",
    ]


def test_only_given_envelope_members_are_compared() -> None:
    seen = SeenEvent(type="data:update", key="prices", trace_id="t-1", channel="global")
    assert event("data:update", key="prices", trace_id=containing("t-"), channel="global").differences(seen) == []
    assert event("data:update", key="other").differences(seen) == ["key: expected 'other', is 'prices'"]
    assert event("data:error").differences(seen) == ["type: expected data:error, is data:update"]


def test_members_named_like_envelope_members_are_given_in_a_mapping() -> None:
    seen = SeenEvent(type="door:opened", data={"key": "spare", "class": 2})
    assert event("door:opened", {"key": "spare", "class": 2}).differences(seen) == []


def test_expected_event_prints_like_a_seen_one() -> None:
    assert str(event("data:update", key="prices", records=approx(3))) == (
        "data:update  key='prices', records=3 ± 1e-06"
    )
    assert str(event("data:update")) == "data:update"
