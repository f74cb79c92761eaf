import pytest

from tidings.client.close_reason import REPLACED, read_close_reason
from tidings.exceptions import (
    AuthenticationUnavailable,
    ConnectionLost,
    HubClosed,
    InvalidCredential,
    LicenseExpired,
    TokenExpired,
)
from tidings.protocol.payloads import ConnectionClosed


def told(code: int, *, reconnect: bool, retry_after_ms: int | None = None) -> ConnectionClosed:
    return ConnectionClosed(code=code, reason="why", reconnect=reconnect, retry_after_ms=retry_after_ms)


@pytest.mark.parametrize("code", [1001, 1006, 1011, 4100, 4102, 3000])
def test_temporary_close_code_allows_a_reconnect(code: int) -> None:
    ending = read_close_reason(code, "", None, greeted=True)
    assert not ending.final
    assert isinstance(ending.error, ConnectionLost)


@pytest.mark.parametrize("code", [1000, 1008, 4003, 4029])
def test_final_close_code_forbids_a_reconnect(code: int) -> None:
    ending = read_close_reason(code, "go away", None, greeted=True)
    assert ending.final
    assert isinstance(ending.error, HubClosed)
    assert ending.error.close_code == code
    assert "go away" in str(ending.error)


@pytest.mark.parametrize(("asked_ms", "stays_s"), [(None, 30.0), (0, 30.0), (50, 0.05), (10**9, 300.0)])
def test_expired_license_keeps_a_client_away_for_a_while(asked_ms: int | None, stays_s: float) -> None:
    notice = ConnectionClosed(code=4051, reason="over", reconnect=True, retry_after_ms=asked_ms)
    ending = read_close_reason(4051, "over", notice, greeted=True)
    assert isinstance(ending.error, LicenseExpired)
    assert (ending.error.message, ending.final, ending.retry_after_s) == ("over", False, stays_s)


def test_hub_before_this_version_ends_clients_for_good_when_its_license_is_over() -> None:
    notice = ConnectionClosed(code=4051, reason="over", reconnect=False)
    assert read_close_reason(4051, "over", notice, greeted=True).final


@pytest.mark.parametrize("code", [1005, 1006, 4001])
def test_refused_token_is_final_unless_there_is_another(code: int) -> None:
    refusal = TokenExpired("the token has expired")
    ending = read_close_reason(code, "", None, greeted=True, refusal=refusal)
    assert (ending.error, ending.final, ending.token_refused) == (refusal, True, True)


def test_rejection_without_a_message_is_an_invalid_credential() -> None:
    ending = read_close_reason(4001, "go away", None, greeted=True)
    assert isinstance(ending.error, InvalidCredential)
    assert "go away" in str(ending.error)


def test_reason_of_a_temporary_failure_to_authenticate_allows_a_reconnect() -> None:
    refusal = AuthenticationUnavailable("the key set does not answer")
    ending = read_close_reason(1013, "", None, greeted=True, refusal=refusal)
    assert (ending.error, ending.final, ending.token_refused) == (refusal, False, False)


def test_second_replacement_is_final() -> None:
    """Two processes with one producer id must not replace each other forever."""
    first = read_close_reason(REPLACED, "", None, greeted=True)
    assert (first.final, first.replaced, first.retry_after_s) == (False, True, 30.0)
    second = read_close_reason(REPLACED, "", None, greeted=True, replaced_before=True)
    assert (second.final, second.replaced) == (True, True)
    assert isinstance(second.error, HubClosed)
    assert second.error.hint == "Give each process its own producer id."


def test_closed_message_counts_if_the_socket_has_no_close_code() -> None:
    ending = read_close_reason(1006, "", told(4003, reconnect=False), greeted=True)
    assert isinstance(ending.error, HubClosed)
    assert ending.error.close_code == 4003
    assert (
        read_close_reason(1006, "", told(4100, reconnect=True, retry_after_ms=1500), greeted=True).retry_after_s == 1.5
    )


def test_error_mentions_an_end_before_the_greeting() -> None:
    assert "before its greeting" in str(read_close_reason(1006, "", None, greeted=False).error)


def test_replaced_connection_waits_longer_than_a_reconnect_takes() -> None:
    ending = read_close_reason(REPLACED, "", None, greeted=True)
    assert ending.replaced
    assert ending.retry_after_s >= 15
    assert not read_close_reason(1001, "", None, greeted=True).replaced


@pytest.mark.parametrize(
    ("asked_ms", "wait_s"), [(0, 0.0), (1_500, 1.5), (300_000, 300.0), (2**63 - 1, 300.0), (10**400, 300.0)]
)
def test_wait_that_the_hub_asks_for_is_bounded(asked_ms: int, wait_s: float) -> None:
    notice = ConnectionClosed(code=4100, reason="", reconnect=True, retry_after_ms=asked_ms)
    assert read_close_reason(4100, "", notice, greeted=True).retry_after_s == wait_s
