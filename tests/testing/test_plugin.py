"""The plugin as pytest finds it in another project: by its entry point."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.processes import without_modules

TIMEOUT_S = 60.0


def run_pytest(folder: Path, test: str, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run one file of tests in a process of its own, with warnings as errors and as few plugins as possible."""
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    (folder / "test_it.py").write_text(test)
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-W",
            "error",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:randomly",
            *arguments,
        ],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def test_operation_without_an_address_uses_the_fixture_s_hub(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        """
import tidings
from tidings.testing import assert_events, event

def import_prices(rows):
    with tidings.operation("Import prices") as op:
        for row in op.track(rows):
            pass
        op.complete(result={"rows": len(rows)})

def test_it_says_how_many(tidings_hub):
    import_prices([1, 2, 3])
    assert_events(tidings_hub, ["operation:start", event("operation:complete", result={"rows": 3})])

def test_it_says_so_in_vain(tidings_hub, capsys):
    import_prices([1, 2, 3])
    assert capsys.readouterr() == ("", "")
    assert_events(tidings_hub, [event("operation:complete", result={"rows": 4})])

def test_nothing_is_left_of_other_tests(tidings_hub):
    assert tidings_hub.events() == []
""",
        TIDINGS_URL="ws://production.example/ws",
        TIDINGS_DISABLED="1",
    )
    assert "1 failed, 2 passed" in done.stdout, done.stdout
    assert "result.rows: expected 4, is 3" in done.stdout
    assert "assertion.py" not in done.stdout, "the failure is shown where the test is, not inside assert_events"


def test_clients_without_an_address_use_the_fixture_s_hub(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        """
import asyncio

import tidings
from tidings.client.sync import connect

def test_blocking(tidings_hub):
    with connect() as client:
        client.publish("data:update", {"dataset": "prices"})
    assert [event.key for event in tidings_hub.events()] == ["prices"]

def test_asynchronous(tidings_hub):
    async def main():
        async with tidings.connect() as client, client.watch("data") as watch:
            await watch.wait_until_live()
            tidings_hub.publish("data:update", {"dataset": "prices"})
            return (await anext(watch)).key
    assert asyncio.run(main()) == "prices"
""",
    )
    assert "2 passed" in done.stdout, done.stdout


def test_hub_config_is_a_fixture_to_override(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        """
import pytest
from tidings.hub.config import HubConfig

@pytest.fixture
def tidings_hub_config():
    return HubConfig(status_s=5)

def test_it_speaks_about_itself(tidings_hub):
    tidings_hub.advance(10)
    assert [event.type for event in tidings_hub.events("system")].count("system:status") == 3
""",
    )
    assert "1 passed" in done.stdout, done.stdout


def test_unused_fixture_imports_nothing(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path,
        """
import sys

def test_nothing_was_imported():
    ours = {name for name in sys.modules if name.startswith("tidings") and "exceptions." not in name}
    assert ours == {
        "tidings", "tidings.version", "tidings.exceptions", "tidings.testing", "tidings.testing.plugin",
    }
    assert not {"msgspec", "websockets", "structlog"} & set(sys.modules)
""",
    )
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize(("arguments", "found"), [((), True), (("-p", "no:tidings"), False)])
def test_plugin_can_be_disabled(tmp_path: Path, arguments: tuple[str, ...], found: bool) -> None:
    done = run_pytest(tmp_path, "def test_it(tidings_hub): pass", *arguments)
    assert ("1 passed" in done.stdout) is found, done.stdout
    assert ("fixture 'tidings_hub' not found" in done.stdout) is not found


def test_fixture_names_the_missing_extra(tmp_path: Path) -> None:
    (project := tmp_path / "project").mkdir()
    with without_modules(tmp_path, "structlog") as variables:
        done = run_pytest(project, "def test_it(tidings_hub): pass", **variables)
    assert "MissingExtra: a hub in memory needs structlog, which is not installed" in done.stdout
