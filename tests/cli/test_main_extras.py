import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.processes import Hub, Terminal, environment, tidings, without_modules

from tidings.cli.main import missing_extra
from tidings.version import __version__

CLI = ("typer", "rich", "platformdirs", "psutil")
HUB = ("uvicorn", "starlette", "structlog", "httptools", "prometheus_client", "uvloop")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("serve",), ("run", "--", "true")])
def test_commands_without_the_cli_extra_print_the_install_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    with without_modules(tmp_path, *CLI, *HUB) as variables:
        done = tidings(*arguments, **variables)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == ("error: typer is not installed\nhint: pip install 'tidings[all]'\n")


def test_version_needs_no_extra(tmp_path: Path) -> None:
    with without_modules(tmp_path, *CLI, *HUB) as variables:
        done = tidings("--version", **variables)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"tidings {__version__}\n", "")


def test_serve_without_the_hub_extra_prints_the_install_line(tmp_path: Path) -> None:
    with without_modules(tmp_path, *HUB) as variables:
        done = tidings("serve", "--memory", "--port", "0", **variables)
    assert (done.returncode, done.stdout) == (1, "")
    error, hint = done.stderr.splitlines()
    assert error.endswith(" is not installed")
    assert hint == "hint: pip install 'tidings[all]'"


def test_embedding_without_the_hub_extra_prints_the_install_line(tmp_path: Path) -> None:
    with without_modules(tmp_path, *HUB) as variables:
        done = subprocess.run(
            [sys.executable, "-c", "import tidings.server.embedding"],
            env=environment(**variables),
            capture_output=True,
            text=True,
            check=False,
        )
    assert "MissingExtra: an embedded hub needs structlog, which is not installed" in done.stderr


def test_other_commands_work_without_the_hub_extra(shared_hub: Hub, tmp_path: Path) -> None:
    with without_modules(tmp_path, *HUB) as variables:
        variables["TIDINGS_URL"] = shared_hub.url
        assert tidings("publish", "data:update", '{"dataset": "x"}', **variables).returncode == 0
        assert tidings("doctor", **variables).returncode == 0
        assert tidings("run", "--", "true", **variables).stderr == ""
        assert tidings("serve", "--show-config", **variables).returncode == 0
        with Terminal("watch", env=variables) as terminal:
            terminal.wait_for("● live")


def test_serve_without_uvloop_uses_the_asyncio_loop(tmp_path: Path) -> None:
    with without_modules(tmp_path, "uvloop") as variables, Hub(env=variables) as hub:
        assert tidings("publish", "data:update", TIDINGS_URL=hub.url).returncode == 0
        _, _, stderr = hub.stop()
    assert "loop=asyncio" in stderr


def test_an_unknown_missing_module_is_not_a_missing_extra() -> None:
    assert missing_extra(ModuleNotFoundError("no", name="tidings.nowhere")) is None
    assert missing_extra(ModuleNotFoundError("no")) is None
    found = missing_extra(ModuleNotFoundError("no", name="uvicorn.config"))
    assert found is not None
    assert found.extra == "hub"
