"""SIGTERM handled inside this process; `test_runtime.py` has the tests in which it ends a process."""

import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from tidings.producer.signals import CALLS_DEFERRED, DeferCalls, TerminationHandler

Handler = Callable[[int, FrameType | None], object]


@pytest.fixture(autouse=True)
def disposition() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def done() -> list[str]:
    """The actions that ran, in order."""
    return []


@pytest.fixture
def handler(done: list[str]) -> TerminationHandler:
    return TerminationHandler(signal.SIGTERM, lambda _: done.append("leave"), lambda _: done.append("finish"))


def test_other_handler_that_returns_lets_the_job_go_on(handler: TerminationHandler, done: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: done.append("the job's own"))
    handler.install()
    signal.raise_signal(signal.SIGTERM)
    assert done == ["the job's own"]
    assert handler.received


def test_other_handler_that_raises_ends_operations_first(handler: TerminationHandler, done: list[str]) -> None:
    def leave(number: int, frame: FrameType | None) -> None:
        done.append("the job's own")
        raise SystemExit(143)

    signal.signal(signal.SIGTERM, leave)
    handler.install()
    with pytest.raises(SystemExit, match="143"):
        signal.raise_signal(signal.SIGTERM)
    assert done == ["the job's own", "leave"]


def test_handler_waits_for_the_deferred_region(handler: TerminationHandler, done: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: done.append("the job's own"))
    handler.install()
    with CALLS_DEFERRED, CALLS_DEFERRED.region:
        signal.raise_signal(signal.SIGTERM)
        done.append("reported")
    assert done == ["reported", "the job's own"]


@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.default_int_handler])
def test_remove_restores_the_previous_handler(handler: TerminationHandler, before: signal.Handlers | Handler) -> None:
    signal.signal(signal.SIGTERM, before)
    handler.install()
    handler.install()
    assert signal.getsignal(signal.SIGTERM) not in (before, signal.SIG_DFL)
    handler.remove()
    handler.remove()
    assert signal.getsignal(signal.SIGTERM) is before


def test_ignored_signal_is_not_taken_over(handler: TerminationHandler) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    handler.install()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_handler_installed_later_is_kept(handler: TerminationHandler, done: list[str]) -> None:
    """As by a web server that starts after the first operation; it may call the previous handler."""
    signal.signal(signal.SIGTERM, lambda *_: done.append("first"))
    handler.install()
    ours = signal.getsignal(signal.SIGTERM)
    assert callable(ours)

    def chain(number: int, frame: FrameType | None) -> None:
        done.append("server")
        ours(number, frame)

    signal.signal(signal.SIGTERM, chain)
    handler.remove()
    handler.install()
    assert signal.getsignal(signal.SIGTERM) is chain
    signal.raise_signal(signal.SIGTERM)
    assert done == ["server", "first"]


def test_install_from_another_thread_has_no_effect(handler: TerminationHandler) -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=handler.install)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def test_action_outside_the_region_runs_immediately() -> None:
    done: list[str] = []
    DeferCalls().run(lambda: done.append("now"))
    assert done == ["now"]


def test_action_inside_the_region_runs_at_its_outermost_end() -> None:
    deferred, done = DeferCalls(), list[str]()
    with deferred, deferred.region:
        with deferred, deferred.region:
            deferred.run(lambda: done.append("first"))
            deferred.run(lambda: done.append("second"))
        assert done == []
    assert done == ["first", "second"]


def test_deferred_action_may_raise() -> None:
    deferred = DeferCalls()

    def leave() -> None:
        raise SystemExit(3)

    def work() -> None:
        with deferred, deferred.region:
            deferred.run(leave)

    with pytest.raises(SystemExit):
        work()


def test_region_of_another_thread_defers_nothing() -> None:
    deferred, done = DeferCalls(), list[str]()
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with deferred, deferred.region:
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert entered.wait(60)
        deferred.run(lambda: done.append("now"))
        assert done == ["now"]
    finally:
        leave.set()
        thread.join()
