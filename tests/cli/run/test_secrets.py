"""No secret of a command line, of its output or of its failure reaches the hub: no frame, no answer and no file."""

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.cli.processes import TIMEOUT_S, Hub, environment, tidings
from websockets.sync import client

SECRET = "Zq7hunter2x9"
PROGRAM = """#!/bin/sh
echo "connecting: $0 $*"
echo "password=Zq7hunter2x9 10%"
echo "loading postgresql://ann:Zq7hunter2x9@db/shop: 50%" >&2
printf 'Authorization: Bearer Zq7hunter2x9\\n{"token": "Zq7hunter2x9"}\\n'
printf '-----BEGIN PRIVATE KEY-----\\nZq7hunter2x9\\n'
exit 3
"""
SHAPES = {
    "mysql": ["-p{}"],
    "sshpass": ["-p {} true"],
    "curl": ["-H 'Authorization: Bearer {}'", "--user ann:{} https://ann:{}@host/"],
    "import-prices": ["--password {} --token={}", "AWS_SECRET_ACCESS_KEY={} postgresql://ann:{}@db/x"],
}
COMMANDS = [f"{program} {shape.format(SECRET, SECRET)}" for program, shapes in SHAPES.items() for shape in shapes]
RUN_ALL = """
import shlex, sys
from tidings.cli.run import run_command
from tidings.cli.run.hub_reporter import OperationReporter
url, *commands = sys.argv[1:]
for command in commands:
    reporter = OperationReporter(url)
    run_command(shlex.split(command), reporter)
    reporter.close()
"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run all commands with one hub, and return everything that is published by then, by source."""
    data, programs = tmp_path_factory.mktemp("hub"), tmp_path_factory.mktemp("programs")
    for program in SHAPES:
        (programs / program).write_text(PROGRAM)
        (programs / program).chmod(0o755)
    with Hub("--data", str(data), "--log-level", "info", memory=False) as hub:
        commands = [*(f"{programs}/{command}" for command in COMMANDS), f"nosuch --password {SECRET}"]
        subprocess.run(
            [sys.executable, "-c", RUN_ALL, hub.url, *commands], env=environment(), capture_output=True, check=True
        )
        with client.connect(f"{hub.url}?since=first") as connection:
            frames: list[str] = []
            while sum('"operation:failed"' in frame for frame in frames) <= len(COMMANDS):
                frames.append(str(connection.recv(timeout=TIMEOUT_S)))
        with client.connect(f"{hub.url}?token={SECRET}") as connection:
            connection.recv(timeout=TIMEOUT_S)
        answers = [read(hub, path) for path in ("v1/operations", "v1/events", "metrics")]
        _, _, log = hub.stop()
    files = "".join(file.read_bytes().decode("latin-1") for file in data.rglob("*") if file.is_file())
    return {"frames": "".join(frames), "answers": "".join(answers), "metrics": answers[2], "log": log, "files": files}


def read(hub: Hub, path: str) -> str:
    """Return the hub's answer over HTTP."""
    answer = httpx.get(f"{hub.http}{path}", timeout=TIMEOUT_S)
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize("source", ["frames", "answers", "metrics", "log", "files"])
def test_no_secret_reaches_a_published_byte(recorded: dict[str, str], source: str) -> None:
    assert "import-prices" in recorded[source] or source == "log"
    assert SECRET not in recorded[source]
    assert "query=…" in recorded["log"], "the connection with the secret is there, without its parameter"


def test_metrics_name_only_the_program(recorded: dict[str, str]) -> None:
    for program in SHAPES:
        assert f'name="{program}"' in recorded["metrics"]
    assert "REDACTED" not in recorded["metrics"]


def test_redacted_report_still_shows_what_ran(recorded: dict[str, str]) -> None:
    assert '"name":"mysql -pREDACTED"' in recorded["frames"]
    assert "loading postgresql://ann:REDACTED@db/shop" in recorded["frames"]


def _run_and_read(*options: str) -> str:
    """Run a failing program with a hub, and return what the hub stores."""
    # The command line itself does not contain the output.
    script = "import sys; print('order', 4700 + 11, 'of ann, 50%'); sys.exit(3)"
    with Hub() as hub:
        done = tidings("run", *options, "--", sys.executable, "-c", script, "customer-17", TIDINGS_URL=hub.url)
        assert done.stdout == "order 4711 of ann, 50%\n"
        assert done.returncode == 3
        return read(hub, "v1/events")


def test_run_without_command_publishes_the_program_only() -> None:
    stored = _run_and_read("--no-command")
    assert f'"name":"{Path(sys.executable).name}"' in stored
    assert "customer-17" not in stored
    assert "import sys" not in stored
    assert "order 4711" in stored


def test_run_without_output_publishes_no_text_of_it() -> None:
    stored = _run_and_read("--no-output", "--name", "orders")
    assert '"operation:failed"' in stored
    assert "4711" not in stored
    assert '"details"' not in stored


def test_run_redacts_each_match_of_given_patterns() -> None:
    stored = _run_and_read("--redact", r"customer-\d+", "--redact", "of [a-z]+")
    assert "customer-17" not in stored
    assert "of ann" not in stored
    assert "order 4711 REDACTED" in stored


@pytest.mark.parametrize("pattern", ["(", "(a+)+$", "x*"])
def test_invalid_pattern_is_an_error_before_the_command_runs(pattern: str, tmp_path: Path) -> None:
    done = tidings("run", "--redact", pattern, "--", "touch", str(tmp_path / "ran"))
    assert done.returncode == 2
    assert f"--redact: invalid regular expression {pattern!r}" in done.stderr
    assert "hint: Write it in the syntax of Python's re" in done.stderr
    assert not (tmp_path / "ran").exists()
