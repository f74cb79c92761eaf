import subprocess
import sys

import pytest
from tests.cli.processes import tidings

from tidings.cli import app
from tidings.cli.app import load_command
from tidings.version import __version__

COMMANDS = list(app.COMMANDS)


def test_help_names_every_command() -> None:
    done = tidings("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = tidings(command, "-h")
    assert done.returncode == 0
    assert f"Usage: tidings {command}" in done.stdout.replace("python -m tidings", "tidings")
    assert done.stderr == ""


def test_version_is_printed() -> None:
    assert tidings("--version").stdout == f"tidings {__version__}\n"


@pytest.mark.parametrize("arguments", [("nonsense",), ("--nonsense",)])
def test_an_unknown_command_is_a_usage_error(arguments: tuple[str, ...]) -> None:
    done = tidings(*arguments)
    assert done.returncode == 2
    assert "nonsense" in done.stderr


def test_the_root_imports_no_heavy_library() -> None:
    heavy = ("uvicorn", "starlette", "structlog", "httpx", "rich.live", "sqlite3")
    code = f"import sys; import tidings.cli.app; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_command_summary_matches_the_first_sentence_of_its_help(name: str) -> None:
    assert load_command(name).help.strip().splitlines()[0] == app.COMMANDS[name][1]
