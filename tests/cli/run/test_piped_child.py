import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from tests.cli.run.runs import calls, command_line, environment, python, run

from tidings.cli.run.piped_child import ProcessTree

# A program's wait that no signal can slip in before.
READY = "print('ready')\nwhile True: time.sleep(0.02)"


@contextmanager
def running(report: Path, *command: str, stdin: int = subprocess.DEVNULL) -> "Iterator[subprocess.Popen[bytes]]":
    """Start a run in a session of its own; nothing of it is left at the end."""
    with subprocess.Popen(
        command_line(report, *command),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def test_output_passes_byte_for_byte_on_separate_streams(tmp_path: Path) -> None:
    source = "import os; os.write(1, bytes(range(256)) * 4000); os.write(2, b'\\r 42%\\xff'); os.write(1, b'no end')"
    result = run(tmp_path / "report", *python(source))
    assert result.returncode == 0
    assert result.stdout == bytes(range(256)) * 4000 + b"no end"
    assert result.stderr == b"\r 42%\xff"


def test_script_lines_arrive_as_they_are_written(tmp_path: Path) -> None:
    assert "PYTHONUNBUFFERED" not in environment()
    with running(tmp_path / "report", *python("print('first'); import time; time.sleep(60)")) as process:
        assert read_line(process) == b"first\n"
        assert process.poll() is None
        process.terminate()
        assert process.wait(60) == 128 + signal.SIGTERM


def test_users_pythonunbuffered_takes_precedence(tmp_path: Path) -> None:
    source = python("import os; print(repr(os.environ['PYTHONUNBUFFERED']))")
    assert run(tmp_path / "report", *source).stdout == b"'1'\n"
    assert run(tmp_path / "report", *source, env=environment(PYTHONUNBUFFERED="")).stdout == b"''\n"


def test_command_reads_our_stdin(tmp_path: Path) -> None:
    result = run(tmp_path / "report", "cat", stdin=None, input=b"typed\n")
    assert result.stdout == b"typed\n"


def test_run_is_reported_from_start_to_end(tmp_path: Path) -> None:
    report = tmp_path / "report"
    source = "for i in range(3): print(f'Epoch {i + 1}/3')"
    run(report, *python(source), "an argument")
    started, *progress, completed = calls(report)
    assert started["call"] == "started"
    assert started["host"]
    assert started["user"]
    assert started["pid"] > 0
    assert "'an argument'" in started["command"]
    assert started["name"].startswith("python")
    assert completed["call"] == "completed"
    assert completed["duration_ms"] > 0
    assert {call["call"] for call in progress} == {"progress"}
    assert progress[-1]["step"] == "Epoch 3/3"
    assert progress[-1]["total"] == 3
    assert progress[-1]["percent"] == pytest.approx(200 / 3)


def test_failure_carries_exit_code_and_last_lines_of_both_streams(tmp_path: Path) -> None:
    report = tmp_path / "report"
    with running(report, "sh", "-c", "seq 100; read _; echo broken >&2; exit 7", stdin=subprocess.PIPE) as process:
        while read_line(process) != b"100\n":  # the two streams have no common order unless one waits for the other
            assert process.poll() is None
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.wait(60) == 7
    failed = calls(report)[-1]
    assert failed["code"] == "exit_7"
    assert "7" in failed["message"]
    assert failed["details"].splitlines() == [*map(str, range(82, 101)), "broken"]
    assert failed["hint"]


def test_killed_command_exits_with_128_plus_the_signal(tmp_path: Path) -> None:
    report = tmp_path / "report"
    assert run(report, "sh", "-c", "kill -KILL $$").returncode == 128 + signal.SIGKILL
    assert calls(report)[-1]["code"] == "signal_SIGKILL"
    assert "memory" in calls(report)[-1]["hint"]


def test_closed_stdout_ends_the_command_by_sigpipe(tmp_path: Path) -> None:
    with running(tmp_path / "report", "yes") as process:
        assert read_line(process) == b"y\n"
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(60) == 128 + signal.SIGPIPE
    assert calls(tmp_path / "report")[-1]["code"] == "signal_SIGPIPE"


def test_full_disk_is_reported_and_ends_the_command(tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            command_line(tmp_path / "report", "yes"),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            start_new_session=True,
            check=False,
        )
    assert result.returncode == 128 + signal.SIGPIPE
    assert b"No space left" in result.stderr


def run_to_file(report: Path, output: Path, script: str) -> int:
    """Run a shell script whose stdout and stderr are a file, which no one waits for, and return its exit code."""
    with output.open("wb") as file:
        return subprocess.run(
            command_line(report, "sh", "-c", script),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=environment(),
            start_new_session=True,
            timeout=60,
            check=False,
        ).returncode


def test_remaining_daemon_does_not_delay_the_end(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {pid_file}; echo done"
    assert run_to_file(tmp_path / "report", tmp_path / "output", script) == 0
    # The daemon lives on: it is not ours to end.
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert (tmp_path / "output").read_bytes() == b"done\n"
    assert calls(tmp_path / "report")[-1]["call"] == "completed"


def test_writing_daemon_does_not_delay_the_end(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"(while :; do echo more; sleep 0.01; done) & echo $! > {pid_file}; exit 7"
    assert run_to_file(tmp_path / "report", tmp_path / "output", script) == 7
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert calls(tmp_path / "report")[-1]["code"] == "exit_7"


def test_output_of_a_process_that_outlives_the_command_is_kept(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    late = f"import sys; open({str(fifo)!r}).read(); print('late' * 50_000, flush=True); print('bad', file=sys.stderr)"
    with running(tmp_path / "report", "sh", "-c", f"{shlex.join(python(late))} & echo started; exit 3") as process:
        assert read_line(process) == b"started\n"
        assert process.wait(60) == 3
        assert calls(tmp_path / "report")[-1]["code"] == "exit_3"
        fifo.write_text("")
        assert process.stdout is not None
        assert process.stderr is not None
        # Their ends: nothing is left of the run once the last process has ended.
        assert process.stdout.read() == b"late" * 50_000 + b"\n"
        assert process.stderr.read() == b"bad\n"


def test_process_that_outlives_the_command_gets_sigpipe_as_without_us(tmp_path: Path) -> None:
    fifo, status = tmp_path / "fifo", tmp_path / "status"
    os.mkfifo(fifo)
    os.mkfifo(status)
    script = f"(cat {fifo}; yes; echo $? > {status}) & echo started"
    with running(tmp_path / "report", "sh", "-c", script) as process:
        assert process.wait(60) == 0
        assert process.stdout is not None
        process.stdout.close()
        fifo.write_text("")
    assert int(status.read_text()) == 128 + signal.SIGPIPE


def test_slow_reader_receives_all_output_after_the_end(tmp_path: Path) -> None:
    with running(tmp_path / "report", "sh", "-c", "head -c 100000 /dev/zero; echo ended >&2") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        # The command is over when stderr ends: what it wrote waits in two pipes, nearly full.
        assert process.stderr.readline() in (b"ended\n", b"")
        assert len(process.stdout.read()) == 100_000
        assert process.wait(60) == 0


@pytest.mark.parametrize(
    ("number", "reason"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")]
)
def test_signal_ends_the_whole_group_of_the_command(tmp_path: Path, number: signal.Signals, reason: str) -> None:
    report = tmp_path / "report"
    # A shell that waits for a child of its own: both have to get the signal.
    with running(report, "sh", "-c", "sleep 60 & echo $!; wait; exit 9") as process:
        grandchild = int(read_line(process))
        process.send_signal(number)
        code = process.wait(60)
        # A background job of a script ignores SIGINT by POSIX; any other signal ended it.
        if number is signal.SIGINT:
            with suppress(ProcessLookupError):  # unless the signal came before the shell had set that
                os.kill(grandchild, signal.SIGKILL)
        assert process.stdout is not None
        assert process.stdout.read() == b""
    assert code == 128 + number
    cancelled = calls(report)[-1]
    assert cancelled["call"] == "cancelled"
    assert reason in cancelled["reason"]


def test_successful_end_after_ctrl_c_is_complete(tmp_path: Path) -> None:
    source = f"import signal, sys, time\nsignal.signal(2, lambda *_: sys.exit(0))\n{READY}"
    with running(tmp_path / "report", *python(source)) as process:
        assert read_line(process) == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert calls(tmp_path / "report")[-1]["call"] == "completed"


def test_own_exit_code_for_ctrl_c_is_cancelled_and_kept(tmp_path: Path) -> None:
    source = f"import signal, sys, time\nsignal.signal(2, lambda *_: sys.exit(2))\n{READY}"
    with running(tmp_path / "report", *python(source)) as process:
        assert read_line(process) == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 2
    assert calls(tmp_path / "report")[-1]["call"] == "cancelled"


def test_every_ctrl_c_is_passed_on_unchanged(tmp_path: Path) -> None:
    source = (
        "import signal, sys, time\n"
        "seen = []\n"
        "def count(*_):\n"
        "    seen.append(1)\n"
        "    print(len(seen))\n"
        "    if len(seen) == 3: sys.exit(0)\n"
        "signal.signal(2, count)\n"
        f"{READY}"
    )
    with running(tmp_path / "report", *python(source)) as process:
        assert read_line(process) == b"ready\n"
        for number in (1, 2, 3):
            process.send_signal(signal.SIGINT)
            assert read_line(process) == b"%d\n" % number
        assert process.wait(60) == 0


def test_other_signals_reach_only_the_command(tmp_path: Path) -> None:
    source = f"import signal, sys, time\nsignal.signal(signal.SIGUSR1, lambda *_: sys.exit('got it'))\n{READY}"
    with running(tmp_path / "report", *python(source)) as process:
        assert read_line(process) == b"ready\n"
        process.send_signal(signal.SIGUSR1)
        assert process.wait(60) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b"got it\n"


def test_nohup_stays_in_effect(tmp_path: Path) -> None:
    source = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    ignoring = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *command_line(tmp_path / "report", *python(source))]
    result = subprocess.run(ignoring, stdout=subprocess.PIPE, timeout=60, start_new_session=True, check=True)
    assert result.stdout == b"True\n"


_PARENT = "import subprocess, sys; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
_PATIENT_PARENT = f"{_PARENT}; sys.stdin.read()"
"""A parent that does not end with its child."""


def test_process_tree_signals_its_members_only() -> None:
    with (
        subprocess.Popen(["sleep", "60"]) as bystander,
        subprocess.Popen(
            [sys.executable, "-c", _PATIENT_PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as parent,
    ):
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        tree = ProcessTree(parent.pid)
        assert not tree.send(0), "the tree is empty before its first refresh"
        tree.refresh()
        assert tree.send(0)
        assert tree.send(signal.SIGKILL)
        assert parent.wait() == -signal.SIGKILL
        while tree.send(0):  # init waits for the child
            continue
        with contextlib.suppress(psutil.NoSuchProcess):
            assert child.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
        assert bystander.poll() is None
        bystander.kill()
