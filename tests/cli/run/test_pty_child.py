import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from tests.cli.run.runs import calls, command_line, python
from tests.cli.run.terminals import run_on_terminal, terminal

LFLAG = 3

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="job control is tested with bash")


def stat_of(pid: int) -> str:
    """Return the kernel's letter for a process's state: T is stopped; empty if it is gone."""
    if Path("/proc/self/stat").exists():
        try:
            # The name, in parentheses, may hold spaces.
            return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
        except FileNotFoundError:
            return ""
    result = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], stdout=subprocess.PIPE, check=False, text=True)
    return result.stdout.strip()[:1]


def test_command_gets_a_terminal_of_our_size(tmp_path: Path) -> None:
    source = (
        "import os, sys\n"
        "print([os.isatty(file) for file in (0, 1, 2)], os.get_terminal_size(), os.environ.get('PYTHONUNBUFFERED'))\n"
        "os.write(1, bytes(range(128, 256)))\n"
        "sys.exit(4)"
    )
    with run_on_terminal(tmp_path / "report", *python(source)) as screen:
        assert screen.wait_for_end() == 4
    first, rest = screen.shown.split(b"\r\n", 1)
    assert first == b"[True, True, True] os.terminal_size(columns=99, lines=33) None"
    assert rest == bytes(range(128, 256))
    failed = calls(tmp_path / "report")[-1]
    assert failed["details"].startswith("[True, True, True]")


def test_progress_on_a_terminal_is_read(tmp_path: Path) -> None:
    program = Path(__file__).parent / "corpus" / "scripts" / "tqdm_nested.py"
    with run_on_terminal(tmp_path / "report", sys.executable, str(program)) as screen:
        assert screen.wait_for_end() == 0
    progress = [call for call in calls(tmp_path / "report") if call["call"] == "progress" and call["step"]]
    assert {call["step"] for call in progress} == {"Epochs"}
    percentages = [call["percent"] for call in progress]
    assert percentages == sorted(percentages)
    assert percentages[-1] == 99.0
    assert calls(tmp_path / "report")[-1]["call"] == "completed"


def test_resize_reaches_the_command(tmp_path: Path) -> None:
    source = (
        "import os, signal, time\n"
        "sizes = []\n"
        "signal.signal(signal.SIGWINCH, lambda *_: sizes.append(os.get_terminal_size()))\n"
        "print('ready')\n"
        "while not sizes: time.sleep(0.02)\n"
        "print('size', *sizes[0])"
    )
    with run_on_terminal(tmp_path / "report", *python(source)) as screen:
        screen.wait_for(b"ready")
        screen.resize(44, 55)
        # The kernel tells the foreground group of the terminal, which is the run's.
        screen.wait_for(b"size 55 44")
        assert screen.wait_for_end() == 0


def test_typed_text_reaches_the_command_and_is_echoed_once(tmp_path: Path) -> None:
    with run_on_terminal(tmp_path / "report", *python("print('got', input('name? '))")) as screen:
        screen.wait_for(b"name? ")
        screen.type(b"ada\r")
        assert screen.wait_for_end() == 0
    assert screen.shown == b"name? ada\r\ngot ada\r\n"


def test_end_of_input_reaches_the_command(tmp_path: Path) -> None:
    with run_on_terminal(tmp_path / "report", "sh", "-c", "echo ready; cat; echo end") as screen:
        screen.wait_for(b"ready")
        screen.type(b"\x04")
        screen.wait_for(b"end")
        assert screen.wait_for_end() == 0


def test_single_keys_reach_a_raw_mode_command(tmp_path: Path) -> None:
    source = "import tty, os; tty.setraw(0); print('ready', end=''); print(os.read(0, 9), flush=True)"
    with run_on_terminal(tmp_path / "report", *python(source.replace("end=''", "end='', flush=True"))) as screen:
        screen.wait_for(b"ready")
        screen.type(b"\x03")
        screen.wait_for(rb"b'\x03'")
        assert screen.wait_for_end() == 0
    assert calls(tmp_path / "report")[-1]["call"] == "completed"


def test_ctrl_c_interrupts_the_command_and_cancels_the_operation(tmp_path: Path) -> None:
    # `exec`: a shell's child that has not yet become `sleep` would swallow the signal.
    with run_on_terminal(tmp_path / "report", "sh", "-c", "echo ready; exec sleep 60") as screen:
        screen.wait_for(b"ready")
        screen.type(b"\x03")
        assert screen.wait_for_end() == 128 + signal.SIGINT
    assert calls(tmp_path / "report")[-1] == {
        "call": "cancelled",
        "reason": "interrupted by Ctrl-C or SIGINT",
        "cancelled_by": "",
    }


def test_ctrl_backslash_quits_the_command_and_is_named(tmp_path: Path) -> None:
    with run_on_terminal(tmp_path / "report", "sh", "-c", "ulimit -c 0; echo ready; exec sleep 60") as screen:
        screen.wait_for(b"ready")
        screen.type(b"\x1c")
        assert screen.wait_for_end() == 128 + signal.SIGQUIT
    cancelled = calls(tmp_path / "report")[-1]
    assert (cancelled["call"], cancelled["reason"]) == ("cancelled", "interrupted by Ctrl-\\ or SIGQUIT")


def test_ctrl_c_does_not_end_a_command_that_handles_it(tmp_path: Path) -> None:
    source = (
        "import time\n"
        "try:\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
        "except KeyboardInterrupt: print('once more?', input())"
    )
    with run_on_terminal(tmp_path / "report", *python(source)) as screen:
        screen.wait_for(b"ready")
        screen.type(b"\x03")
        screen.wait_for(b"^C")
        screen.type(b"no\r")
        screen.wait_for(b"once more? no")
        assert screen.wait_for_end() == 0
    assert calls(tmp_path / "report")[-1]["call"] == "completed"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_to_us_reach_the_command(tmp_path: Path, number: signal.Signals) -> None:
    with run_on_terminal(tmp_path / "report", "sh", "-c", "echo ready; sleep 60") as screen:
        screen.wait_for(b"ready")
        screen.process.send_signal(number)
        assert screen.wait_for_end() == 128 + number
    assert calls(tmp_path / "report")[-1]["call"] == "cancelled"


def test_closed_terminal_ends_the_command(tmp_path: Path) -> None:
    report = tmp_path / "report"
    # A terminal that a process of its own holds, so that killing it hangs the run up.
    holder = (
        "import os, pty, sys\n"
        "pid, master = pty.fork()\n"
        "if pid == 0: os.execv(sys.argv[1], sys.argv[1:])\n"
        "while b'ready' not in os.read(master, 1000): pass\n"
        "print(pid, flush=True)\n"
        "os.read(0, 1)"
    )
    run = command_line(report, "sh", "-c", "echo ready; sleep 60")
    with subprocess.Popen([*python(holder), *run], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.kill()
    with terminal(["true"]) as any_screen:
        any_screen.wait_until(lambda: bool(calls(report)) and calls(report)[-1]["call"] == "cancelled")
        any_screen.wait_until(lambda: stat_of(pid) in ("", "Z"))
    assert "closed" in calls(report)[-1]["reason"]


def test_our_terminal_is_raw_during_the_run_and_always_restored(tmp_path: Path) -> None:
    for script, keys in (
        ("echo ready; read x", b"\r"),
        ("echo ready; stty raw -echo; read x", b"\n"),
        ("echo ready; kill -9 $$", b""),
    ):
        with run_on_terminal(tmp_path / "report", "sh", "-c", script) as screen:
            before = screen.modes()
            screen.wait_for(b"ready")
            if keys:
                screen.wait_until(lambda: not screen.modes()[LFLAG] & termios.ICANON)
            screen.type(keys)
            screen.wait_for_end()
            assert screen.modes() == before


def test_terminal_is_restored_after_a_signal(tmp_path: Path) -> None:
    with run_on_terminal(tmp_path / "report", "sh", "-c", "echo ready; sleep 60") as screen:
        before = screen.modes()
        screen.wait_for(b"ready")
        screen.process.terminate()
        screen.wait_for_end()
        assert screen.modes() == before


def test_missing_command_leaves_the_terminal_unchanged(tmp_path: Path) -> None:
    with run_on_terminal(tmp_path / "report", "no-such-command-anywhere") as screen:
        before = screen.modes()
        assert screen.wait_for_end() == 127
        assert screen.modes() == before
    assert b"command not found" in screen.shown


def test_redirected_stdin_goes_to_the_command(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.write(write, b"piped\n")
    os.close(write)
    with run_on_terminal(tmp_path / "report", "sh", "-c", "cat; test -t 1 && echo terminal", stdin=read) as screen:
        os.close(read)
        assert screen.wait_for_end() == 0
    assert screen.shown == b"piped\r\nterminal\r\n"


def test_redirected_stderr_passes_unchanged_and_is_read(tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = ("sh", "-c", "echo out; echo err >&2; exit 1")
    with log.open("wb") as file, run_on_terminal(tmp_path / "report", *command, stderr=file) as screen:
        assert screen.wait_for_end() == 1
    assert screen.shown == b"out\r\n"
    assert log.read_bytes() == b"err\n"
    assert set(calls(tmp_path / "report")[-1]["details"].splitlines()) == {"out", "err"}


def test_redirected_stdout_uses_pipes_in_the_foreground(tmp_path: Path) -> None:
    out = tmp_path / "out"
    source = (
        "import sys\nprint(sys.stdout.isatty(), sys.stdin.isatty())\nprint('ready', file=sys.stderr)\nprint(input())"
    )
    with out.open("wb") as file, run_on_terminal(tmp_path / "report", *python(source), stdout=file) as screen:
        screen.wait_for(b"ready")
        # Read from the terminal: a command in the background would be stopped by the kernel instead.
        screen.type(b"typed\r")
        assert screen.wait_for_end() == 0
    assert out.read_bytes() == b"False True\ntyped\n"


def test_ctrl_c_reaches_a_piped_command_once(tmp_path: Path) -> None:
    source = (
        "import signal, sys, time\n"
        "count = []\n"
        "signal.signal(2, lambda *_: count.append(1))\n"
        "print('ready', file=sys.stderr)\n"
        "while not count: time.sleep(0.02)\n"
        "time.sleep(0.3)\n"
        "print('interrupts', len(count), file=sys.stderr)\n"
        "sys.exit(130)"
    )
    report = tmp_path / "report"
    with (tmp_path / "out").open("wb") as file, run_on_terminal(report, *python(source), stdout=file) as screen:
        screen.wait_for(b"ready")
        screen.type(b"\x03")
        screen.wait_for(b"interrupts 1")
        assert screen.wait_for_end() == 130
    assert calls(tmp_path / "report")[-1]["call"] == "cancelled"


def test_remaining_daemon_does_not_delay_the_end(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = f"sleep 60 >/dev/tty 2>&1 & echo $! > {pid_file}; echo done"
    with run_on_terminal(tmp_path / "report", "sh", "-c", f'trap "" HUP; {script}') as screen:
        assert screen.wait_for_end() == 0
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    assert b"done" in screen.shown


def test_process_that_outlives_the_command_writes_on(tmp_path: Path) -> None:
    fifo, status = tmp_path / "fifo", tmp_path / "status"
    os.mkfifo(fifo)
    os.mkfifo(status)
    late = f"open({str(fifo)!r}).read(); print('late', flush=True); open({str(status)!r}, 'w').write('written')"
    with run_on_terminal(
        tmp_path / "report", "sh", "-c", f"{shlex.join(python(late))} & echo started; exit 3"
    ) as screen:
        assert screen.wait_for_end() == 3
        assert calls(tmp_path / "report")[-1]["code"] == "exit_3"
        assert screen.modes()[LFLAG] & termios.ICANON, "our terminal is restored"
        fifo.write_text("")
        assert status.read_text() == "written"
        assert screen.wait_for(b"late\r\n") == b"started\r\nlate\r\n"


def test_nothing_of_a_run_is_left_after_the_last_process(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with run_on_terminal(tmp_path / "report", "sh", "-c", f"cat {fifo} & ps -o pid=,sess= | head -n 50") as screen:
        assert screen.wait_for_end() == 0
        (session,) = {int(line.split()[1]) for line in screen.shown.splitlines()}
        assert stat_of(session) == "S"
        fifo.write_text("")
        screen.wait_until(lambda: stat_of(session) in ("", "Z"))


@needs_bash
def test_command_that_suspends_itself_stops_both(tmp_path: Path) -> None:
    source = "import os, signal; os.kill(0, signal.SIGTSTP); print('got', input())"
    line = shlex.join(command_line(tmp_path / "report", *python(source)))
    with terminal(["bash", "--norc", "--noprofile", "--noediting", "-i"]) as screen:
        screen.type(b"PS1='$ '\r")
        screen.type(line.encode() + b"\r")
        screen.wait_for(b"Stopped")
        screen.type(b"fg\r")
        screen.wait_until(lambda: not screen.modes()[LFLAG] & termios.ICANON)
        screen.type(b"resumed\r")
        screen.wait_for(b"got resumed\r\n$ ")
        screen.type(b"exit\r")
        screen.wait_for_end()
    assert calls(tmp_path / "report")[-1]["call"] == "completed"


@needs_bash
def test_ctrl_z_stops_both_and_fg_resumes_both(tmp_path: Path) -> None:
    source = "import os; print('pid', os.getpid(), flush=True); print('got', input())"
    line = shlex.join(command_line(tmp_path / "report", *python(source)))
    with terminal(["bash", "--norc", "--noprofile", "--noediting", "-i"]) as screen:
        screen.type(b"PS1='$ '\r")
        before = screen.modes()
        screen.type(line.encode() + b"\r")
        screen.wait_until(lambda: re.search(rb"pid \d+\r\n", screen.shown) is not None)
        pid = int(re.findall(rb"pid (\d+)\r\n", screen.shown)[0])
        screen.type(b"\x1a")
        screen.wait_for(b"Stopped")
        screen.wait_until(lambda: stat_of(pid) == "T")
        assert screen.modes()[LFLAG] & termios.ICANON == before[LFLAG] & termios.ICANON
        screen.type(b"echo in the she''ll\r")
        screen.wait_for(b"in the shell")
        screen.type(b"fg\r")
        screen.wait_until(lambda: not screen.modes()[LFLAG] & termios.ICANON)
        screen.type(b"resumed\r")
        screen.wait_for(b"got resumed\r\n$ ")
        screen.type(b"exit\r")
        screen.wait_for_end()
    assert calls(tmp_path / "report")[-1]["call"] == "completed"


@needs_bash
def test_background_run_passes_output_and_leaves_the_terminal(tmp_path: Path) -> None:
    line = shlex.join(command_line(tmp_path / "report", "sh", "-c", "test -t 1 && echo on a terminal"))
    with terminal(["bash", "--norc", "--noprofile", "--noediting", "-i"]) as screen:
        screen.type(line.encode() + b" & wait $!; echo ended $?\r")
        screen.wait_for(b"on a terminal\r\n")
        screen.wait_for(b"ended 0\r\n")
        screen.type(b"exit\r")
        screen.wait_for_end()
