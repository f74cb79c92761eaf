"""How well `tidings run` reads the progress of real programs: `python -m benchmarks.progress [NAME …]`.

Plays the recordings of `tests/cli/run/corpus` to the reader at their own pace and compares what a run would have
reported with the truth. A program is right if none of its reports is false, the reports follow its true progress for
most of the time, and the last one is its final value. `--speed` measures the reader's throughput instead.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from tests.cli.run.corpus.recording import Recording, Truth, load, names, source_of

from tidings.cli.run.reader.output import MIN_INTERVAL_S, OutputReader
from tidings.cli.run.reader.worker import OverallProgress

TOLERANCE = 5.0
"""Points by which a report may differ from the truth."""
LAG_S = 0.3
"""Age of the truth that a report may still state: a line is read when the program draws over it, or after a pause."""
MIN_RECALL = 0.8
"""Share of the time for which the reports of a right program follow the truth; a log is proven at its third line."""
MIN_RIGHT = 0.95
"""Share of the programs that must be right."""
_SAMPLES = 200


@dataclass(frozen=True, slots=True)
class Report:
    """One report of a run."""

    at: float
    percent: float | None
    step: str


@dataclass(frozen=True, slots=True)
class Score:
    """Comparison of one recording's reports with its truth."""

    name: str
    stated: bool
    """Whether the program states its progress on the way, so that the reports must follow it."""
    recall: float
    """Share of the time for which the last report was within TOLERANCE of the truth."""
    final: float | None
    """Last percentage reported."""
    final_right: bool
    """Whether that is the last true percentage."""
    false: list[Report]
    """Reports of a percentage that the truth denies."""

    @property
    def right(self) -> bool:
        """Whether the recording was read as it should be."""
        return not self.false and (not self.stated or (self.recall >= MIN_RECALL and self.final_right))


def replay(recording: Recording) -> list[Report]:
    """Return what a run of the recorded program reports."""
    now = 0.0
    reader = OutputReader(lambda: now)
    overall = OverallProgress()
    reports: list[Report] = []

    def pass_on(readings: object) -> None:
        assert isinstance(readings, list)
        reports.extend(Report(now, overall.percent_of(reading), reading.current_step) for reading in readings)

    for chunk in recording.chunks:
        while chunk.at - now > MIN_INTERVAL_S and reader.unsettled:
            now += MIN_INTERVAL_S
            pass_on(reader.settle())
        now = chunk.at
        pass_on(reader.feed(chunk.data, source_of(chunk)))
    pass_on(reader.finish())
    return reports


def truths(truth: Truth, start_s: float, end_s: float) -> Iterator[float | None]:
    """Yield the true percentages that held between two times; nothing before the first."""
    current: list[float | None] = []
    for point in truth.points:
        if point.at > end_s:
            break
        if point.at <= start_s:
            current = [point.percent]
        else:
            current.append(point.percent)
    yield from current


def agrees(truth: Truth, at: float, percent: float) -> bool:
    """Return whether a percentage reported at a time is true, give or take TOLERANCE and LAG_S."""
    known = [value for value in truths(truth, at - LAG_S, at + 0.01) if value is not None]
    # A report between two statements of a program is not false.
    return bool(known) and min(known) - TOLERANCE <= percent <= max(known) + TOLERANCE


def score(recording: Recording) -> Score:
    """Replay a recording and compare."""
    truth, reports = recording.truth, replay(recording)
    false = [
        report for report in reports if report.percent is not None and not agrees(truth, report.at, report.percent)
    ]
    values = [point for point in truth.points if point.percent is not None]
    stated = not truth.first_may_count and any(point.percent < 100 for point in values if point.percent is not None)
    spoken = [report.percent for report in reports if report.percent is not None]
    final = spoken[-1] if spoken else None
    last = values[-1].percent if values else None
    final_right = final is not None and last is not None and abs(final - last) <= TOLERANCE
    return Score(recording.name, stated, recall_of(recording, reports), final, final_right, false)


def recall_of(recording: Recording, reports: list[Report]) -> float:
    """Return the share of the time in which the program's truth was reported."""
    truth = recording.truth
    if not truth.points:
        return 1.0
    start, end = truth.points[0].at, max(recording.end_s, truth.points[-1].at)
    start = min(start + LAG_S, end)
    hits = asked = 0
    for sample in range(_SAMPLES + 1):
        at = start + (end - start) * sample / _SAMPLES
        if all(value is None for value in truths(truth, at - LAG_S, at)):
            continue
        asked += 1
        said = [report.percent for report in reports if report.at <= at]
        hits += bool(said) and said[-1] is not None and agrees(truth, at, said[-1])
    return hits / asked if asked else 1.0


def program_of(name: str) -> str:
    """Return the program of a recording: `rsync.pty` and `rsync.pipe` are one."""
    return name.rpartition(".")[0]


def print_table(scores: list[Score]) -> bool:
    """Print a line for each program and the totals; return whether they are good enough."""
    print(f"{'program':<28} {'recall':>7} {'final':>7} {'false':>6}  verdict")
    right = programs = 0
    for program, group in groupby(scores, key=lambda one: program_of(one.name)):
        members = list(group)
        stating = [one for one in members if one.stated]
        share = f"{100 * min(one.recall for one in stating):.0f} %" if stating else "-"
        final = min((one.final for one in stating if one.final is not None), default=None)
        good = all(one.right for one in members)
        programs += 1
        right += good
        false = sum(len(one.false) for one in members)
        ways = ", ".join(one.name.rpartition(".")[2] for one in members if not one.right)
        verdict = "right" if good else f"WRONG ({ways})"
        print(f"{program:<28} {share:>7} {'-' if final is None else f'{final:.0f} %':>7} {false:>6}  {verdict}")
    false = sum(len(one.false) for one in scores)
    stating = [one for one in scores if one.stated]
    recall = sum(one.recall for one in stating) / max(1, len(stating))
    print(f"\n{right} of {programs} programs right ({100 * right / programs:.1f} %), {false} false reports, ", end="")
    print(f"mean recall {100 * recall:.1f} % of {len(stating)} recordings with progress, {len(scores)} in all")
    return right >= MIN_RIGHT * programs and false == 0


SPEED_INPUTS = {
    "yes": b"y\n" * 50_000,
    "log": b"".join(
        b"2025-07-30 11:22:33,123 INFO handled request %d in 12 ms path=/a/b/c\n" % n for n in range(20_000)
    ),
    "counters": b"".join(b"[%d/20000] cc -c file%d.c\n" % (n, n) for n in range(1, 20_000)),
    "bar": b"".join(b"\r%3d%%|####      | %d/20000 [00:04<00:05,  9.96it/s]" % (n // 200, n) for n in range(20_000)),
    "percents": b"".join(b"cpu %d%% of node %d/99 used 3/4\n" % (n % 100, n % 99) for n in range(20_000)),
    "one line": b"5% " * 500_000,
}


def print_speed() -> None:
    """Print how fast the reader reads, in MB/s; the best of three runs."""
    for name, data in SPEED_INPUTS.items():
        best = float("inf")
        for _ in range(3):
            reader = OutputReader(time.monotonic)
            began = time.perf_counter()
            for start in range(0, len(data), 65536):
                reader.feed(data[start : start + 65536])
            reader.finish()
            best = min(best, time.perf_counter() - began)
        print(f"{name:<10} {len(data) / best / 1e6:8.2f} MB/s")


def main() -> int:
    """Print the table, or the false reports of the named recordings."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.progress", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="programs to show in detail")
    parser.add_argument("--speed", action="store_true", help="measure throughput")
    arguments = parser.parse_args()
    if arguments.speed:
        print_speed()
        return 0
    chosen = [name for name in names() if not arguments.names or program_of(name) in arguments.names]
    scores = [score(load(name)) for name in chosen]
    if arguments.names:
        for name in chosen:
            recording = load(name)
            print(f"{name}: {recording.command}\n  truth  {[tuple(point) for point in recording.truth.points]}")
            for report in replay(recording):
                print(f"  {report.at:7.2f} {report.percent} {report.step!r}")
    return 0 if print_table(scores) else 1


if __name__ == "__main__":
    sys.exit(main())
