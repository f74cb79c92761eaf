"""Passes the signals that we receive on to the command."""

import contextlib
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TypeVar

# Signals that request an end. The others would end us if we did not catch them; they are passed on as well.
_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")
_OTHERS = ("SIGUSR1", "SIGUSR2")
STOP_WINDOW_S = 30.0
"""Seconds after a stop signal within which a failure counts as cancelled; a later one has another cause."""

# Windows sends no signal when a child ends.
_POLL_S = 0.05 if sys.platform == "win32" else None

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], object] | int | None


class Signals:
    """Signal handlers that pass signals on, the wait that they interrupt, and the last stop signal.

    Every signal is passed on unchanged, the second Ctrl-C like the first: only SIGKILL ends a command that ignores
    them, as without us. A signal that was ignored when we started (`nohup`) stays ignored for us and for the command.
    Signals that arrive before the command has started are kept for it.

    The wait is a `select` on a socket that the interpreter writes to when a signal arrives. With a blocking call such
    as `waitpid`, a signal that arrives just before the call would be handled only after it.
    """

    def __init__(self) -> None:
        self._send: Callable[[int], None] | None = None
        self._early: list[int] = []
        self._previous: dict[int, Handler] = {}
        self._stop_signal: int | None = None
        self._stop_signal_at = 0.0

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
        """Make `wait_for` check its condition again. Any thread may call it, even after the end of the wait."""
        # A full buffer wakes the wait as well.
        with contextlib.suppress(OSError):
            self._sender.send(b"\0")

    def wait_for(self, condition: Callable[[], T | None], due_in: Callable[[], float | None] = lambda: None) -> T:
        """Return the first result of `condition` that is not None.

        Args:
            condition: Called after each signal and each `notify`.
            due_in: Returns the seconds after which to call it at the latest; None waits for a signal or `notify`.
        """
        while (value := condition()) is None:
            waits = [seconds for seconds in (due_in(), _POLL_S) if seconds is not None]
            select.select([self._receiver], [], [], min(waits, default=None))
            with contextlib.suppress(BlockingIOError):
                self._receiver.recv(4096)
        return value

    def handle(self, number: int, handler: Handler) -> None:
        """Install a handler until this context exits, unless the signal is ignored."""
        previous = signal.getsignal(number)
        if previous is not signal.SIG_IGN:
            self._previous.setdefault(number, previous)
            signal.signal(number, handler)

    def direct(self, send: Callable[[int], None]) -> None:
        """Pass the kept and all later signals on to a command."""
        self._send = send
        while self._early:
            send(self._early.pop(0))

    def stop_asked(self, number: int = signal.SIGINT, at: float | None = None) -> None:
        """Record that the command was requested to stop, now or at a time of the monotonic clock in seconds."""
        self._stop_signal, self._stop_signal_at = number, time.monotonic() if at is None else at

    @property
    def stop(self) -> tuple[int, float] | None:
        """The last stop signal and its time; None if there was none."""
        return None if self._stop_signal is None else (self._stop_signal, self._stop_signal_at)

    def explain(self, status: int) -> str | None:
        """Return why a command that ended with `status` was cancelled, None if it was not.

        It was cancelled if it failed within STOP_WINDOW_S of a stop signal, whatever its exit code: pytest ends with
        2 and a shell with 130. Death by SIGINT is enough on its own, since only a user who stops the command sends it.
        """
        if -status == signal.SIGINT and self._stop_signal is None:
            return "interrupted by SIGINT"
        if self._stop_signal is None or status == 0 or time.monotonic() - self._stop_signal_at > STOP_WINDOW_S:
            return None
        if self._stop_signal == signal.SIGINT:
            return "interrupted by Ctrl-C or SIGINT"
        if sys.platform != "win32" and self._stop_signal == signal.SIGQUIT:
            return "interrupted by Ctrl-\\ or SIGQUIT"
        if sys.platform != "win32" and self._stop_signal == signal.SIGHUP:
            return "its terminal or session was closed (SIGHUP)"
        return f"ended by {signal.Signals(self._stop_signal).name}"

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        if signal.Signals(number).name in _STOPPING:
            self.stop_asked(number)
        if self._send is None:
            self._early.append(number)
        else:
            self._send(number)
