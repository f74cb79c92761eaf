import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.processes import Hub, Process, publish_operation, tidings


def write_lines(hub: Hub, id: str, *lines: str) -> None:
    for line in lines:
        publish_operation(hub, "log", id, level="warning", message=line)


def test_logs_prints_the_lines_of_one_operation_in_order(shared_hub: Hub) -> None:
    publish_operation(shared_hub, "start", "logs/1", name="Import")
    write_lines(shared_hub, "logs/1", "one", "two")
    write_lines(shared_hub, "logs/11", "of another")
    done = tidings("logs", "logs/1", "--url", shared_hub.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split(" ", 1)[1] for line in done.stdout.splitlines()] == ["warning one", "warning two"]
    newest = tidings("logs", "logs/1", "-n", "1", "--url", shared_hub.url)
    assert [line.split()[-1] for line in newest.stdout.splitlines()] == ["two"]


def test_following_logs_ends_with_the_operation(shared_hub: Hub) -> None:
    publish_operation(shared_hub, "start", "logs/followed", name="Import")
    write_lines(shared_hub, "logs/followed", "before")
    with Process("logs", "-f", "logs/followed", "--url", shared_hub.url) as following:
        assert following.read_line().endswith("warning before\n")
        write_lines(shared_hub, "logs/followed", "after")
        assert following.read_line().endswith("warning after\n")
        publish_operation(shared_hub, "complete", "logs/followed")
        code, stdout, stderr = following.wait()
    assert (code, stdout) == (0, "")
    assert stderr.startswith("tidings: complete ")


@pytest.mark.parametrize(("verb", "code"), [("complete", 0), ("failed", 3), ("cancelled", 4)])
def test_exit_code_of_followed_logs_is_the_outcome(shared_hub: Hub, verb: str, code: int) -> None:
    id = f"logs/{verb}"
    error = {"code": "bad_row", "message": "row 7", "recoverable": False} if verb == "failed" else {}
    publish_operation(shared_hub, "start", id)
    publish_operation(shared_hub, verb, id, **error)
    assert tidings("logs", id, "-f", "--url", shared_hub.url).returncode == code
    assert tidings("logs", id, "--url", shared_hub.url).returncode == 0


def test_followed_logs_go_on_with_the_next_attempt(shared_hub: Hub) -> None:
    publish_operation(shared_hub, "complete", "logs/again")
    publish_operation(shared_hub, "start", "logs/again")
    with Process("logs", "-f", "logs/again", "--url", shared_hub.url) as following:
        write_lines(shared_hub, "logs/again", "second")
        assert following.read_line().endswith("warning second\n")
        publish_operation(shared_hub, "cancelled", "logs/again")
        assert following.wait()[0] == 4


def test_restarted_hub_costs_followed_logs_no_line(tmp_path: Path) -> None:
    options = ("--data", str(tmp_path), "--log-level", "error")
    with Hub(*options, memory=False) as hub:
        publish_operation(hub, "start", "kept")
        with Process("logs", "-f", "kept", "--url", hub.url) as following:
            write_lines(hub, "kept", "one", "two")
            found = [following.read_line() for _ in range(2)]
            hub.process.kill()
            hub.process.wait()
            with Hub(*options, "--port", str(hub.port), memory=False) as again:
                write_lines(again, "kept", "three", "four")
                publish_operation(again, "complete", "kept")
                code, rest, _ = following.wait()
    assert code == 0
    assert [line.split()[-1] for line in [*found, *rest.splitlines()]] == ["one", "two", "three", "four"]


FOLLOW = """
import asyncio, sys
from tidings.cli.logs import print_lines
print(asyncio.run(print_lines(sys.argv[1], "lost", None, follow=True, lost_after_s=float(sys.argv[2]))).__name__)
"""


@pytest.mark.parametrize("restored", [False, True])
def test_followed_logs_end_when_a_restarted_hub_has_lost_the_operation(restored: bool) -> None:
    with Hub("--log-level", "error") as first:
        publish_operation(first, "start", "lost")
        write_lines(first, "lost", "one")
        with subprocess.Popen(
            [sys.executable, "-c", FOLLOW, first.url, "60" if restored else "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as following:
            assert following.stdout is not None
            assert following.stdout.readline().endswith("warning one\n")
            first.signal(signal.SIGKILL)
            first.wait()
            with Hub("--log-level", "error", "--port", str(first.port)) as again:
                if restored:
                    publish_operation(again, "complete", "lost")  # the producer was alive
                stdout, stderr = following.communicate(timeout=60)
    if restored:
        assert (following.returncode, stdout) == (0, "OperationCompleteData\n")
    else:
        assert following.returncode == 1
        assert "the hub no longer has operation 'lost': it may have restarted without its log" in stderr


@pytest.mark.parametrize("options", [(), ("--follow",)])
def test_logs_of_an_ended_operation_ends(shared_hub: Hub, options: tuple[str, ...]) -> None:
    id = f"logs/ended{len(options)}"
    publish_operation(shared_hub, "start", id, name="Import")
    publish_operation(shared_hub, "complete", id)
    assert tidings("logs", id, *options, "--url", shared_hub.url).stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("logs", "no-such"), 5, "no such operation: 'no-such'"),
        (("logs", "x", "--url", "ws://127.0.0.1:1/ws"), 69, "no hub answers"),
    ],
)
def test_logs_of_nothing_is_an_error(shared_hub: Hub, arguments: tuple[str, ...], code: int, error: str) -> None:
    done = tidings(*arguments, TIDINGS_URL=shared_hub.url)
    assert done.returncode == code
    assert error in done.stderr
