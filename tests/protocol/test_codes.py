import re

import pytest

from tidings import exceptions
from tidings.exceptions import TidingsError
from tidings.protocol.codes import CLOSE_CODES, CODES, ErrorCode, error_data, row_of, should_reconnect
from tidings.protocol.payloads import ErrorData


def family(root: type[TidingsError]) -> set[type[TidingsError]]:
    return {root}.union(*map(family, root.__subclasses__()))


every_row = pytest.mark.parametrize("row", CODES.values(), ids=lambda row: row.code)


def test_each_exception_has_exactly_one_row() -> None:
    own = {error for error in family(TidingsError) if error.__module__.startswith(exceptions.__name__)} - {TidingsError}
    rows = [row.exception for row in CODES.values()]
    assert set(rows) == own
    assert len(rows) == len(own)


@every_row
def test_row_is_keyed_by_the_code_of_its_exception(row: ErrorCode) -> None:
    assert CODES[row.exception.code] is row
    assert row.code == row.exception.code
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", row.code)


@every_row
def test_row_has_an_error_status_and_a_sentence_as_hint(row: ErrorCode) -> None:
    assert 400 <= row.http <= 599
    assert re.fullmatch(r"[A-Z`'].*\.", row.hint)


@every_row
def test_close_code_of_a_row_is_in_the_table_of_close_codes(row: ErrorCode) -> None:
    if row.close is None:
        assert row.reconnect is None
    else:
        assert row.close in CLOSE_CODES
        assert row.reconnect is CLOSE_CODES[row.close].reconnect


def test_faults_of_the_client_are_recoverable_only_if_they_pass() -> None:
    # A request that took too long may be repeated (RFC 9110 §15.5.9), and what is limited in a time may come later
    # (RFC 6585 §4). A license can be renewed.
    recoverable = {row.code for row in CODES.values() if 400 <= row.http < 500 and row.recoverable}
    limits = {"rate_limited", "too_many_requests", "too_many_failures"}
    assert recoverable == {"request_timeout", "license_expired", *limits}


@pytest.mark.parametrize(
    "code", [1001, 1005, 1006, 1011, 1012, 1013, 1014, 1015, 4051, 4100, 4101, 4102, 4199, 3000, 4200, 1004]
)
def test_client_reconnects_after_close_code(code: int) -> None:
    assert should_reconnect(code)


@pytest.mark.parametrize("code", [1000, 1002, 1003, 1007, 1008, 1009, 1010, 4000, 4001, 4003, 4029, 4099])
def test_client_does_not_reconnect_after_close_code(code: int) -> None:
    assert not should_reconnect(code)


def test_each_close_code_is_listed_once_under_its_number() -> None:
    assert {4001, 4003, 4029, 4051, 4100, 4101, 4102} <= CLOSE_CODES.keys()
    assert all(row.code == number for number, row in CLOSE_CODES.items())
    assert len({row.name for row in CLOSE_CODES.values()}) == len(CLOSE_CODES)


def test_hint_of_the_error_precedes_the_hint_of_the_table() -> None:
    assert error_data(exceptions.InvalidJSON("no")) == ErrorData(
        code="invalid_json", message="no", recoverable=False, hint=CODES["invalid_json"].hint
    )
    told = error_data(exceptions.LogFull("full", hint="Buy a disk.", details="ENOSPC"))
    assert told == ErrorData(code="log_full", message="full", details="ENOSPC", recoverable=True, hint="Buy a disk.")


def test_error_without_a_row_is_reported_as_internal() -> None:
    class Stray(TidingsError):
        code = "stray"

    assert row_of(Stray("?")) is CODES["internal"]
    assert row_of(TidingsError("?")) is CODES["internal"]
    assert error_data(Stray("?")).code == "internal"
