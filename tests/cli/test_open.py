"""`tidings open`: the address that it prints, and the browser that it starts."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.processes import Hub, publish_operation, tidings

from tidings.cli.open import has_browser, page_address


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as running:
        publish_operation(running, "start", "night/1 ä", name="Import prices")
        publish_operation(running, "start", "other")
        yield running


@pytest.mark.parametrize(
    ("arguments", "page"),
    [
        ((), ""),
        (("night/1 ä",), "operation?id=night/1%20%C3%A4"),
        (("Import prices",), "operation?id=night/1%20%C3%A4"),
        (("--last",), "operation?id=other"),
    ],
)
def test_address_of_the_dashboard_or_of_an_operation_is_printed(
    hub: Hub, arguments: tuple[str, ...], page: str
) -> None:
    done = tidings("open", "--print", "--url", hub.url, *arguments)
    assert (done.returncode, done.stdout) == (0, f"{hub.http}{page}\n")


def test_browser_is_started_with_the_address(hub: Hub, tmp_path: Path) -> None:
    script = f"import sys; open({str(tmp_path / 'opened')!r}, 'w').write(sys.argv[1])"
    browser = shlex.join([sys.executable, "-c", script, "%s"])
    done = tidings("open", "--url", hub.url, BROWSER=browser)
    assert done.returncode == 0
    assert (tmp_path / "opened").read_text() == hub.http


def test_unknown_operation_and_missing_hub_have_their_exit_codes(hub: Hub) -> None:
    unknown = tidings("open", "--print", "--url", hub.url, "nowhere")
    assert (unknown.returncode, unknown.stdout) == (5, "")
    missing = tidings("open", "--print", "--url", "ws://127.0.0.1:1/ws")
    assert (missing.returncode, missing.stdout) == (69, "")


def test_password_is_not_a_part_of_the_address() -> None:
    assert page_address("https://ada:secret@hub.example.com:8443/tidings/") == "https://hub.example.com:8443/tidings/"


@pytest.mark.parametrize(
    ("environment", "platform", "found"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"BROWSER": "firefox"}, "linux", True),
        ({}, "darwin", True),
    ],
)
def test_browser_in_a_terminal_is_not_started(environment: dict[str, str], platform: str, found: bool) -> None:
    assert has_browser(environment, platform) is found
