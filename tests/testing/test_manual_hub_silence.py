from collections.abc import Iterator

import pytest
import structlog

import tidings
from tidings.client.sync import connect
from tidings.testing import ManualHub
from tidings.testing.manual_hub import silenced


@pytest.fixture(autouse=True)
def configuration() -> Iterator[None]:
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)


def test_only_loggers_of_tidings_are_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    with silenced(), silenced():
        structlog.get_logger("tidings.hub").error("silenced")
        structlog.get_logger("application").info("from the application")
        structlog.get_logger().info("and this")
    structlog.get_logger("tidings.hub").error("printed again")
    out = capsys.readouterr().out
    assert "silenced" not in out
    assert all(line in out for line in ("from the application", "and this", "printed again"))
    assert not structlog.is_configured()


def test_configured_structlog_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    with silenced():
        structlog.get_logger("tidings.hub").warning("shown")
    assert capsys.readouterr().out == '{"event": "shown"}\n'


def test_hub_is_silent_until_it_is_closed(capsys: pytest.CaptureFixture[str]) -> None:
    with ManualHub() as hub:
        with pytest.raises(tidings.UnknownType), connect(hub.url):
            hub.publish("data:nonsense")
        hub.restart()
    assert capsys.readouterr().out == ""


def test_structlog_configured_during_the_block_stays() -> None:
    def factory(*names: object) -> structlog.PrintLogger:
        return structlog.PrintLogger()

    with silenced():
        structlog.configure(logger_factory=factory)
    assert structlog.get_config()["logger_factory"] is factory
