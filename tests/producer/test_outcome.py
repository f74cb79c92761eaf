import asyncio
import errno

import pytest

from tidings.exceptions import HubUnreachable, OperationCancelled
from tidings.producer.outcome import Cancelled, Failed, code_of, end_of, failure_described, failure_of


class HTTPError(Exception):
    pass


class QuotaExceeded(Exception):
    recoverable = True
    hint = "Ask for more."


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ZeroDivisionError(), "zero_division_error"),
        (HTTPError(), "http_error"),
        (OSError(), "os_error"),
        (UnicodeDecodeError("utf-8", b"", 0, 1, ""), "unicode_decode_error"),
        (HubUnreachable("nobody"), "hub_unreachable"),
    ],
)
def test_code_is_the_class_in_snake_case_or_the_error_code(error: BaseException, code: str) -> None:
    assert code_of(error) == code


def test_failure_has_code_message_traceback_and_notes() -> None:
    error = raised(ValueError("no number"))
    error.add_note("in line 3")
    error.add_note("of prices.csv")
    failed = failure_of(error)
    assert (failed.code, failed.message, failed.hint) == ("value_error", "no number", "in line 3\nof prices.csv")
    assert failed.details is not None
    assert failed.details.startswith("Traceback (most recent call last):")
    assert failed.details.rstrip().endswith("ValueError: no number\nin line 3\nof prices.csv")


def test_long_traceback_keeps_its_end() -> None:
    failed = failure_of(raised(ValueError("x" * 20_000 + "the very end")))
    assert failed.details is not None
    assert len(failed.details.encode()) <= 8 << 10
    assert failed.details.rstrip().endswith("the very end")
    assert len(failed.message) == 2_000


def test_failure_uses_hint_and_recoverable_of_the_error() -> None:
    failed = failure_of(QuotaExceeded())
    assert (failed.message, failed.hint, failed.recoverable) == ("QuotaExceeded", "Ask for more.", True)


@pytest.mark.parametrize(
    ("error", "recoverable"),
    [
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (OSError(errno.ECONNREFUSED, "refused"), True),
        (FileNotFoundError(), False),
        (PermissionError(), False),
        (ValueError(), False),
    ],
)
def test_transient_system_error_is_recoverable(error: BaseException, recoverable: bool) -> None:
    assert failure_of(error).recoverable is recoverable


def test_exception_whose_str_raises_is_reported() -> None:
    failed = failure_of(raised(Mute()))
    assert (failed.code, failed.message) == ("mute", "Mute")


def test_cancellation_exception_means_cancelled() -> None:
    assert end_of(asyncio.CancelledError("shutdown")) == Cancelled(reason="shutdown")
    assert end_of(asyncio.CancelledError()) == Cancelled(reason="the task was cancelled")
    assert end_of(OperationCancelled("cancelled", reason="lunch")) == Cancelled(reason="lunch")
    assert end_of(KeyboardInterrupt()) == Cancelled(reason="interrupted from the keyboard")


def test_group_of_cancellations_only_means_cancelled() -> None:
    inner = BaseExceptionGroup("inner", [asyncio.CancelledError("first"), OperationCancelled("x")])
    assert end_of(BaseExceptionGroup("outer", [inner, KeyboardInterrupt()])) == Cancelled(reason="first")
    mixed = end_of(BaseExceptionGroup("mixed", [asyncio.CancelledError(), ValueError("no")]))
    assert isinstance(mixed, Failed)
    assert mixed.code == "base_exception_group"


@pytest.mark.parametrize(
    ("code", "expected"),
    [(None, None), (0, None), (2, ("exit_2", "exited with code 2")), ("no input", ("exit_1", "no input"))],
)
def test_system_exit_outcome_follows_its_code(code: object, expected: tuple[str, str] | None) -> None:
    end = end_of(SystemExit(code))
    assert (None if not isinstance(end, Failed) else (end.code, end.message)) == expected


@pytest.mark.parametrize(
    ("error", "message", "code", "sentence"),
    [
        ("the disk is full", None, "failed", "the disk is full"),
        ("no_prices", None, "no_prices", "no prices"),
        ("Timeout!", None, "failed", "Timeout!"),
        ("no_prices", "the exchange sent none", "no_prices", "the exchange sent none"),
        ("disk is full", "/var is full", "disk_is_full", "/var is full"),
        ("", None, "failed", ""),
        ("…", "odd", "failed", "odd"),
        (28, None, "failed", "28"),
    ],
)
def test_failure_described_by_a_word_has_a_code_else_a_message(
    error: object, message: str | None, code: str, sentence: str
) -> None:
    failed = failure_described(error, message)
    assert (failed.code, failed.message) == (code, sentence)


class Hinted(Exception):
    hint = "Run login --password hunter2 again."


@pytest.mark.parametrize(
    "error",
    [
        OSError("cannot connect to postgresql://ann:hunter2@db/shop"),
        SystemExit("password=hunter2"),
        Hinted("Authorization: Bearer hunter2"),
        RuntimeError("x" * 1_980 + " https://ann:hunter2@example.com/"),
        OperationCancelled("token=hunter2", reason="token=hunter2"),
    ],
)
def test_secret_in_an_exception_is_redacted(error: BaseException) -> None:
    error.add_note("the password: hunter2")
    outcome = end_of(raised(error))
    assert outcome is not None
    assert "hunter2" not in repr(outcome)
    assert "hunt" not in repr(outcome)


def test_secret_in_a_described_failure_is_redacted() -> None:
    assert failure_described("cannot log in with password=hunter2").message == "cannot log in with password=REDACTED"
    assert failure_described("no_login", "sent token=hunter2").message == "sent token=REDACTED"
