import pytest
from benchmarks.progress import MIN_RIGHT, program_of, score
from tests.cli.run.corpus.recording import load, names

from tidings.cli.run.reader.output import OutputReader
from tidings.cli.run.reader.worker import OverallProgress

PROGRAMS = sorted({program_of(name) for name in names()})


def reported(*lines: str) -> set[int]:
    """Return the rounded percentages that a run reports for lines of output; one with a carriage return stays open."""
    reader, overall = OutputReader(lambda: 0.0, interval_s=0), OverallProgress()
    output = "".join(line if line.startswith("\r") else f"{line}\n" for line in lines)
    readings = [*reader.feed(output.encode()), *reader.finish()]
    percents = [overall.percent_of(reading) for reading in readings]
    return {round(percent) for percent in percents if percent is not None}


def test_corpus_is_read_right_and_without_a_false_report() -> None:
    scores = [score(load(name)) for name in names()]
    assert [(one.name, one.false) for one in scores if one.false] == []
    wrong = {program_of(one.name) for one in scores if not one.right}
    assert 1 - len(wrong) / len(PROGRAMS) >= MIN_RIGHT, wrong


def test_corpus_holds_progress_and_traps_of_many_programs() -> None:
    recordings = [load(name) for name in names()]
    assert len(PROGRAMS) >= 60
    assert sum(recording.made.startswith("recorded: ") for recording in recordings) >= 60
    assert sum(not recording.truth.points for recording in recordings) >= 40
    assert all(recording.chunks and recording.command for recording in recordings)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("a PASSED [ 25%]", "b PASSED [ 50%]"), {25, 50}),
        (("\r    Building [==>        ] 3/9: a", "\r    Building [====>      ] 4/9: b"), {33, 44}),
        (("\r0% [==        ] 33.3%", "\r0% [===       ] 40.0%"), {33, 40}),
        (("1/4 rows", "2/4 rows", "3/4 rows"), {75}),
        (("Processed 11/30 files", "Processed 12/30 files", "Processed 13/30 files"), set()),
        (("Processed 1/30 files", "Processed 2/30 files", "Processed 3/30 files"), {10}),
        (("1/30: importing x", "2/30: importing y", "3/30: importing z"), {10}),
    ],
)
def test_progress_of_a_known_form_is_reported(lines: tuple[str, ...], expected: set[int]) -> None:
    assert reported(*lines) == expected


@pytest.mark.parametrize(
    "lines",
    [
        ("collecting: 1/2 workers", "collecting: 2/2 workers"),
        ("app/a.py  4  1  75%", "app/b.py  4  2  80%", "TOTAL  8  3  90%"),
        ("/dev/sda1  10G  1G  9G  10% /", "/dev/sda1  10G  2G  8G  20% /", "/dev/sda1  10G  3G  7G  30% /"),
        ("  50%     12", "  66%     13", "  75%     14", "  80%     15", " 100%     23 (longest request)"),
        ("Score: 5/10", "Score: 6/10", "Score: 7/10"),
        ("Score: 1/10", "Score: 2/10", "Score: 3/10"),
        (" *  a.bin: 54% /1.1Mi, 0/s, -", " *  a.bin: 74% /1.1Mi, 0/s, -"),
    ],
)
def test_look_alikes_report_nothing(lines: tuple[str, ...]) -> None:
    assert reported(*lines) == set()
