"""The keyboard of `tidings watch`: single keys, without Enter, and a terminal that is restored in every case."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

try:
    import termios
    import tty
except ImportError:  # on Windows, Ctrl-C quits
    termios = tty = None  # type: ignore[assignment]

_QUIT_KEYS = b"qQ"


class KeyReader:
    """Reads keys from the terminal of stdin, if it is one and this program is in its foreground.

    Stopping the program (Ctrl-Z) restores the terminal for the shell, and continuing it takes the terminal again.

    Args:
        on_quit: Called when `q` is pressed, or a signal asks the program to end; with the number of that signal.
        on_suspend: Called before the program stops.
        on_resume: Called after the program continues.
    """

    def __init__(
        self, on_quit: Callable[[int | None], None], on_suspend: Callable[[], None], on_resume: Callable[[], None]
    ) -> None:
        self._on_quit = on_quit
        self._on_suspend = on_suspend
        self._on_resume = on_resume
        self._loop = asyncio.get_running_loop()
        self._file = -1
        self._modes: list[Any] | None = None
        self.reads = False
        """Whether keys are read."""

    def __enter__(self) -> Self:
        if termios is None:
            return self
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._on_quit, number)
        if sys.stdin is not None and sys.stdin.isatty():
            self._file = sys.stdin.fileno()
            self._loop.add_signal_handler(signal.SIGTSTP, self._suspend)
            self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if termios is None:
            return
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP):
            self._loop.remove_signal_handler(number)
        self._restore()

    def _take(self) -> None:
        if self._modes is None and self._is_in_foreground():
            self._modes = termios.tcgetattr(self._file)
            tty.setcbreak(self._file, termios.TCSANOW)
            self._loop.add_reader(self._file, self._read)
            self.reads = True

    def _is_in_foreground(self) -> bool:
        """Return whether this program may change the terminal; one in the background would be stopped."""
        try:
            return os.tcgetpgrp(self._file) == os.getpgrp()
        except OSError:  # it is not the controlling terminal, and has no foreground
            return True

    def _restore(self) -> None:
        modes, self._modes = self._modes, None
        if modes is None:
            return
        self.reads = False
        self._loop.remove_reader(self._file)
        try:
            termios.tcsetattr(self._file, termios.TCSADRAIN, modes)
        except termios.error:  # the terminal is gone
            return

    def _read(self) -> None:
        try:
            keys = os.read(self._file, 64)
        except OSError:
            keys = b""
        if not keys:  # the terminal is gone
            self._loop.remove_reader(self._file)
        elif any(key in _QUIT_KEYS for key in keys):
            self._on_quit(None)

    def _suspend(self) -> None:
        self._on_suspend()
        self._restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        # The program continues here.
        self._take()
        self._on_resume()
