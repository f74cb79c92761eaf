import socket
from collections.abc import Iterator

import pytest
from tests.producer.conftest import own_spool as own_spool
from tests.producer.conftest import reported as reported


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that is bound without a listener, so that no other process can take it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
