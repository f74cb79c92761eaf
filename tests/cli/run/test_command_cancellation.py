import signal
from dataclasses import dataclass, field

import pytest

from tidings.cli.run.command import Cancellation
from tidings.testing.clock import ManualClock


@dataclass
class Command:
    """A command that remembers what was sent to it."""

    sent: list[int] = field(default_factory=list)
    left: bool = True
    pid: int = 1

    def start(self) -> None: ...

    def poll(self) -> int | None:
        return None

    def send(self, number: int) -> None: ...

    def end(self, number: int) -> bool:
        if number:
            self.sent.append(number)
        return self.left

    def end_output(self) -> None: ...

    @property
    def drained(self) -> bool:
        return True

    def abandon_output(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cancellation(clock: ManualClock) -> Cancellation:
    return Cancellation(10.0, clock.monotonic)


def test_no_request_sends_no_signal(cancellation: Cancellation) -> None:
    command = Command()
    cancellation.send_due_signal(command)
    assert command.sent == []
    assert cancellation.due_in() is None
    assert cancellation.fulfilled is None
    assert cancellation.is_complete(command)


def test_request_sends_sigterm_and_sigkill_after_the_grace(cancellation: Cancellation, clock: ManualClock) -> None:
    command = Command()
    cancellation.request("wrong file", "ada")
    cancellation.send_due_signal(command)
    cancellation.send_due_signal(command)
    assert command.sent == [signal.SIGTERM]
    assert cancellation.due_in() == 10.0
    assert cancellation.reason == "wrong file"
    clock.advance(9.9)
    cancellation.send_due_signal(command)
    assert command.sent == [signal.SIGTERM]
    clock.advance(0.2)
    cancellation.send_due_signal(command)
    cancellation.send_due_signal(command)
    assert command.sent == [signal.SIGTERM, signal.SIGKILL]
    assert cancellation.due_in() is None
    assert "ignored SIGTERM for 10 s" in cancellation.reason
    assert cancellation.fulfilled is not None
    assert cancellation.fulfilled.cancelled_by == "ada"


def test_request_after_the_end_changes_nothing(cancellation: Cancellation) -> None:
    cancellation.request("too late")
    assert cancellation.fulfilled is None
    assert cancellation.is_complete(Command())


def test_remaining_descendants_are_killed_after_the_grace(cancellation: Cancellation, clock: ManualClock) -> None:
    command = Command()
    cancellation.request()
    cancellation.send_due_signal(command)
    assert not cancellation.is_complete(command)
    wait = cancellation.poll_in()
    assert wait is not None
    assert wait < 1
    clock.advance(10)
    assert cancellation.is_complete(command)
    assert command.sent == [signal.SIGTERM, signal.SIGKILL]


def test_no_remaining_descendants_get_no_signal(cancellation: Cancellation) -> None:
    command = Command()
    cancellation.request()
    cancellation.send_due_signal(command)
    command.left = False
    assert cancellation.is_complete(command)
    assert command.sent == [signal.SIGTERM]


def test_earlier_request_wakes_the_waiting_thread(cancellation: Cancellation) -> None:
    woken: list[str] = []
    cancellation.request("first", "ada")
    cancellation.on_request(lambda: woken.append("x"))
    assert woken == ["x"]
    cancellation.request("second", "bob")
    assert woken == ["x", "x"]
    cancellation.send_due_signal(Command())
    assert cancellation.fulfilled is not None
    assert cancellation.fulfilled.reason == "first"
