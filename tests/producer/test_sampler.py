import threading

import pytest
from tests.producer.reported import until

from tidings.producer.sampler import ProgressSampler


class Counter:
    """An operation to sample, and its record of calls."""

    def __init__(self) -> None:
        self.count = 0
        self.seen = 0
        self.samples = 0
        self.asleep = False
        self.changes_while_falling_asleep = False

    def sample(self, now_s: float) -> bool:
        self.samples += 1
        news, self.seen = self.count != self.seen, self.count
        return news

    def try_sleep(self) -> bool:
        if self.changes_while_falling_asleep:
            self.changes_while_falling_asleep = False
            self.count += 7
            return False
        self.asleep = True
        return True


@pytest.fixture
def sampler(monkeypatch: pytest.MonkeyPatch) -> ProgressSampler:
    monkeypatch.setattr("tidings.producer.sampler.INTERVAL_S", 0.001)
    return ProgressSampler()


def test_operation_is_sampled_until_it_stops_changing(sampler: ProgressSampler) -> None:
    counter = Counter()
    counter.count = 1
    sampler.watch(counter)
    until(lambda: counter.asleep)
    assert counter.seen == 1
    samples = counter.samples
    assert samples >= 5
    counter.count = 2
    sampler.watch(counter)
    until(lambda: counter.seen == 2)


def test_operation_that_changes_while_falling_asleep_is_kept(sampler: ProgressSampler) -> None:
    counter = Counter()
    counter.changes_while_falling_asleep = True
    sampler.watch(counter)
    until(lambda: counter.seen == 7 and counter.asleep)


def test_forgotten_operation_is_not_sampled(sampler: ProgressSampler) -> None:
    sampling, release = threading.Event(), threading.Event()

    class Slow(Counter):
        def sample(self, now_s: float) -> bool:
            sampling.set()
            release.wait()
            return super().sample(now_s)

    counter, other = Counter(), Slow()
    sampler.watch(other)
    sampling.wait()
    sampler.watch(counter)
    sampler.forget(counter)
    sampler.forget(counter)
    release.set()
    until(lambda: other.asleep)
    assert counter.samples == 0


def test_sample_that_raises_does_not_stop_the_others(
    sampler: ProgressSampler, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Counter):
        def sample(self, now_s: float) -> bool:
            raise ValueError("a fault of ours")

    counter = Counter()
    counter.count = 3
    sampler.watch(Broken())
    sampler.watch(counter)
    until(lambda: counter.seen == 3 and counter.asleep)
    assert "a fault of ours" in caplog.text


def test_sampler_uses_one_thread(sampler: ProgressSampler) -> None:
    before = threading.active_count()
    for _ in range(10):
        sampler.watch(Counter())
    assert threading.active_count() == before + 1
