from pathlib import Path

import pytest

from benchmarks import restart


@pytest.mark.parametrize(
    ("times", "most"),
    [([], 0), ([5.0], 1), ([0.0, 0.5, 0.999, 1.0, 1.6], 3), ([0.0, 1.0, 2.0], 1), ([3.0, 3.0, 3.5, 3.9, 5.0], 4)],
)
def test_most_within_a_second(times: list[float], most: int) -> None:
    assert restart.most_per_second(times) == most


async def test_restart_of_a_few_clients_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(restart, "STEADY_S", 0.5)
    assert await restart.measure(20, 100, 1, 50.0, tmp_path)
    shown = capsys.readouterr().out
    assert "(21 connections)" in shown
    assert "watchers with a fault          0 of 20" in shown


async def test_rolling_restart_of_workers_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(restart, "STEADY_S", 0.5)
    assert await restart.measure(20, 100, 1, 50.0, tmp_path, 2)
    assert "watchers with a fault          0 of 20" in capsys.readouterr().out
