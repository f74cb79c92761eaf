import pytest

from tidings.cli.errors import exit_code, print_error
from tidings.exceptions import (
    CommandRefused,
    ConfigError,
    HubUnreachable,
    InvalidContract,
    InvalidPayload,
    LogInUse,
    MissingExtra,
    TidingsError,
)


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (LogInUse("taken", hint="Wait."), 1, ["error: taken", "hint: Wait."]),
        (ConfigError("wrong", hint="Right."), 2, ["error: wrong", "hint: Right."]),
        (InvalidContract("none", type="a:b", hint="One."), 2, ["error: none", "hint: One."]),
        (InvalidPayload("$.data: no", hint="So."), 1, ["error: $.data: no (invalid_payload)", "hint: So."]),
        (
            CommandRefused("no", refusal="operation_finished", recoverable=False, hint="New.", details="more"),
            1,
            ["error: no (operation_finished)", "more", "hint: New."],
        ),
        (MissingExtra("needs x", extra="hub"), 1, ["error: needs x", "hint: pip install 'tidings[hub]'"]),
    ],
)
def test_an_error_is_two_lines_on_stderr(
    error: TidingsError, code: int, lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    print_error(error)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == lines
    assert exit_code(error) == code


def test_an_error_without_a_hint_has_that_of_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(HubUnreachable("nobody"), prefix="line 3: ")
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: line 3: nobody"
    assert "tidings serve" in hint
