import re

import pytest
from benchmarks.contract import EVENT_BYTES, main, progress_events


def test_no_two_events_are_alike_and_all_have_the_size() -> None:
    events = progress_events(500)
    assert {len(event) for event in events} == {EVENT_BYTES}
    assert len(set(events)) == 500


def test_the_whole_and_each_part_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--rounds", "2"])
    report = capsys.readouterr().out
    figures = re.findall(r"^ *(\S.*\S) +([0-9.]+) µs$", report, re.MULTILINE)
    assert [name for name, _ in figures] == [
        "decode + validate + encode",
        "decode_envelope",
        "Contract.read",
        "Contract.read, members unchecked",
        "encode_event",
        "msgspec's two decodes alone",
    ]
    assert all(float(microseconds) > 0 for _, microseconds in figures)
    assert re.search(r"^python    \w+ 3\.\d+\.\d+.*, msgspec \d", report, re.MULTILINE)
