"""The pytest plugin: fixtures that cost nothing unless they are used. `-p no:tidings` disables it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tidings.exceptions import MissingExtra

if TYPE_CHECKING:
    from tidings.hub.config import HubConfig
    from tidings.testing import ManualHub


@pytest.fixture
def tidings_hub_config() -> "HubConfig | None":
    """Return the limits and intervals of `tidings_hub`; override this fixture to change them."""
    return None


@pytest.fixture
def tidings_hub(tidings_hub_config: "HubConfig | None") -> "Iterator[ManualHub]":
    """Provide a hub in memory, the default of `tidings.connect()` and `tidings.operation()` during the test."""
    try:
        from tidings.testing import ManualHub
    except ModuleNotFoundError as error:
        raise MissingExtra(f"a hub in memory needs {error.name}, which is not installed", extra="hub") from error
    with ManualHub(tidings_hub_config) as hub, hub.as_default():
        yield hub
