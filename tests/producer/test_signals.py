"""SIGTERM in this very process, where it does not end it; where it does: tests/producer/test_runtime.py."""

import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from tidings.producer.signals import SIGNALS_DEFERRED, SigtermHandler

Handler = Callable[[int, FrameType | None], object]


@pytest.fixture(autouse=True)
def disposition() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def done() -> list[str]:
    """What happened, in order."""
    return []


@pytest.fixture
def termination(done: list[str]) -> SigtermHandler:
    return SigtermHandler(lambda: done.append("leave"), lambda: done.append("finish"))


def test_another_handler_that_returns_has_decided_to_go_on(termination: SigtermHandler, done: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: done.append("the job's own"))
    termination.install()
    signal.raise_signal(signal.SIGTERM)
    assert done == ["the job's own"]
    assert termination.received


def test_what_another_handler_raises_goes_on_after_the_operations_have_ended(
    termination: SigtermHandler, done: list[str]
) -> None:
    def leave(number: int, frame: FrameType | None) -> None:
        done.append("the job's own")
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, leave)
    termination.install()
    with pytest.raises(SystemExit, match="143"):
        signal.raise_signal(signal.SIGTERM)
    assert done == ["the job's own", "leave"]


def test_it_waits_for_what_the_main_thread_is_in_the_middle_of(termination: SigtermHandler, done: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: done.append("the job's own"))
    termination.install()
    with SIGNALS_DEFERRED:
        signal.raise_signal(signal.SIGTERM)
        done.append("reported")
    assert done == ["reported", "the job's own"]


@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.default_int_handler])
def test_the_signal_is_given_back(termination: SigtermHandler, before: signal.Handlers | Handler) -> None:
    signal.signal(signal.SIGTERM, before)
    termination.install()
    termination.install()
    assert signal.getsignal(signal.SIGTERM) not in (before, signal.SIG_DFL)
    termination.remove()
    termination.remove()
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_ignored_signal_stays_ignored(termination: SigtermHandler) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    termination.install()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_who_takes_it_over_keeps_it(termination: SigtermHandler, done: list[str]) -> None:
    """As a web server does that starts after the first operation; it may call what was there before."""
    signal.signal(signal.SIGTERM, lambda *_: done.append("first"))
    termination.install()
    ours = signal.getsignal(signal.SIGTERM)
    assert callable(ours)

    def chain(number: int, frame: FrameType | None) -> None:
        done.append("server")
        ours(number, frame)

    signal.signal(signal.SIGTERM, chain)
    termination.remove()
    termination.install()
    assert signal.getsignal(signal.SIGTERM) is chain
    signal.raise_signal(signal.SIGTERM)
    assert done == ["server", "first"]


def test_only_the_main_thread_can(termination: SigtermHandler) -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=termination.install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before
