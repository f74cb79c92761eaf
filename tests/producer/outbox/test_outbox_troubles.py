import pytest

from tidings.exceptions import CommandRefused, HubUnreachable, LogBusy, TidingsError
from tidings.producer.outbox.outbox import ErrorReporter


def test_each_kind_is_told_once() -> None:
    told: list[TidingsError] = []
    troubles = ErrorReporter(told.append)
    first = HubUnreachable("one")
    for error in (first, HubUnreachable("two"), LogBusy("full")):
        troubles(error)
    for refusal in ("log_full", "log_full", "operation_fenced"):
        troubles(CommandRefused("no", refusal=refusal, recoverable=False))
    assert told[0] is first
    assert [getattr(error, "refusal", error.code) for error in told] == [
        "hub_unreachable",
        "log_busy",
        "log_full",
        "operation_fenced",
    ]


def test_whoever_fails_to_hear_it_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(error: TidingsError) -> None:
        raise ValueError("the job's own fault")

    ErrorReporter(fail)(HubUnreachable("one"))
    assert "the job's own fault" in caplog.text
    ErrorReporter(None)(HubUnreachable("one"))
