"""Jobs with a known future: the progress of each over time."""

from collections.abc import Callable, Sequence
from math import exp, log
from random import Random

from msgspec import Struct

SHORTEST_S, LONGEST_S = 120.0, 10_800.0


class SimulatedJob(Struct, frozen=True):
    duration_s: float
    advances: list[tuple[float, float]]
    """Pairs of seconds since the start and percent done."""


def job(kind: str, seed: int) -> SimulatedJob:
    """Return the job of a kind and a seed; the same in every run."""
    random = Random(f"{kind} {seed}")
    duration_s = exp(random.uniform(log(SHORTEST_S), log(LONGEST_S)))
    took, gained = KINDS[kind](random)
    scale, whole = duration_s / sum(took), sum(gained)
    at_s = percent = 0.0
    advances = []
    for each_s, each in zip(took, gained, strict=True):
        at_s += each_s * scale
        percent += each * 100 / whole
        advances.append((at_s, min(100.0, percent)))
    return SimulatedJob(duration_s, advances)


Made = tuple[Sequence[float], Sequence[float]]
"""Duration and size of each advance, in any unit."""


def _items(random: Random) -> list[float]:
    """Return the durations of similar items."""
    return [random.gammavariate(2, 1) for _ in range(random.randint(50, 400))]


def _even(took: list[float]) -> Made:
    return took, [1.0] * len(took)


def _constant(random: Random) -> Made:
    return _even(_items(random))


def _slowing(random: Random) -> Made:
    took, last = _items(random), random.uniform(1.5, 4)
    return _even([each * (1 + (last - 1) * index / len(took)) for index, each in enumerate(took)])


def _quickening(random: Random) -> Made:
    took, first = _items(random), random.uniform(1.5, 3)
    return _even([each * (first - (first - 1) * index / len(took)) for index, each in enumerate(took)])


def _bursty(random: Random) -> Made:
    took = []
    for _ in range(random.randint(8, 40)):
        took.append(3 * random.expovariate(1))
        took.extend(0.05 * random.expovariate(1) for _ in range(random.randint(3, 20)))
    return _even(took)


def _stepwise(random: Random) -> Made:
    return _even([random.lognormvariate(0, 0.5) for _ in range(random.randint(4, 25))])


def _pausing(random: Random) -> Made:
    took = _items(random)
    took[random.randrange(len(took))] += random.uniform(0.2, 1) * sum(took)
    return _even(took)


def _wandering(random: Random) -> Made:
    took, level = _items(random), 0.0
    for index, each in enumerate(took):
        level += random.gauss(0, 0.7 / len(took) ** 0.5)
        took[index] = each * exp(level)
    return _even(took)


KINDS: dict[str, Callable[[Random], Made]] = {
    "constant": _constant,
    "slowing": _slowing,
    "quickening": _quickening,
    "bursty": _bursty,
    "stepwise": _stepwise,
    "pausing": _pausing,
    "wandering": _wandering,
}
