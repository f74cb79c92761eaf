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


def test_the_hub_is_quiet_and_others_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    with silenced(), silenced():
        structlog.get_logger("tidings.hub").error("nobody hears")
        structlog.get_logger("application").info("somebody hears")
        structlog.get_logger().info("and this")
    structlog.get_logger("tidings.hub").error("heard again")
    out = capsys.readouterr().out
    assert "nobody hears" not in out
    assert all(said in out for said in ("somebody hears", "and this", "heard again"))
    assert not structlog.is_configured()


def test_an_application_that_has_configured_structlog_decides_itself(capsys: pytest.CaptureFixture[str]) -> None:
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    with silenced():
        structlog.get_logger("tidings.hub").warning("shown")
    assert capsys.readouterr().out == '{"event": "shown"}\n'


def test_a_hub_keeps_quiet_for_as_long_as_it_lives(capsys: pytest.CaptureFixture[str]) -> None:
    with ManualHub() as hub:
        with pytest.raises(tidings.UnknownType), connect(hub.url):
            hub.publish("data:nonsense")
        hub.restart()
    assert capsys.readouterr().out == ""


def test_what_an_application_configures_meanwhile_stays() -> None:
    def factory(*names: object) -> structlog.PrintLogger:
        return structlog.PrintLogger()

    with silenced():
        structlog.configure(logger_factory=factory)
    assert structlog.get_config()["logger_factory"] is factory
