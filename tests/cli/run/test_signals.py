import os
import signal
import threading
from collections.abc import Iterator

import pytest

from tidings.cli.run.signals import Signals


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as entered:
        yield entered


def test_signal_is_passed_on_and_ends_the_wait(signals: Signals) -> None:
    sent: list[int] = []
    signals.direct(sent.append)
    os.kill(os.getpid(), signal.SIGTERM)
    assert signals.wait_for(lambda: sent or None) == [signal.SIGTERM]


def test_signal_before_the_command_is_kept_for_it(signals: Signals) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGUSR1)
    sent: list[int] = []
    signals.direct(sent.append)
    assert sorted(sent) == sorted([signal.SIGTERM, signal.SIGUSR1])


def test_notify_from_a_thread_ends_the_wait(signals: Signals) -> None:
    told = threading.Event()

    def tell() -> None:
        told.set()
        signals.notify()

    thread = threading.Thread(target=tell)
    thread.start()
    assert signals.wait_for(lambda: told.is_set() or None)
    thread.join()


def test_exit_restores_handlers_and_wakeup_descriptor() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)}
    with Signals() as signals:
        assert signal.getsignal(signal.SIGTERM) is not before[signal.SIGTERM]
    assert {number: signal.getsignal(number) for number in before} == before
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    signals.notify()


def test_ignored_signal_stays_ignored() -> None:
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)


@pytest.mark.parametrize(
    ("told", "status", "cancelled"),
    [
        (None, 1, False),
        (None, -signal.SIGKILL, False),
        (None, -signal.SIGINT, True),
        (signal.SIGINT, 0, False),
        (signal.SIGINT, 2, True),
        (signal.SIGTERM, -signal.SIGTERM, True),
        (signal.SIGHUP, -signal.SIGHUP, True),
        (signal.SIGQUIT, -signal.SIGQUIT, True),
    ],
)
def test_explain_names_the_stop_signal(signals: Signals, told: int | None, status: int, cancelled: bool) -> None:
    if told is not None:
        signals.stop_asked(told)
    assert (signals.explain(status) is not None) is cancelled


def test_explain_ignores_other_signals(signals: Signals) -> None:
    signals.direct(lambda _: None)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert signals.explain(1) is None
