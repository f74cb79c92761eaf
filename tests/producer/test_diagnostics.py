import io
import logging
from types import SimpleNamespace

import pytest

from tidings.exceptions import CommandRefused, ConfigError, HandshakeRefused, HubUnreachable, TidingsError
from tidings.producer.diagnostics import Diagnostics, warn_once

URL = "ws://user:secret@hub.example:8765/ws"
AWAY = "tidings: no hub answers at hub.example:8765; the job goes on, events are kept and sent later\n"


class Screen(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    shown = Screen()
    monkeypatch.setattr("tidings.producer.diagnostics.sys", SimpleNamespace(stderr=shown))
    return shown


def test_a_hub_that_is_away_is_one_line_however_it_shows(screen: Screen) -> None:
    remarks = Diagnostics()
    for error in (HubUnreachable("refused"), HubUnreachable("timed out"), HandshakeRefused("502", status=502)):
        remarks.trouble(error, URL)
    assert screen.getvalue() == AWAY


def test_other_troubles_are_a_line_each_with_what_to_do(screen: Screen) -> None:
    remarks = Diagnostics()
    for _ in range(2):
        remarks.trouble(HandshakeRefused("forbidden", status=403), URL)
        remarks.trouble(CommandRefused("no", refusal="operation_fenced", recoverable=False, hint="Stop."), URL)
    lines = screen.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("tidings: hub.example:8765: forbidden. The job goes on. Check the URL's path")
    assert lines[1] == "tidings: hub.example:8765: no. The job goes on. Stop."


def test_a_wrong_setting_is_said_once(screen: Screen) -> None:
    remarks = Diagnostics()
    for _ in range(2):
        remarks.misconfigured(ConfigError("'x' is no address", hint="Write it otherwise."))
    assert screen.getvalue() == (
        "tidings: nothing is reported: 'x' is no address. The job goes on. Write it otherwise.\n"
    )


def test_a_person_at_a_terminal_sees_where_to_look_and_not_a_thousand_times(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    remarks, now = Diagnostics(), [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    remarks.started("Import", "4bf9", "ws://127.0.0.1:8765/ws")
    now[0] += 0.5
    remarks.started("Another", "4bf9", "ws://127.0.0.1:8765/ws")
    now[0] += 1.0
    remarks.started("Later", "77aa", "ws://127.0.0.1:8765/ws")
    assert screen.getvalue().splitlines() == [
        "tidings: Import · trace 4bf9 · ws://127.0.0.1:8765/ws",
        "tidings: Later · trace 77aa · ws://127.0.0.1:8765/ws",
    ]


def test_starts_are_not_written_into_files_and_pipes(capsys: pytest.CaptureFixture[str]) -> None:
    Diagnostics().started("Import", "4bf9", URL)
    assert capsys.readouterr().err == ""


def test_they_can_be_silenced(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_QUIET", "1")
    Diagnostics().trouble(HubUnreachable("refused"), URL)
    assert screen.getvalue() == ""


@pytest.mark.parametrize("stderr", [None, "closed", "full"])
def test_a_stderr_that_takes_nothing_is_no_error(monkeypatch: pytest.MonkeyPatch, stderr: str | None) -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "no space left")

    taken: io.StringIO | None = None if stderr is None else Full() if stderr == "full" else io.StringIO()
    if stderr == "closed" and taken is not None:
        taken.close()
    monkeypatch.setattr("tidings.producer.diagnostics.sys", SimpleNamespace(stderr=taken))
    warn_once("nobody hears this")
    Diagnostics().started("Import", "4bf9", URL)


def test_faults_are_warnings_once_and_then_whispers(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tidings")
    remarks = Diagnostics()
    error: Exception = TidingsError("a fault")
    for _ in range(3):
        remarks.fault("reporting", error)
    remarks.fault("reporting", ValueError("another"))
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "DEBUG", "WARNING"]
