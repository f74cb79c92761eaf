from pathlib import Path

import pytest

from benchmarks import journal


def test_two_processes_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(journal, "ROWS", [("both", 2, 10, 0.0)])
    journal.run(0.2, tmp_path)
    (row,) = [line.split() for line in capsys.readouterr().out.splitlines() if "both" in line]
    assert float(row[4].replace(",", "")) == pytest.approx(10 * float(row[3].replace(",", "")), rel=0.1)
    assert list(tmp_path.iterdir()) == []
