import io
import logging
from types import SimpleNamespace

import pytest

from tidings.exceptions import CommandRefused, ConfigError, HandshakeRefused, HubUnreachable, TidingsError
from tidings.producer.diagnostics import Diagnostics, write_line

URL = "ws://user:secret@hub.example:8765/ws"
AWAY = "tidings: no hub answers at hub.example:8765; the job continues, events are kept and sent later\n"


class Screen(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    shown = Screen()
    monkeypatch.setattr("tidings.producer.diagnostics.sys", SimpleNamespace(stderr=shown))
    return shown


def test_unreachable_hub_is_reported_once_for_all_its_errors(screen: Screen) -> None:
    diagnostics = Diagnostics()
    for error in (HubUnreachable("refused"), HubUnreachable("timed out"), HandshakeRefused("502", status=502)):
        diagnostics.report_error(error, URL)
    assert screen.getvalue() == AWAY


def test_other_errors_are_reported_once_each_with_their_hint(screen: Screen) -> None:
    diagnostics = Diagnostics()
    for _ in range(2):
        diagnostics.report_error(HandshakeRefused("forbidden", status=403), URL)
        diagnostics.report_error(CommandRefused("no", refusal="operation_fenced", recoverable=False, hint="Stop."), URL)
    lines = screen.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("tidings: hub.example:8765: forbidden. The job continues. Check the URL's path")
    assert lines[1] == "tidings: hub.example:8765: no. The job continues. Stop."


def test_events_that_cannot_be_kept_are_not_reported_as_kept(screen: Screen) -> None:
    diagnostics = Diagnostics()
    diagnostics.report_error(ConfigError("not kept on disk", option="spool"), URL)
    diagnostics.report_error(HubUnreachable("refused"), URL)
    last = screen.getvalue().splitlines()[-1]
    assert last.endswith("the job continues, events are sent if it answers before the job ends")


def test_misconfiguration_is_reported_once(screen: Screen) -> None:
    diagnostics = Diagnostics()
    for _ in range(2):
        diagnostics.report_misconfiguration(ConfigError("invalid address 'x'", hint="Correct it."))
    assert screen.getvalue() == ("tidings: nothing is reported: invalid address 'x'. The job continues. Correct it.\n")


def test_announcements_on_a_terminal_are_rate_limited(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    diagnostics, now = Diagnostics(), [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    diagnostics.announce("Import", "4bf9", "ws://127.0.0.1:8765/ws")
    now[0] += 0.5
    diagnostics.announce("Another", "4bf9", "ws://127.0.0.1:8765/ws")
    now[0] += 1.0
    diagnostics.announce("Later", "77aa", "ws://127.0.0.1:8765/ws")
    assert screen.getvalue().splitlines() == [
        "tidings: Import · trace 4bf9 · ws://127.0.0.1:8765/ws",
        "tidings: Later · trace 77aa · ws://127.0.0.1:8765/ws",
    ]


def test_announcement_without_a_terminal_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Diagnostics().announce("Import", "4bf9", URL)
    assert capsys.readouterr().err == ""


def test_quiet_variable_silences_stderr(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDINGS_QUIET", "1")
    Diagnostics().report_error(HubUnreachable("refused"), URL)
    assert screen.getvalue() == ""


@pytest.mark.parametrize("stderr", [None, "closed", "full"])
def test_unusable_stderr_is_ignored(monkeypatch: pytest.MonkeyPatch, stderr: str | None) -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "no space left")

    taken: io.StringIO | None = None if stderr is None else Full() if stderr == "full" else io.StringIO()
    if stderr == "closed" and taken is not None:
        taken.close()
    monkeypatch.setattr("tidings.producer.diagnostics.sys", SimpleNamespace(stderr=taken))
    write_line("unheard")
    Diagnostics().announce("Import", "4bf9", URL)


def test_repeated_fault_is_logged_as_warning_then_as_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "tidings")
    diagnostics = Diagnostics()
    error: Exception = TidingsError("a fault")
    for _ in range(3):
        diagnostics.log_fault("reporting", error)
    diagnostics.log_fault("reporting", ValueError("another"))
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "DEBUG", "WARNING"]
