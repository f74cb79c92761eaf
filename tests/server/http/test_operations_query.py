from typing import Any
from urllib.parse import unquote

import pytest

from tidings.exceptions import InvalidParameter, TidingsError
from tidings.hub.connection_query import read_values
from tidings.operations.lifecycle import OperationLife, OperationState
from tidings.operations.status import OperationStatus
from tidings.protocol.messages import Cancel
from tidings.server.http.operations_query import (
    OperationPath,
    matches_name,
    parse_operation_path,
    read_cancel,
    read_filter,
    read_wait,
)

SECOND = 1_000_000_000
NOW = 1_753_876_800 * SECOND  # 2025-07-30T12:00:00Z


def operation(**members: Any) -> OperationStatus:
    state = members.pop("state", OperationState.RUNNING)
    return OperationStatus(operation_id="op", life=OperationLife(1, state, "t"), **members)


def matches(query: str, status: OperationStatus) -> bool:
    return read_filter(query, NOW).matches(status)


@pytest.mark.parametrize(
    ("find", "found"), [("op", True), ("o", True), ("nightly", True), ("night", False), ("p", False)]
)
def test_find_matches_the_beginning_of_an_id_or_a_whole_name(find: str, found: bool) -> None:
    assert matches(f"find={find}", operation(name="nightly")) is found


# Paths.


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ("/v1/operations/a", OperationPath("a", False)),
        ("/v1/operations/a%2Fb", OperationPath("a/b", False)),
        ("/v1/operations/a/b", OperationPath("a/b", False)),
        ("/v1/operations/a/cancel", OperationPath("a", True)),
        ("/v1/operations/a%2Fcancel", OperationPath("a/cancel", False)),
        ("/v1/operations/a%2Fcancel/cancel", OperationPath("a/cancel", True)),
        ("/v1/operations/cancel", OperationPath("cancel", False)),
        ("/v1/operations//cancel", OperationPath("/cancel", False)),
        ("/v1/operations/%C3%A4%25%3F", OperationPath("ä%?", False)),
        ("/v1/operations/", None),
        ("/v1/operation-names", None),
    ],
)
def test_operation_path_decodes_an_id_with_a_slash(raw: str, place: OperationPath | None) -> None:
    scope = {"type": "http", "path": unquote(raw), "raw_path": raw.encode()}
    assert parse_operation_path(scope) == place


def test_operation_path_is_found_below_a_mount() -> None:
    scope = {"path": "/my app/v1/operations/a/b", "root_path": "/my app", "raw_path": b"/my%20app/v1/operations/a%2Fb"}
    assert parse_operation_path(scope) == OperationPath("a/b", False)


def test_operation_path_without_raw_path_is_parsed() -> None:
    assert parse_operation_path({"path": "/v1/operations/50% of/a"}) == OperationPath("50% of/a", False)
    assert parse_operation_path({"path": "/v1/operations/a/b/cancel", "raw_path": None}) == OperationPath("a/b", True)


# Filters.


def test_empty_query_matches_all_operations() -> None:
    query = read_filter("", NOW)
    assert (query.limit, query.after) == (100, None)
    assert query.matches(operation())


def test_query_filters_by_state() -> None:
    assert matches("state=running&state=failed", operation())
    assert not matches("state=queued", operation())


@pytest.mark.parametrize(
    ("query", "name", "expected"),
    [
        ("name=Import%20prices", "Import prices", True),
        ("name=Import+prices", "Import prices", True),
        ("name=C%2B%2B", "C++", True),
        ("name=Import", "Import prices", False),
        ("name=Import*", "Import prices", True),
        ("name=*", "", True),
        ("name=", "", True),
        ("name=", "n", False),
        ("name=import*", "Import prices", False),
    ],
)
def test_query_filters_by_name_or_prefix(query: str, name: str, expected: bool) -> None:
    assert matches(query, operation(name=name)) is expected
    assert matches_name(read_values(query, ("name",)), name) is expected


def test_query_filters_by_parent() -> None:
    assert matches("parent=p%2F1", operation(parent_id="p/1"))
    assert not matches("parent=p", operation(parent_id="p/1"))


@pytest.mark.parametrize(
    "since",
    ["3600s", "60m", "1h", "2025-07-30T11:00:00Z", "2025-07-30T13:00:00+02:00", "2025-07-30T13:00:00%2B02:00"],
)
def test_since_is_an_age_or_a_time_of_a_start_or_end(since: str) -> None:
    query = f"since={since}"
    hour_ago = NOW - 3_600 * SECOND
    assert matches(query, operation(started_ns=hour_ago))
    assert matches(query, operation(started_ns=1, ended_ns=hour_ago))
    assert matches(query, operation(queued_ns=hour_ago))
    assert not matches(query, operation(started_ns=hour_ago - 1, ended_ns=hour_ago - 1, heard_ns=NOW))


def test_since_hides_no_operation_of_a_slow_clock() -> None:
    day = 86_400 * SECOND
    assert matches("since=6h", operation(started_ns=NOW - day, lag_ns=day - SECOND))
    assert not matches("since=6h", operation(started_ns=NOW - 2 * day, lag_ns=day))


def test_age_may_be_in_days() -> None:
    assert read_filter("since=2d", NOW).since_ns == NOW - 2 * 86_400 * SECOND


@pytest.mark.parametrize(
    "query",
    [
        "state=done",
        "state=",
        "since=yesterday",
        "since=6",
        "since=-6h",
        "since=2025-07-30",
        "since=9999999999d",
        "limit=0",
        "limit=1001",
        "limit=ten",
        "states=failed",
        "name=%FF",
        "after=x",
        "after=0",
        "after=",
        "after=99999999999999999999",
    ],
)
def test_invalid_parameter_is_refused_with_a_hint(query: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        read_filter(query, NOW)
    assert query.partition("=")[0] in str(caught.value)
    assert caught.value.hint


# Waiting and cancelling.


@pytest.mark.parametrize(("query", "wait_s"), [("", 0), ("wait=0", 0), ("wait=30", 30), ("wait=0.25", 0.25)])
def test_wait_is_seconds(query: str, wait_s: float) -> None:
    assert read_wait(read_values(query, ("wait",))) == wait_s


@pytest.mark.parametrize("text", ["-1", "61", "soon", "", "nan", "1e9", "1_0", "inf"])
def test_wait_is_at_most_a_minute(text: str) -> None:
    with pytest.raises(InvalidParameter, match="wait="):
        read_wait({"wait": [text]})


@pytest.mark.parametrize(
    ("body", "cancel"),
    [
        (b"", Cancel(operation_id="op")),
        (b" {} ", Cancel(operation_id="op")),
        (b'{"reason":"r","timeout_s":2}', Cancel(operation_id="op", reason="r", timeout_s=2.0)),
        (b'{"reason":null,"timeout_s":null}', Cancel(operation_id="op")),
    ],
)
def test_cancel_body_may_have_a_reason_and_a_timeout(body: bytes, cancel: Cancel) -> None:
    assert read_cancel("op", body) == cancel


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"[]", "invalid_parameter"),
        (b"null", "invalid_parameter"),
        (b'{"reason":7}', "invalid_parameter"),
        (b'{"timeout_s":-1}', "invalid_parameter"),
        (b'{"timeout":1}', "invalid_parameter"),
        (b'{"timeout_s":3601}', "invalid_parameter"),
        (b'{"reason":"%b"}' % (b"x" * 1001), "invalid_parameter"),
        (b'{"reason":"\xff"}', "invalid_utf8"),
        (b"[" * 100 + b"]" * 100, "too_deep"),
        (b" " * 300_000, "payload_too_large"),
    ],
)
def test_invalid_cancel_body_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(TidingsError) as caught:
        read_cancel("op", body)
    assert caught.value.code == code
