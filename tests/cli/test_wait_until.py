import pytest

from tidings.cli.errors import ExitCode
from tidings.cli.wait import Until
from tidings.operations.lifecycle import OperationState

WELL, FAILED, CANCELLED = ExitCode.WELL, ExitCode.FAILED, ExitCode.CANCELLED


@pytest.mark.parametrize(
    ("until", "codes"),
    [
        (Until.COMPLETE, [None, None, WELL, FAILED, CANCELLED]),
        (Until.ENDED, [None, None, WELL, WELL, WELL]),
        (Until.RUNNING, [None, WELL, WELL, FAILED, CANCELLED]),
    ],
)
def test_each_state_is_waited_on_or_has_its_exit_code(until: Until, codes: list[ExitCode | None]) -> None:
    assert [until.reached(state) for state in OperationState] == codes
