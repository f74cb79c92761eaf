from collections.abc import Iterator

import pytest
from tests.server.http.access.secured import Secured


@pytest.fixture(params=["native", "asgi"])
def hub(request: pytest.FixtureRequest) -> Iterator[Secured]:
    with Secured(request.param) as running:
        yield running
