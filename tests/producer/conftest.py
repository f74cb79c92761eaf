import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.client.hub_server import HubServer
from tests.producer.reported import Reported

from tidings.producer.runtime import RUNTIME


@pytest.fixture(autouse=True)
def own_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own spool: no test sends the events that another left behind."""
    monkeypatch.setenv("TIDINGS_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in (
        "TIDINGS_URL",
        "TIDINGS_TOKEN",
        "TIDINGS_TOKEN_FILE",
        "TIDINGS_DISABLED",
        "TIDINGS_QUIET",
        "TRACEPARENT",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def reported(own_spool: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reported]:
    """A hub that operations report to by default. Afterwards this process has no operation and no outbox left."""
    with HubServer() as hub:
        monkeypatch.setenv("TIDINGS_URL", hub.url)
        try:
            yield Reported(hub)
        finally:
            left = RUNTIME.running
            RUNTIME.close()
    assert left == []
    assert [thread.name for thread in threading.enumerate() if thread.name == "tidings outbox"] == []
