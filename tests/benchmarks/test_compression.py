from pathlib import Path

import pytest
from benchmarks.compression import CASES, SIZES, format_row, measure, words

from benchmarks import compression


def test_text_has_its_size_and_differs_by_number() -> None:
    assert [len(words(size, 7)) for size in SIZES.values()] == list(SIZES.values())
    assert words(1_000, 1) != words(1_000, 2)


def test_compressed_readers_receive_fewer_bytes_of_long_events_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "EVENTS", 2)
    monkeypatch.setattr(compression, "WARM_UP", 1)
    plain, compressed = (measure(case, 4, tmp_path / case.name) for case in CASES[:2])
    short, *long = SIZES
    assert compressed.traffic[short].bytes == pytest.approx(plain.traffic[short].bytes, abs=8)  # digits of positions
    assert all(compressed.traffic[size].bytes < plain.traffic[size].bytes / 2 for size in long)
    assert "bytes to each reader" in format_row(CASES[0], plain)
