import re

import pytest
from tests.cli.processes import tidings

from tidings.cli.options import parse_duration_option
from tidings.exceptions import ConfigError


def test_a_duration_is_read_within_its_bounds() -> None:
    assert parse_duration_option("grace", "1m30s", 0, 100) == 90
    assert parse_duration_option("grace", "0", 0, 100) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("soon", "--grace: invalid duration 'soon': expected a number with a unit, such as 7d, 1h30m, 45s or 500ms"),
        ("7", "--grace: invalid duration '7': expected a number with a unit"),
        ("2m", "expected 1s to 1m"),
        ("0", "invalid duration '0': expected 1s to 1m"),
    ],
)
def test_an_invalid_duration_names_its_option(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        parse_duration_option("grace", text, 1, 60)
    assert caught.value.option == "grace"
    assert caught.value.hint


def test_a_bare_number_has_a_hint_with_its_unit() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_duration_option("grace", "7", 1, 60)
    assert caught.value.hint == "Pass --grace 7s for seconds."


@pytest.mark.parametrize(
    "arguments",
    [
        "cancel x --timeout 7",
        "flush --timeout 7",
        "publish data:update {} --timeout 7",
        "record --for 7",
        "relay ws://127.0.0.1:1/ --give-up 7",
        "relay ws://127.0.0.1:1/ --buffer 7000000",
        "replay /dev/null --from 7",
        "replay /dev/null --max-pause 7",
        "report complete x --timeout 7",
        "report start x --lease 7",
        "run --grace 7 -- true",
        "run --lease 7 -- true",
        "serve --retention-age 7",
        "serve --retention-bytes 7000000",
        "serve --lease 7",
        "wait x --timeout 7",
        "watch --pace 7",
    ],
)
def test_a_number_without_a_unit_is_an_error_everywhere(arguments: str) -> None:
    done = tidings(*arguments.split())
    error, hint = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert re.match(r"error: --[a-z-]+: invalid (duration|size|time) '7(000000)?': expected", error)
    assert hint.startswith("hint: ")
