import re

import pytest
from benchmarks.producer import main


def test_each_figure_is_reported(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_QUIET", "1")
    main(["--iterations", "2000", "--pieces", "4"])
    report = capfd.readouterr().out
    advance = re.search(r"^advance\(\) +(-?[0-9.]+) µs$", report, re.MULTILINE)
    assert advance is not None  # the difference of two times, which other work may make negative
    shares = re.findall(r"^10 µs loop, (.*?) +[+-][0-9.]+%$", report, re.MULTILINE)
    assert shares == ["with a hub", "no hub anywhere", "hub killed half-way"]
