"""Passing of what is typed to a command on a terminal of its own."""

import os
import select
import sys
import termios
import threading
from collections.abc import Callable

from tidings.cli.run.relay import Wake

assert sys.platform != "win32"

_CHUNK = 1024
_LFLAG, _CC = 3, 6


class Keyboard:
    r"""A thread that copies our terminal's input to the command's, while we are in the foreground.

    Keys are passed on as they are; the command's own terminal makes signals of them. Two are looked at on the way:
    the interrupt key, to know that an end was asked for, and the suspend key, because the kernel would ignore it: the
    command leads a session of its own, where no shell waits to resume it.

    Args:
        terminal: Descriptor of our terminal.
        master: Descriptor of our end of the command's terminal, non-blocking.
        on_interrupt: Called when Ctrl-C or Ctrl-\ is passed on.
        on_suspend: Called for Ctrl-Z; returns whether it has dealt with it, else the key is passed on.
    """

    def __init__(
        self, terminal: int, master: int, on_interrupt: Callable[[], None], on_suspend: Callable[[], bool]
    ) -> None:
        self._terminal = terminal
        self._master = master
        self._on_interrupt = on_interrupt
        self._on_suspend = on_suspend
        self._listening = False
        self._closing = False
        self._wake = Wake()
        self._thread = threading.Thread(target=self._run, name="tidings-keyboard", daemon=True)

    def start(self) -> None:
        """Start the thread; it reads nothing until `listen`."""
        self._thread.start()

    def listen(self, on: bool) -> None:
        """Read the terminal or leave it alone: who reads it from the background is stopped by the kernel."""
        self._listening = on
        self._wake.set()

    def close(self) -> None:
        """End the thread; keys typed from now on are left to whoever reads the terminal next."""
        self._closing = True
        self._wake.set()
        self._thread.join()
        self._wake.close()

    def _run(self) -> None:
        try:
            while not self._closing:
                files = [self._terminal, self._wake.file] if self._listening else [self._wake.file]
                ready, _, _ = select.select(files, [], [])
                if self._wake.file in ready:
                    self._wake.clear()
                elif self._terminal in ready:
                    keys = os.read(self._terminal, _CHUNK)
                    if not keys:
                        return
                    self._handle(keys)
        except OSError:
            # One of the terminals has gone; the command is told by SIGHUP or ends by itself.
            return

    def _handle(self, keys: bytes) -> None:
        attributes = termios.tcgetattr(self._master)
        if not attributes[_LFLAG] & termios.ISIG:
            self._pass(keys)
            return
        interrupt, quit_key, suspend = (attributes[_CC][key] for key in (termios.VINTR, termios.VQUIT, termios.VSUSP))
        if interrupt in keys or quit_key in keys:
            self._on_interrupt()
        before, found, after = keys.partition(suspend)
        if found and self._on_suspend():
            keys = before + after
        self._pass(keys)

    def _pass(self, keys: bytes) -> None:
        view = memoryview(keys)
        while view and not self._closing:
            _, writable, _ = select.select([self._wake.file], [self._master], [])
            if writable:
                view = view[os.write(self._master, view) :]
            else:
                self._wake.clear()
