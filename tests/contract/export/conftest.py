from pathlib import Path

import pytest
from tests.contract.export.toolchains import Go, Node


@pytest.fixture(scope="session")
def node() -> Node:
    found = Node()
    found.install()
    return found


@pytest.fixture(scope="session")
def go() -> Go:
    return Go()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for what is compiled once and used by many tests."""
    return tmp_path_factory.mktemp("exports")
