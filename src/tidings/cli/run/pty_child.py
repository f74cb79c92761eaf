"""A command on a pseudo-terminal of its own, for use where our stdout is a terminal."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Sequence

from tidings.cli.run.child import signal_group
from tidings.cli.run.copy import CopiedOutput, OutputCopier, Wake
from tidings.cli.run.reader.output import Source
from tidings.cli.run.session_leader import SessionLeader

assert sys.platform != "win32"

_CHUNK = 1024
_LFLAG, _CC = 3, 6


class Keyboard:
    r"""A thread that copies our terminal's input to the command's, while we are in the foreground.

    Keys are passed on unchanged; the command's terminal turns them into signals. Two keys are handled on the way: the
    interrupt key, to record that the user requested an end, and the suspend key, because the kernel would ignore it:
    the command leads a session of its own, in which no shell could resume it.

    Args:
        terminal: Descriptor of our terminal.
        master: Descriptor of our end of the command's terminal, non-blocking.
        on_interrupt: Called with the signal when Ctrl-C or Ctrl-\ is passed on.
        on_suspend: Called for Ctrl-Z; returns whether it handled the key, which is passed on otherwise.
    """

    def __init__(
        self, terminal: int, master: int, on_interrupt: Callable[[int], None], on_suspend: Callable[[], bool]
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
        """Start or stop reading the terminal: the kernel stops a background process that reads it."""
        self._listening = on
        self._wake.set()

    def close(self) -> None:
        """End the thread; keys typed later go to the next reader of the terminal."""
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
            # One of the terminals is gone; the command gets SIGHUP or ends by itself.
            return

    def _handle(self, keys: bytes) -> None:
        attributes = termios.tcgetattr(self._master)
        if not attributes[_LFLAG] & termios.ISIG:
            self._send(keys)
            return
        interrupt, quit_key, suspend = (attributes[_CC][key] for key in (termios.VINTR, termios.VQUIT, termios.VSUSP))
        if quit_key in keys:
            self._on_interrupt(signal.SIGQUIT)
        if interrupt in keys:
            self._on_interrupt(signal.SIGINT)
        before, found, after = keys.partition(suspend)
        if found and self._on_suspend():
            keys = before + after
        self._send(keys)

    def _send(self, keys: bytes) -> None:
        view = memoryview(keys)
        while view and not self._closing:
            _, writable, _ = select.select([self._wake.file], [self._master], [])
            if writable:
                view = view[os.write(self._master, view) :]
            else:
                self._wake.clear()


STDIN, STDOUT, STDERR = 0, 1, 2
_WINDOW_SIZE = bytes(8)
_OFLAG = 1


class TerminalChild(CopiedOutput):
    """A command in a session of its own on a pseudo-terminal.

    Its terminal starts with the size and modes of ours. Ours is in raw mode while the command runs in the foreground,
    so that every key reaches the command; `close` restores it in every case. If our stdin is not a terminal, the
    command reads it directly; if our stderr is not one, the command's stderr passes to it through a pipe.

    Ctrl-Z stops the command and us, and `fg` and `bg` resume both. The same holds if a program suspends itself
    (`:suspend` in an editor).

    Args:
        command: Program and arguments.
        read: Called with each chunk of output.
        on_interrupt: Called with the signal when the interrupt or quit key is passed on.
        notify: Called when the end of an output stream has been passed on.

    Raises:
        CommandNotStarted: The command could not be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        read: Callable[[bytes, Source], None],
        on_interrupt: Callable[[int], None],
        notify: Callable[[], None],
    ) -> None:
        self._modes = _modes(STDIN)
        self._raw = False
        self._suspending = False
        # Output processing flags that we turned off in the command's terminal; None while they are the command's own.
        self._processes_output: int | None = None
        self._status: int | None = None
        self._master, slave = pty.openpty()
        errors, stderr = (None, slave) if os.isatty(STDERR) else os.pipe()
        try:
            modes = self._modes or _modes(STDOUT)
            if modes is not None:
                termios.tcsetattr(slave, termios.TCSANOW, modes)
            self.copy_size()
            if self._modes is None or not _in_foreground(STDIN):
                self._process_output(False)
            self._leader = SessionLeader(
                command, stdin=slave if self._modes is not None else None, stdout=slave, stderr=stderr
            )
        except BaseException:
            os.close(self._master)
            if errors is not None:
                os.close(errors)
            raise
        finally:
            os.close(slave)
            if errors is not None:
                os.close(stderr)
        os.set_blocking(self._master, False)
        self._screen = OutputCopier(
            self._master,
            STDOUT,
            lambda data: read(data, Source.STDOUT),
            notify,
            owned=False,
            kept=(self._leader.control,),
        )
        self.copiers = [self._screen]
        if errors is not None:
            self.copiers.append(OutputCopier(errors, STDERR, lambda data: read(data, Source.STDERR), notify))
        self._keyboard = Keyboard(STDIN, self._master, on_interrupt, self._stop_child)

    @property
    def pid(self) -> int:
        """Process id of the command."""
        return self._leader.command_pid

    def start(self) -> None:
        """Start to pass keys and output on."""
        self._keyboard.start()
        self.resume()
        self.start_copying()

    def poll(self) -> int | None:
        """Return the exit status if the command has ended; if it was suspended, stop ourselves first."""
        while self._status is None:
            status = self._leader.status()
            if status is None:
                return None
            if not os.WIFSTOPPED(status):
                self._status = os.waitstatus_to_exitcode(status)
            elif self._suspending or os.WSTOPSIG(status) == signal.SIGTSTP:
                self._suspend()
        return self._status

    def send(self, number: int) -> None:
        """Pass a signal on to the command's process group."""
        signal_group(self.pid, number)

    def end(self, number: int) -> bool:
        """Send a signal to the command's process group, 0 to check only; return whether any of it is left."""
        return signal_group(self.pid, number)

    def close(self) -> None:
        """Restore our terminal and close the command's."""
        self._keyboard.close()
        self._restore()
        # Now our terminal turns LF into CR LF in what is still copied.
        self._process_output(False)
        os.close(self._master)
        self._leader.close()
        if not self._screen.handed_over:
            self._leader.wait()
        super().close()

    def copy_size(self) -> None:
        """Give the command's terminal the size of ours; the kernel then sends the command SIGWINCH."""
        with contextlib.suppress(OSError):
            size = fcntl.ioctl(STDOUT, termios.TIOCGWINSZ, _WINDOW_SIZE)
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def resume(self) -> None:
        """Switch our terminal to raw mode if we are in its foreground: at the start, and when a shell resumes us."""
        if self._modes is None or self._raw or not _in_foreground(STDIN):
            return
        with contextlib.suppress(termios.error):
            tty.setraw(STDIN, termios.TCSADRAIN)
            self._raw = True
            self._process_output(True)
            self._keyboard.listen(True)
            self.copy_size()

    def _restore(self) -> None:
        if self._raw and self._modes is not None:
            self._raw = False
            # The terminal may be gone, which may be the reason for our end.
            with contextlib.suppress(termios.error):
                termios.tcsetattr(STDIN, termios.TCSADRAIN, self._modes)

    def _process_output(self, on: bool) -> None:
        """Let the command's terminal turn LF into CR LF, or leave that to ours, which does it unless it is raw."""
        with contextlib.suppress(termios.error):
            modes = termios.tcgetattr(self._master)
            output = int(modes[_OFLAG])
            if on and self._processes_output is not None:
                output |= self._processes_output
                self._processes_output = None
            elif not on and self._processes_output is None:
                self._processes_output = output & termios.OPOST
                output &= ~termios.OPOST
            modes[_OFLAG] = output
            termios.tcsetattr(self._master, termios.TCSANOW, modes)

    def _stop_child(self) -> bool:
        """Stop the command for Ctrl-Z, unless it is a shell with another job in the foreground, which it stops."""
        if os.tcgetpgrp(self._master) != self.pid:
            return False
        self._suspending = True
        os.killpg(self.pid, signal.SIGSTOP)
        return True

    def _suspend(self) -> None:
        """Restore our terminal, stop ourselves, and go on when the shell resumes us."""
        self._suspending = False
        self._keyboard.listen(False)
        self._restore()
        # If no shell could resume us, the kernel ignores this, and the command goes on immediately.
        os.killpg(os.getpgrp(), signal.SIGTSTP)
        self.resume()
        if not self._raw:
            self._process_output(False)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)


def _modes(file: int) -> list[int | list[bytes | int]] | None:
    """Return a terminal's modes; None if the descriptor is not a terminal."""
    try:
        return termios.tcgetattr(file)
    except termios.error:
        return None


def _in_foreground(file: int) -> bool:
    try:
        return os.tcgetpgrp(file) == os.getpgrp()
    except OSError:
        return False
