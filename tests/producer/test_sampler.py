import threading

import pytest
from tests.producer.reported import until

from tidings.producer.sampler import ProgressSampler


class Counter:
    """Something that is looked at, and what came of it."""

    def __init__(self) -> None:
        self.count = 0
        self.seen = 0
        self.looks = 0
        self.dozing = False
        self.waking_at_doze = False

    def sample(self, now_s: float) -> bool:
        self.looks += 1
        news, self.seen = self.count != self.seen, self.count
        return news

    def try_sleep(self) -> bool:
        if self.waking_at_doze:
            self.waking_at_doze = False
            return False
        self.dozing = True
        return True


@pytest.fixture
def pacer(monkeypatch: pytest.MonkeyPatch) -> ProgressSampler:
    monkeypatch.setattr("tidings.producer.sampler.INTERVAL_S", 0.001)
    return ProgressSampler()


def test_what_counts_is_looked_at_until_it_counts_no_more(pacer: ProgressSampler) -> None:
    counter = Counter()
    counter.count = 1
    pacer.watch(counter)
    until(lambda: counter.dozing)
    assert counter.seen == 1
    looks = counter.looks
    assert looks >= 5
    counter.count = 2
    pacer.watch(counter)
    until(lambda: counter.seen == 2)


def test_who_counts_just_when_it_would_doze_is_not_forgotten(pacer: ProgressSampler) -> None:
    counter = Counter()
    counter.waking_at_doze = True
    pacer.watch(counter)
    until(lambda: not counter.waking_at_doze)
    counter.count = 7
    until(lambda: counter.seen == 7)


def test_what_is_forgotten_is_looked_at_no_more(pacer: ProgressSampler) -> None:
    counter, other = Counter(), Counter()
    pacer.watch(counter)
    pacer.forget(counter)
    pacer.forget(counter)
    pacer.watch(other)
    until(lambda: other.dozing)
    assert not counter.dozing


def test_a_look_that_fails_does_not_end_the_others(pacer: ProgressSampler, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Counter):
        def sample(self, now_s: float) -> bool:
            raise ValueError("a fault of ours")

    counter = Counter()
    counter.count = 3
    pacer.watch(Broken())
    pacer.watch(counter)
    until(lambda: counter.seen == 3 and counter.dozing)
    assert "a fault of ours" in caplog.text


def test_there_is_one_thread(pacer: ProgressSampler) -> None:
    before = threading.active_count()
    for _ in range(10):
        pacer.watch(Counter())
    assert threading.active_count() == before + 1
