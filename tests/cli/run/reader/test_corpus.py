import random

import pytest
from benchmarks.progress import MIN_RIGHT, agrees, program_of, score
from tests.cli.run.corpus.recording import Recording, load, names, source_of

from tidings.cli.run.reader.output import CommandProgress, OutputReader
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


def readings_of(recording: Recording, chance: random.Random | None) -> list[tuple[float, CommandProgress]]:
    """Return readings with their times; `chance` cuts the chunks again and pauses between the pieces."""
    now = 0.0
    reader = OutputReader(lambda: now, interval_s=0)
    readings: list[tuple[float, CommandProgress]] = []
    for chunk in recording.chunks:
        now, rest = chunk.at, chunk.data
        while rest:
            size = len(rest) if chance is None else chance.choice((1, 2, 7, 40, 65_536))
            found = reader.feed(rest[:size], source_of(chunk))
            if chance is not None and chance.random() < 0.3:
                found.extend(reader.settle())
            readings.extend((now, reading) for reading in found)
            rest = rest[size:]
    return [*readings, *((now, reading) for reading in reader.finish())]


OUTER_BAR_UNPROVEN = {"tqdm-nested.pty"}
"""Recordings whose inner bar is all that a pause in the first frame shows."""


def test_pauses_anywhere_neither_change_the_result_nor_report_falsely() -> None:
    chance = random.Random(7)
    for name in names():
        recording = load(name)
        if sum(len(chunk.data) for chunk in recording.chunks) > 6_000:
            continue
        overall = OverallProgress()
        paused = readings_of(recording, chance)
        assert [one for _, one in paused][-1:] == [one for _, one in readings_of(recording, None)][-1:], name
        percents = [(at, overall.percent_of(reading)) for at, reading in paused]
        # Nothing is done before the first statement of a program.
        beyond_zero = [(at, percent) for at, percent in percents if percent]
        false = [(at, percent) for at, percent in beyond_zero if not agrees(recording.truth, at, percent)]
        assert false == [] or name in OUTER_BAR_UNPROVEN, name


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
