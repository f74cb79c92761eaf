from typing import Any

import pytest
from tests.hub.shared_hubs import SharedHubs


@pytest.fixture(params=["good", "bad"])
def hubs(request: pytest.FixtureRequest) -> SharedHubs:
    """Return three hubs of one log, over a good journal and over a bad one."""
    faults: dict[str, Any] = {"lost": 0.2, "doubled": 0.3, "max_delay_s": 0.05} if request.param == "bad" else {}
    return SharedHubs(3, **faults)
