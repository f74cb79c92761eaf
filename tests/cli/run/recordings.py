"""Replay of the recorded output of real programs."""

from tests.cli.run.corpus.recording import load, names, source_of

from tidings.cli.run.reader.output import MIN_INTERVAL_S, CommandProgress, OutputReader

NAMES = names()


def replay(name: str, *, interval_s: float = 0.0) -> list[CommandProgress]:
    """Return the readings of a recording at its own pace, settled wherever it paused as a run would."""
    now = 0.0
    reader = OutputReader(lambda: now, interval_s=interval_s)
    readings: list[CommandProgress] = []
    for chunk in load(name).chunks:
        if chunk.at - now > MIN_INTERVAL_S:
            now += MIN_INTERVAL_S
            readings.extend(reader.settle())
        now = chunk.at
        readings.extend(reader.feed(chunk.data, source_of(chunk)))
    return [*readings, *reader.finish()]


def story(name: str) -> list[tuple[str, int, list[float | None]]]:
    """Return (step, steps in all, its distinct percentages in order) of a recording, once progress has begun."""
    steps: list[tuple[str, int, list[float | None]]] = []
    for reading in replay(name):
        if reading.step == 0:
            continue
        percent = None if reading.percent is None else round(reading.percent, 1)
        if not steps or steps[-1][:2] != (reading.current_step, reading.total_steps):
            steps.append((reading.current_step, reading.total_steps, []))
        if percent not in steps[-1][2][-1:]:
            steps[-1][2].append(percent)
    return steps
