import pytest

from tidings.cli.errors import ExitCode
from tidings.cli.wait import Until
from tidings.operations.lifecycle import OperationState

SUCCESS, FAILED, CANCELLED = ExitCode.SUCCESS, ExitCode.FAILED, ExitCode.CANCELLED


@pytest.mark.parametrize(
    ("until", "codes"),
    [
        (Until.COMPLETE, [None, None, SUCCESS, FAILED, CANCELLED]),
        (Until.ENDED, [None, None, SUCCESS, SUCCESS, SUCCESS]),
        (Until.RUNNING, [None, SUCCESS, SUCCESS, FAILED, CANCELLED]),
    ],
)
def test_each_state_has_an_exit_code_or_continues_the_wait(until: Until, codes: list[ExitCode | None]) -> None:
    assert [until.find_exit_code(state) for state in OperationState] == codes
