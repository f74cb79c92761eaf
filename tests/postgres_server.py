"""A real PostgreSQL server on a free port, for tests."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from signal import Signals

_STARTING_S = 30.0
_POLL_S = 0.01
_USER = "postgres"
"""The server refuses to run as root; Debian's package has this user."""
_OPTIONS = ("-c", "listen_addresses=127.0.0.1", "-c", "max_connections=50", "-c", "autovacuum=off")


class PostgresServer:
    """One server, with its own folder.

    Args:
        folder: Where it stores its databases.
        durable: Whether a commit waits for the disk.
        replicates: Whether a commit waits for a standby.
        env: Added to its environment.
    """

    def __init__(
        self,
        folder: Path,
        *,
        durable: bool = False,
        replicates: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self._env = env
        self._options = ["-c", f"fsync={'on' if durable else 'off'}", *_OPTIONS]
        if replicates:
            self._options += ["-c", "synchronous_standby_names=*"]
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://tidings@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        if not self.folder.exists():
            self._create()
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        arguments = ["-D", str(self.folder), "-p", str(self.port), "-k", str(self.folder), *self._options]
        self._process = self._run("postgres", *arguments, env=self._env)
        end = time.monotonic() + _STARTING_S
        while self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)).wait() != 0:
            assert self._process.poll() is None, "postgres ended at once"
            assert time.monotonic() < end, "postgres takes no connections"
            time.sleep(_POLL_S)

    def stop(self, number: Signals = Signals.SIGINT) -> None:
        """Stop it; by default without waiting for its clients."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def copy_to(self, folder: Path) -> "PostgresServer":
        """Return a standby of this server that is not started yet."""
        self._finish("pg_basebackup", "-d", self.url, "-D", str(folder), "-R", "-c", "fast", "--no-sync")
        return PostgresServer(folder)

    def promote(self) -> None:
        """Let a standby accept writes."""
        self._finish("pg_ctl", "promote", "-D", str(self.folder))

    def _create(self) -> None:
        self.folder.mkdir(parents=True)
        if os.geteuid() == 0:
            user = pwd.getpwnam(_USER)
            for folder in (self.folder, self.folder.parent):
                os.chown(folder, user.pw_uid, user.pw_gid)
        self._finish("initdb", "-D", str(self.folder), "-U", "tidings", "-A", "trust", "-E", "UTF8", "--no-sync")

    def _finish(self, program: str, *arguments: str) -> None:
        assert self._run(program, *arguments).wait() == 0, f"{program} failed"

    def _run(self, program: str, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        user = _USER if os.geteuid() == 0 else None
        return subprocess.Popen(
            [_find(program), *arguments],
            user=user,
            cwd="/",
            env={**os.environ, **(env or {})},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def new_postgres_server(
    *, durable: bool = False, replicates: bool = False, env: Mapping[str, str] | None = None
) -> Iterator[PostgresServer]:
    """Start a server; it is stopped, and its folder deleted, at the end."""
    with tempfile.TemporaryDirectory(prefix="tidings-postgres-") as folder:  # its user may not enter pytest's own
        server = PostgresServer(Path(folder) / "data", durable=durable, replicates=replicates, env=env)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _find(program: str) -> str:
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    found = str(versions[-1]) if versions else shutil.which(program)
    assert found, f"install PostgreSQL: {program} was not found"
    return found
