import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.cli.processes import TIDINGS, TIMEOUT_S, Hub, Process, Terminal, environment, tidings

from tidings.protocol.message_types import MessageType

SCRIPT = """
import sys, time
for n in range(1, 5):
    print(f"loading {{n * 25}}%")
    time.sleep(0.15)
print("written to stderr", file=sys.stderr)
sys.exit({code})
"""


def events(hub: Hub, name: str, *, last: str) -> list[dict[str, object]]:
    """Return what is told of the operation called `name`, up to its first event of a type."""
    found: list[dict[str, object]] = []
    with Process("watch", "operations", "--since", "first", "--json", "--url", hub.url) as watch:
        id = None
        while not found or found[-1]["type"] != last:
            envelope = json.loads(watch.read_line())
            data = envelope["data"]
            if envelope["type"] == "operation:start" and data.get("name") == name:
                id = data["operation_id"]
            if id is not None and data.get("operation_id") == id:
                found.append(envelope)
    return found


def run(hub: Hub, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return tidings("run", *arguments, TIDINGS_URL=hub.url)


def test_run_reports_the_command_and_keeps_output_and_exit_code(shared_hub: Hub) -> None:
    done = run(shared_hub, "--name", "plain", "--", sys.executable, "-c", SCRIPT.format(code=0))
    assert done.returncode == 0
    assert done.stdout == "loading 25%\nloading 50%\nloading 75%\nloading 100%\n"
    assert done.stderr == "written to stderr\n"
    start, *progress, end = events(shared_hub, "plain", last="operation:complete")
    told = start["data"]
    assert isinstance(told, dict)
    assert told["host"] == socket.gethostname()
    assert told["user"]
    assert told["pid"] > 0
    assert told["command"].startswith(sys.executable)
    # A slow run also gets the hub's estimates.
    progress = [each for each in progress if each["type"] == MessageType.OPERATION_PROGRESS]
    shares = [each["data"]["progress"] for each in progress]  # type: ignore[index]
    assert shares == sorted(shares)
    assert shares[-1] >= 75
    assert end["data"]["duration_ms"] > 500  # type: ignore[index]
    assert len({each["trace_id"] for each in (start, *progress, end)}) == 1


def test_failed_command_is_reported_with_its_last_lines(shared_hub: Hub) -> None:
    done = run(shared_hub, "--name", "failing", sys.executable, "-c", SCRIPT.format(code=3))
    assert done.returncode == 3
    failed = events(shared_hub, "failing", last="operation:failed")[-1]["data"]
    assert isinstance(failed, dict)
    assert failed["code"] == "exit_3"
    assert "exit code 3" in failed["message"]
    assert "loading 100%" in failed["details"]
    assert failed["hint"]


def test_killed_command_is_reported_with_the_signal(shared_hub: Hub) -> None:
    done = run(shared_hub, "--name", "killed", "sh", "-c", "kill -KILL $$")
    assert done.returncode == 128 + signal.SIGKILL
    assert events(shared_hub, "killed", last="operation:failed")[-1]["data"]["code"] == "signal_SIGKILL"  # type: ignore[index]


def test_crash_without_output_has_no_hint_about_output(shared_hub: Hub) -> None:
    assert run(shared_hub, "--name", "crashed", "sh", "-c", "kill -SEGV $$").returncode == 128 + signal.SIGSEGV
    failed = events(shared_hub, "crashed", last="operation:failed")[-1]["data"]
    assert isinstance(failed, dict)
    assert failed["code"] == "signal_SIGSEGV"
    assert "hint" not in failed


def test_missing_command_is_reported_and_exits_with_127(shared_hub: Hub) -> None:
    done = run(shared_hub, "--name", "absent", "--", "no-such-command-at-all")
    assert done.returncode == 127
    assert done.stderr.count("no-such-command-at-all") == 1
    assert events(shared_hub, "absent", last="operation:failed")[-1]["data"]["code"] == "command_not_found"  # type: ignore[index]


def test_options_after_the_command_belong_to_it(shared_hub: Hub) -> None:
    done = run(shared_hub, "sh", "-c", "echo $0 $1", "--name", "-x")
    assert (done.returncode, done.stdout) == (0, "--name -x\n")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((), "missing command"), (("--nope", "true"), "--nope"), (("--ca", "/nope.pem", "true"), "/nope.pem")],
)
def test_wrong_command_line_is_a_usage_error(arguments: tuple[str, ...], error: str) -> None:
    done = tidings("run", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr


@pytest.mark.parametrize(
    ("variable", "remark"),
    [
        ({"TIDINGS_URL": "ftp://me:secret@x"}, "invalid hub URL 'ftp://me:...@x'"),
        ({"TIDINGS_URL": "hub.example:99999"}, "invalid hub URL 'hub.example:99999'"),
        ({"TIDINGS_URL": "wss://127.0.0.1:1/ws", "TIDINGS_CA": "/nope.pem"}, "invalid certificate file '/nope.pem'"),
    ],
)
def test_invalid_environment_does_not_stop_the_command(variable: dict[str, str], remark: str) -> None:
    done = tidings("run", "--", "sh", "-c", "echo out; exit 4", **variable)
    assert (done.returncode, done.stdout) == (4, "out\n")
    assert done.stderr.count("\n") == 1
    assert remark in done.stderr
    quiet = tidings("run", "--", "sh", "-c", "echo out; exit 4", TIDINGS_QUIET="1", **variable)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (4, "out\n", "")


def test_disabled_reporting_runs_the_command_alone(shared_hub: Hub) -> None:
    command = ("--name", "unreported", "--", "sh", "-c", "exit 4")
    done = tidings("run", *command, TIDINGS_URL=shared_hub.url, TIDINGS_DISABLED="1")
    assert (done.returncode, done.stderr) == (4, "")
    assert "unreported" not in tidings("ls", "--all", TIDINGS_URL=shared_hub.url).stdout


def test_unreachable_hub_is_mentioned_once() -> None:
    done = tidings("run", "--", "sh", "-c", "echo out; sleep 0.5; exit 4", TIDINGS_URL="ws://127.0.0.1:1/ws")
    assert (done.returncode, done.stdout) == (4, "out\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("tidings: this run is kept, and shown when a hub answers: no hub answers at 127.0.0.1:1")


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b"HTTP/1.1 401 Unauthorized\r\n\r\n", b"220 mail\r\n"]
)
def test_run_behind_a_server_that_is_no_hub_is_mentioned_as_kept(answer: bytes) -> None:
    def serve() -> None:
        with contextlib.suppress(OSError):  # the end of the test
            while True:
                connection, _ = listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(4_096)
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}/ws"
        done = tidings("run", "--", "sh", "-c", "echo out; sleep 0.5; exit 4", TIDINGS_URL=url)
        listener.shutdown(socket.SHUT_RDWR)
    assert (done.returncode, done.stdout) == (4, "out\n")
    assert done.stderr.startswith("tidings: this run is kept, and shown when a hub answers: ")


def run_without_files(url: str) -> "subprocess.CompletedProcess[str]":
    """Run a command where no byte can be written to a file, as on a full disk."""
    limited = ["sh", "-c", 'ulimit -f 0; exec "$@"', "sh", *TIDINGS, "run", "--", "sh", "-c", "echo out; exit 4"]
    return subprocess.run(
        limited, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment(TIDINGS_URL=url), check=False
    )


def test_run_that_cannot_be_kept_is_mentioned_only_without_a_hub(shared_hub: Hub) -> None:
    done = run_without_files(shared_hub.url)
    assert (done.returncode, done.stdout, done.stderr) == (4, "out\n", "")
    done = run_without_files("ws://127.0.0.1:1/ws")
    assert (done.returncode, done.stdout) == (4, "out\n")
    assert done.stderr.startswith("tidings: this run is not kept, because no file can be written, and shown only if")


def test_silent_hub_delays_the_end_by_a_bounded_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = tidings("run", "--", "true", TIDINGS_URL=f"ws://127.0.0.1:{silent.getsockname()[1]}/ws")
    assert done.returncode == 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_hub_started_during_the_run_receives_every_event() -> None:
    with Hub() as first:
        port = first.port
    with Process(
        "run",
        "--name",
        "patient",
        "--",
        "sh",
        "-c",
        "echo on; read x; exit 5",
        env={"TIDINGS_URL": f"ws://127.0.0.1:{port}/ws"},
    ) as process:
        process.read_until("on")
        with Hub("--port", str(port)) as hub:
            told = []
            with Process("watch", "operations", "--json", "--url", hub.url) as watch:
                watch.read_until("operation:start")
                assert process.process.stdin is not None
                process.process.stdin.write(b"\n")
                process.process.stdin.flush()
                told = watch.read_until("operation:failed")
            assert process.wait()[0] == 5
    assert "patient" not in told[-1]
    assert '"code":"exit_5"' in told[-1]


def test_ctrl_c_reaches_the_command_and_reports_cancelled(shared_hub: Hub) -> None:
    arguments = ("run", "--name", "interrupted", "--", sys.executable, "-c", "print('on'); import time; time.sleep(60)")
    with Terminal(*arguments, env={"TIDINGS_URL": shared_hub.url}) as terminal:
        terminal.wait_for("on")
        terminal.press(b"\x03")
        code = terminal.wait()
    assert code == 128 + signal.SIGINT
    assert "KeyboardInterrupt" in terminal.shown, "the command's own words"
    assert "tidings" not in terminal.shown.replace(os.sep + "tidings", "")
    events(shared_hub, "interrupted", last="operation:cancelled")


def test_mention_on_a_terminal_starts_a_new_line(tmp_path: Path) -> None:
    mentioned = tmp_path / "mentioned"
    script = f"until [ -e {mentioned} ]; do sleep 0.02; done; echo done"
    with Terminal("run", "--", "sh", "-c", script, env={"TIDINGS_URL": "ws://127.0.0.1:1/ws"}) as terminal:
        terminal.wait_for("this run is kept")
        mentioned.touch()
        assert terminal.wait() == 0
    first, second = terminal.shown.replace("\r\n", "\n").splitlines()
    assert first.startswith("tidings: this run is kept")
    assert second == "done"


def test_undecodable_names_are_reported_with_replacements(shared_hub: Hub) -> None:
    done = subprocess.run(
        [*TIDINGS, "run", "--name", "bytes", "--", "sh", "-c", b"echo $0", b"\xff\xfe"],
        capture_output=True,
        timeout=TIMEOUT_S,
        env=environment(TIDINGS_URL=shared_hub.url),
        check=True,
    )
    assert done.stdout == b"\xff\xfe\n"
    assert done.stderr == b""
    events(shared_hub, "bytes", last="operation:complete")


def test_run_inside_a_run_is_a_part_of_it_unless_told_otherwise(shared_hub: Hub) -> None:
    inner = " ".join([*TIDINGS, "run", "--name"])
    script = f"{inner} nested-1 -- true; {inner} nested-2 --parent elsewhere -- true; "
    script += " ".join([*TIDINGS, "report", "start", "nested-3"])
    done = tidings("run", "--name", "around", "--", "sh", "-c", script, TIDINGS_URL=shared_hub.url)
    assert done.returncode == 0, done.stderr
    starts = [
        events(shared_hub, name, last="operation:start")[0]["data"]
        for name in ("around", "nested-1", "nested-2", "nested-3")
    ]
    around, *parts = starts
    assert isinstance(around, dict)
    assert "parent_id" not in around
    parents = [part["parent_id"] for part in parts if isinstance(part, dict)]
    assert parents == [around["operation_id"], "elsewhere", around["operation_id"]]


def test_invalid_id_is_mentioned_and_the_command_runs(shared_hub: Hub) -> None:
    done = tidings("run", "--id", "x" * 300, "--", "echo", "done", TIDINGS_URL=shared_hub.url)
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "this run is not shown: --id: the key is 300 bytes long; 1–255 are allowed." in done.stderr


def test_invalid_parent_is_mentioned_and_the_command_runs(shared_hub: Hub) -> None:
    done = tidings(
        "run", "--name", "orphan", "--", "echo", "done", TIDINGS_URL=shared_hub.url, TIDINGS_PARENT="x" * 300
    )
    assert (done.returncode, done.stdout) == (0, "done\n")
    assert "this run is shown without its parent" in done.stderr
    assert "parent_id" not in str(events(shared_hub, "orphan", last="operation:start")[0])


def test_ctrl_c_on_a_nested_run_cancels_both(shared_hub: Hub) -> None:
    # The line is inside `try`: Ctrl-C may follow it before the next statement begins.
    source = "import sys, time\ntry: print('on'); time.sleep(60)\nexcept BaseException: sys.exit(2)"
    command = (sys.executable, "-c", source)
    arguments = ("run", "--name", "outer", "--", *TIDINGS, "run", "--name", "inner", "--", *command)
    with Terminal(*arguments, env={"TIDINGS_URL": shared_hub.url}) as terminal:
        terminal.wait_for("on")
        terminal.press(b"\x03")
        assert terminal.wait() == 2
    for name in ("outer", "inner"):
        cancelled = events(shared_hub, name, last="operation:cancelled")[-1]["data"]
        assert isinstance(cancelled, dict)
        assert cancelled["reason"] == "interrupted by Ctrl-C or SIGINT"


def test_progress_of_a_nested_run_is_not_that_of_the_outer_one(shared_hub: Hub) -> None:
    count = "for i in 1 2 3 4 5; do echo $i/5; sleep 0.15; done"
    script = shlex.join([*TIDINGS, "run", "--name", "counting", "--", "sh", "-c", count])
    script += "; echo first; echo after all"
    assert run(shared_hub, "--name", "enclosing", "--", "sh", "-c", script).returncode == 0
    shares = {}
    for name in ("counting", "enclosing"):
        told = [each["data"] for each in events(shared_hub, name, last="operation:complete")[1:-1]]
        shares[name] = max(data.get("progress", 0) for data in told if isinstance(data, dict))
    assert shares["counting"] > 50
    assert shares["enclosing"] == 0
