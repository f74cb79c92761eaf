"""Every command with standard streams that are closed, full, narrow, or not read."""

import asyncio
import os
import subprocess
from contextlib import aclosing
from typing import IO

import pytest
from tests.cli.fork_server import open_process
from tests.cli.processes import TIDINGS, TIMEOUT_S, Hub, environment, publish_operation, tidings

from tidings.cli.app import COMMANDS
from tidings.cli.doctor.command import run_checks

NAME = "Import 🚀 prices"


@pytest.fixture(scope="module")
def hub(shared_hub: Hub) -> Hub:
    for verb in ("start", "log", "complete"):
        publish_operation(shared_hub, verb, "streams/1", **({"name": NAME} if verb == "start" else {"message": NAME}))
    return shared_hub


PRINTING = {name: f"{name} --help" for name in COMMANDS} | {
    "ls": "ls --name Import*",
    "show": "show streams/1",
    "logs": "logs streams/1",
    "wait": "wait streams/1",
    "publish": "publish --list",
    "contract": "contract export json",
    "serve": "serve --show-config",
}
"""A command line that prints something, for each command."""


def run(hub: Hub, arguments: str, redirection: str, **variables: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        ["sh", "-c", f"{' '.join(TIDINGS)} {arguments} {redirection}"],
        capture_output=True,
        timeout=TIMEOUT_S,
        env=environment(TIDINGS_URL=hub.url, **variables),
        check=False,
    )


def write_to(file: IO[bytes], hub: Hub, command: str) -> tuple[int, bytes]:
    """Run a command that writes to a file; return its exit code and its errors."""
    arguments, env = PRINTING[command].split(), environment(TIDINGS_URL=hub.url)
    with open_process([*TIDINGS, *arguments], stdout=file, stderr=subprocess.PIPE, env=env) as process:
        _, errors = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, errors


@pytest.mark.parametrize("command", PRINTING)
def test_a_full_disk_is_an_error_without_a_traceback(hub: Hub, command: str) -> None:
    with open("/dev/full", "wb") as full:
        code, errors = write_to(full, hub, command)
    assert code == 1
    assert errors.splitlines()[0].startswith(b"error: cannot write")
    assert b"Traceback" not in errors


@pytest.mark.parametrize("command", PRINTING)
def test_closed_streams_are_no_error(hub: Hub, command: str) -> None:
    done = run(hub, PRINTING[command], "<&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("command", PRINTING)
def test_a_reader_that_has_exited_ends_a_command_quietly(hub: Hub, command: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as unread:
        code, errors = write_to(unread, hub, command)
    assert errors == b""
    assert code in (0, 1, 141)


def test_doctor_left_within_the_websocket_check_closes_it(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    async def leave() -> None:
        async with aclosing(run_checks(hub.url)) as checks:
            async for finding in checks:
                if finding.check == "websocket":
                    raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        asyncio.run(leave())
    assert [record for record in caplog.records if record.name == "asyncio" and record.levelname == "ERROR"] == []


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
@pytest.mark.parametrize("command", ["ls", "show", "logs", "wait"])
def test_characters_that_the_encoding_lacks_are_replaced(hub: Hub, command: str, encoding: str) -> None:
    done = run(hub, PRINTING[command], "", PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Import" in done.stdout


def test_a_command_under_run_has_streams_if_those_of_tidings_are_closed(hub: Hub) -> None:
    done = run(hub, "run -- sh -c 'echo to nowhere; cat; exit 3'", "<&- >&-")
    assert (done.returncode, done.stdout) == (3, b"")


def test_a_name_outside_of_ascii_is_printed_in_the_c_locale(hub: Hub) -> None:
    done = tidings("ls", "--name", "Import*", "--url", hub.url, LC_ALL="C", LANG="C")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Import" in done.stdout
