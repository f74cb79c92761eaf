"""Passing of the signals sent to us on to the command."""

import contextlib
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TypeVar

# Signals that ask for an end. Others that would end us if we did not catch them are passed on all the same.
_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")
_OTHERS = ("SIGUSR1", "SIGUSR2")
# A command that ends with an error so long after it was told to stop has another reason.
STOP_WINDOW_S = 30.0

# Windows tells nobody that a child has ended.
_POLL_S = 0.05 if sys.platform == "win32" else None

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], object] | int | None


class Signals:
    """Handlers that pass signals on, the wait they interrupt, and the memory of having been told to stop.

    Each signal is passed on, the second Ctrl-C like the first, and none is made stronger: a command that ignores them
    is ended as it would be alone, by SIGKILL. A signal that was ignored when we were started (`nohup`) stays ignored,
    for us and the command. What comes before the command is started is kept for it.

    The wait is a `select` on a socket that the interpreter writes to when a signal arrives: a signal that comes just
    before a blocking call such as `waitpid` would wait for the end of that call.
    """

    def __init__(self) -> None:
        self._send: Callable[[int], None] | None = None
        self._early: list[int] = []
        self._previous: dict[int, Handler] = {}
        self._told: int | None = None
        self._told_at = 0.0

        self._receiver, self._sender = socket.socketpair()
        self._previous_wakeup = -1

    def __enter__(self) -> "Signals":
        for end in (self._receiver, self._sender):
            end.setblocking(False)
        self._previous_wakeup = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        if sys.platform != "win32":
            self._previous[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        for name in _STOPPING + _OTHERS:
            number = getattr(signal, name, None)
            if number is not None:
                self.handle(number, self._pass_on)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_wakeup)
        self._receiver.close()
        self._sender.close()

    def notify(self) -> None:
        """Have `wait_for` look at its condition again; any thread may call it, also after the end."""
        # A full buffer wakes it as well.
        with contextlib.suppress(OSError):
            self._sender.send(b"\0")

    def wait_for(self, condition: Callable[[], T | None], due_in: Callable[[], float | None] = lambda: None) -> T:
        """Return what `condition` returns once that is not None.

        Args:
            condition: Asked after each signal and `notify`.
            due_in: After how many seconds it is to be asked at the latest; None is not before those.
        """
        while (value := condition()) is None:
            waits = [seconds for seconds in (due_in(), _POLL_S) if seconds is not None]
            select.select([self._receiver], [], [], min(waits, default=None))
            with contextlib.suppress(BlockingIOError):
                self._receiver.recv(4096)
        return value

    def handle(self, number: int, handler: Handler) -> None:
        """Set a handler until the end of this context, unless the signal is ignored."""
        previous = signal.getsignal(number)
        if previous is not signal.SIG_IGN:
            self._previous.setdefault(number, previous)
            signal.signal(number, handler)

    def direct(self, send: Callable[[int], None]) -> None:
        """Pass signals on to a command from now on, and those that came before."""
        self._send = send
        while self._early:
            send(self._early.pop(0))

    def stop_asked(self, number: int = signal.SIGINT) -> None:
        """Note that the command has been told to stop."""
        self._told, self._told_at = number, time.monotonic()

    def explain(self, status: int) -> str | None:
        """Return why a command that ended with `status` was cancelled, None if it was not.

        It was if it did not succeed within STOP_WINDOW_S of being told to stop, whatever its exit code: pytest ends
        with 2, and a shell with 130. Death by SIGINT needs no telling by us: nothing but a wish to stop sends it.
        """
        if -status == signal.SIGINT and self._told is None:
            return "interrupted by SIGINT"
        if self._told is None or status == 0 or time.monotonic() - self._told_at > STOP_WINDOW_S:
            return None
        if self._told == signal.SIGINT:
            return "interrupted by Ctrl-C or SIGINT"
        if sys.platform != "win32" and self._told == signal.SIGHUP:
            return "its terminal or session was closed (SIGHUP)"
        return f"ended by {signal.Signals(self._told).name}"

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        if signal.Signals(number).name in _STOPPING:
            self.stop_asked(number)
        if self._send is None:
            self._early.append(number)
        else:
            self._send(number)
