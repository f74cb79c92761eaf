from collections.abc import Iterator

import pytest
from tests.cli.processes import Hub


@pytest.fixture(scope="session")
def shared_hub() -> Iterator[Hub]:
    """One hub for all tests that only need some hub; each uses names of its own."""
    with Hub("--log-level", "error") as hub:
        yield hub
