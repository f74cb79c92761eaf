"""What is reported last, and that progress does not fall, must not depend on when the sampler reads."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.producer.progress_tree import ProgressNode, ProgressReporter, SharedState
from tidings.producer.tracking import LoopCounter, ProgressTracker, Step

NAMES = ["", "a", "b", "c"]
TOTALS = st.one_of(st.none(), st.integers(0, 4))
PLANS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 1.0, 3.0])), max_size=3)
PERCENTS = st.one_of(st.none(), st.integers(0, 4).map(lambda quarters: quarters * 25))
TEXTS = st.sampled_from([None, "", "x", "y"])
WEIGHTS = st.sampled_from([None, 0.0, 1.0, 9.0])
PICKS = st.integers(0, 5)
CALLS = st.one_of(
    st.tuples(st.just("advance"), PICKS, st.sampled_from([1, 2, 0.5, -1, 10**400, float("nan")])),
    st.tuples(st.just("progress"), PICKS, PERCENTS, TEXTS),
    st.tuples(st.just("indeterminate"), PICKS, TEXTS),
    st.tuples(st.just("step"), PICKS, st.sampled_from(NAMES), WEIGHTS, TOTALS, PLANS),
    st.tuples(st.just("begin"), PICKS),
    st.tuples(st.just("leave"), PICKS, st.booleans()),
    st.tuples(st.just("track"), PICKS, TOTALS, st.sampled_from(NAMES), st.integers(0, 3)),
    st.tuples(st.just("next"), PICKS),
    st.tuples(st.just("close"), PICKS),
    st.tuples(st.just("bar"), PICKS, TOTALS, st.sampled_from(NAMES)),
    st.tuples(st.just("set"), PICKS, st.integers(0, 4)),
    st.tuples(st.just("describe"), PICKS, TOTALS, TEXTS, TEXTS),
    st.tuples(st.just("end bar"), PICKS, st.booleans()),
)
MAY_FALL = {"advance", "progress", "set"}
"""Calls that take back a count or a percentage, if the job passes a lower one."""


class Job:
    """A job that makes calls on an operation, its steps, its loops and its bars."""

    def __init__(self, total: float | None, plan: list[tuple[str, float]]) -> None:
        self.work = ProgressTracker(ProgressNode(SharedState(), total=total, steps=dict(plan)))
        self.steps: list[Step] = []
        self.loops: list[Any] = []
        self.bars: list[LoopCounter] = []

    def call(self, kind: str, pick: int, *arguments: Any) -> None:
        """Make one call on the picked part, if there is any of its kind."""
        tracker = [self.work, *self.steps][pick % (1 + len(self.steps))]
        step = self.steps[pick % len(self.steps)] if self.steps else None
        loop = self.loops[pick % len(self.loops)] if self.loops else None
        bar = self.bars[pick % len(self.bars)] if self.bars else None
        match kind:
            case "advance" | "progress" | "indeterminate":
                getattr(tracker, kind)(*arguments)
            case "step":
                name, weight, total, plan = arguments
                self.steps.append(tracker.step(name, weight=weight, total=total, steps=plan))
                self.steps[-1].begin()
            case "begin" if step is not None:
                step.begin()
            case "leave" if step is not None:
                step._leave(None if arguments[0] else ValueError())
            case "track":
                total, description, rows = arguments
                self.loops.append(tracker.track(iter(range(rows)), total, description))
                next(self.loops[-1], None)
            case "next" if loop is not None:
                next(loop, None)
            case "close" if loop is not None:
                loop.close()
            case "bar":
                total, description = arguments
                self.bars.append(LoopCounter.open(tracker, total, description, "it"))
            case "set" if bar is not None:
                bar.set(*arguments)
            case "describe" if bar is not None:
                bar.describe(arguments[0], arguments[1] or "", arguments[2])
            case "end bar" if bar is not None:
                bar.close(finished=arguments[0])


def run(
    total: float | None, plan: list[tuple[str, float]], calls: list[tuple[Any, ...]], reads: Callable[[], bool]
) -> tuple[Any, list[tuple[str, float]]]:
    """Run a job; return its last progress, and what was read after which call."""
    job = Job(total, plan)
    reporter = ProgressReporter(job.work._node, "op")
    newest = reporter.read(0.0)
    progress = [("", newest.progress)]
    for call in calls:
        job.call(*call)
        if reads():
            newest = reporter.take(0.0) or newest
            progress.append((call[0], newest.progress))
    newest = reporter.take(0.0) or newest
    assert newest == reporter.read(0.0), "a change was not read"
    return msgspec.to_builtins(newest), progress


@settings(max_examples=300, deadline=None)
@given(TOTALS, PLANS, st.lists(CALLS, max_size=14), st.randoms(use_true_random=False))
def test_last_progress_does_not_depend_on_when_the_sampler_read(
    total: float | None, plan: list[tuple[str, float]], calls: list[tuple[Any, ...]], random: Any
) -> None:
    unread, _ = run(total, plan, calls, lambda: False)
    read_always, progress = run(total, plan, calls, lambda: True)
    read_at_random, _ = run(total, plan, calls, lambda: random.random() < 0.5)
    assert read_always == read_at_random == unread
    for (_, before), (call, after) in pairwise(progress):
        assert after >= before or call in MAY_FALL, f"{call} let the progress fall from {before} to {after}"
