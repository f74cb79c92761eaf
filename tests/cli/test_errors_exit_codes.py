import pytest
import typer

from tidings.cli.errors import FAILED, INTERRUPTED, USAGE, ExitCode, exit_codes_epilog, exit_on_error
from tidings.exceptions import ConfigError, HubUnreachable, OperationUnknown, TidingsError


def test_exit_codes_are_unique() -> None:
    codes = [int(code) for code in ExitCode]
    assert len({*codes, FAILED, USAGE, INTERRUPTED}) == len(codes) + 3
    assert all(0 <= code < 126 for code in codes), "a shell uses those above itself"
    assert all(code.meaning for code in ExitCode)


@pytest.mark.parametrize(
    ("error", "code"),
    [(OperationUnknown("no such", operation_id="x"), 5), (HubUnreachable("no hub answers"), 69)],
)
def test_unknown_operations_and_hubs_have_their_exit_codes(
    error: TidingsError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as caught, exit_on_error():
        raise error
    assert caught.value.exit_code == code
    assert capsys.readouterr().err.startswith(f"error: {error}\nhint: ")


def test_exit_on_error_passes_other_errors() -> None:
    with pytest.raises(ConfigError), exit_on_error():
        raise ConfigError("odd")


def test_epilog_lists_exit_codes() -> None:
    assert exit_codes_epilog(ExitCode.SUCCESS, ExitCode.FAILED) == "Exit codes: 0: success; 3: the operation failed."
