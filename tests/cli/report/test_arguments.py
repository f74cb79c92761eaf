import io
import sys
from pathlib import Path

import pytest

from tidings.cli.report.arguments import read_json, read_object, read_percent, read_steps, read_text
from tidings.exceptions import ConfigError


@pytest.mark.parametrize(
    ("text", "percent"),
    [("0", 0), ("42", 42), ("42.5%", 42.5), (" 7 % ", 7), ("100", 100), ("3/4", 75), ("1.5 / 3", 50), ("?", None)],
)
def test_progress_is_parsed_in_several_forms(text: str, percent: float | None) -> None:
    assert read_percent(text) == percent


@pytest.mark.parametrize("text", ["", "many", "101", "-1", "1/0", "5/4", "1e2", "nan", "³"])
def test_invalid_progress_is_an_error_with_a_hint(text: str) -> None:
    with pytest.raises(ConfigError, match="invalid progress") as caught:
        read_percent(text)
    assert "3/7" in caught.value.hint


def test_text_is_itself_stdin_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "trace"
    file.write_bytes(b"in a file \xff")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"typed\n")))
    assert read_text("details", None) is None
    assert read_text("details", "itself") == "itself"
    assert read_text("details", "-") == "typed\n"
    assert read_text("details", f"@{file}") == "in a file \ufffd"
    with pytest.raises(ConfigError, match="--details: cannot read"):
        read_text("details", "@/no/such/file")


def test_the_end_of_a_long_text_is_kept() -> None:
    read = read_text("details", "x" * 100_000 + "end")
    assert read is not None
    assert read.endswith("xend")
    assert len(read) < 20_000


def test_invalid_utf8_is_replaced() -> None:
    read = read_text("details", b"a\xff".decode(errors="surrogateescape"))
    assert read == "a?"


def test_json_is_any_value_and_metadata_an_object() -> None:
    assert read_json("result", '{"rows": [1, null]}') == {"rows": [1, None]}
    assert read_json("result", None) is None
    assert read_object("metadata", '{"weight": 3}') == {"weight": 3}
    with pytest.raises(ConfigError, match="--result: invalid JSON 'twelve'"):
        read_json("result", "twelve")
    with pytest.raises(ConfigError, match="--metadata: expected a JSON object"):
        read_object("metadata", "[1]")


def test_steps_are_names_between_commas() -> None:
    assert read_steps("extract, load ,,report") == ["extract", "load", "report"]
    assert read_steps(None) is None
