"""The pytest plugin: fixtures that cost nothing where they are not used. `-p no:tidings` leaves it out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tidings.exceptions import MissingExtra

if TYPE_CHECKING:
    from tidings.hub.config import HubConfig
    from tidings.testing import ManualHub


@pytest.fixture
def tidings_hub_config() -> "HubConfig | None":
    """Return the limits and rhythms of `tidings_hub`; override it to have others."""
    return None


@pytest.fixture
def tidings_hub(tidings_hub_config: "HubConfig | None") -> "Iterator[ManualHub]":
    """A hub in memory, which `tidings.connect()` and `tidings.operation()` without an address use in this test."""
    try:
        from tidings.testing import ManualHub
    except ModuleNotFoundError as error:
        raise MissingExtra(f"a hub in memory needs {error.name}, which is not installed", extra="hub") from error
    with ManualHub(tidings_hub_config) as hub, hub.as_default():
        yield hub
