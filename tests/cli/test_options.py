import pytest

from tidings.cli.options import parse_duration_option
from tidings.exceptions import ConfigError


def test_a_duration_is_read_within_its_bounds() -> None:
    assert parse_duration_option("grace", "1m30s", 0, 100) == 90
    assert parse_duration_option("grace", "0", 0, 100) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soon", "--grace: invalid duration 'soon': use "),
        ("2m", "expected 1s to 1m"),
        ("0", "invalid duration '0': expected 1s to 1m"),
    ],
)
def test_an_invalid_duration_names_its_option(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_duration_option("grace", text, 1, 60)
    assert caught.value.option == "grace"
    assert caught.value.hint
