import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.server.recorder import RecordingServer

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
_FACTORIES: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
try:
    import uvloop
except ImportError:  # as on Windows
    pass
else:
    _FACTORIES["uvloop"] = uvloop.new_event_loop


@pytest.fixture(params=sorted(_FACTORIES))
def loop_factory(request: pytest.FixtureRequest) -> LoopFactory:
    """Each supported event loop: their transports differ in details that the edge depends on."""
    factory: Any = _FACTORIES[request.param]
    return factory  # type: ignore[no-any-return]


@pytest.fixture
def server(loop_factory: LoopFactory) -> Iterator[RecordingServer]:
    with RecordingServer(loop_factory) as running:
        yield running
