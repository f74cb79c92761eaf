"""The end of a process, forks and missing hubs, with real processes."""

import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from pathlib import Path

import pytest
from tests.producer.programs import run, running
from tests.producer.reported import Reported, until

import tidings
from tidings.producer.outcome import Cancelled
from tidings.producer.runtime import RUNTIME, ProducerRuntime

SLEEP = """
with tidings.operation("Sleep", id="sleep") as op:
    emit("asleep")
    time.sleep(60)
"""


def closed_port() -> int:
    """Return a port without a listener."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def arrived(reported: Reported, kind: str) -> bool:
    return any(received == kind for received, _ in reported.received())


def test_sigterm_is_reported_before_the_process_dies_of_it(reported: Reported, tmp_path: Path) -> None:
    with running(SLEEP, reported.hub.url, tmp_path) as program:
        assert program.read_word() == "asleep"
        program.terminate()
        assert program.wait() == (-15, "")
    assert reported.last("sleep") == ("cancelled", {"operation_id": "sleep", "reason": "SIGTERM"})


def test_closed_terminal_is_reported_before_the_process_dies_of_it(reported: Reported, tmp_path: Path) -> None:
    with running(SLEEP, reported.hub.url, tmp_path) as program:
        assert program.read_word() == "asleep"
        program.process.send_signal(signal.SIGHUP)
        assert program.wait() == (-1, "")
    assert reported.last("sleep") == ("cancelled", {"operation_id": "sleep", "reason": "SIGHUP"})


def test_handler_that_reloads_on_sighup_changes_nothing(reported: Reported, tmp_path: Path) -> None:
    code = """
    signal.signal(signal.SIGHUP, lambda *_: emit("reloaded"))
    with tidings.operation("Serve", id="serve"):
        os.kill(os.getpid(), signal.SIGHUP)
    """
    with running(code, reported.hub.url, tmp_path) as program:
        assert program.read_word() == "reloaded"
        assert program.wait() == (0, "")
    assert reported.kinds("serve") == ["start", "complete"]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_ignored_signal_stays_ignored(reported: Reported, tmp_path: Path, name: str) -> None:
    """As SIGHUP below `nohup`."""
    code = f"""
    signal.signal(signal.{name}, signal.SIG_IGN)
    with tidings.operation("Ignore", id="ignore") as op:
        os.kill(os.getpid(), signal.{name})
    """
    assert run(code, reported.hub.url, tmp_path) == (0, "")
    assert reported.kinds("ignore") == ["start", "complete"]


def test_sigterm_calls_the_handler_of_the_job_which_may_exit(reported: Reported, tmp_path: Path) -> None:
    code = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n" + SLEEP
    with running(code, reported.hub.url, tmp_path) as program:
        assert program.read_word() == "asleep"
        program.terminate()
        assert program.wait() == (7, "")
    assert reported.last("sleep") == ("cancelled", {"operation_id": "sleep", "reason": "SIGTERM"})


def test_job_that_finishes_after_sigterm_is_not_cancelled(reported: Reported, tmp_path: Path) -> None:
    code = """
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    with tidings.operation("Finish", id="finish") as op:
        emit("working")
        while not asked.is_set():
            asked.wait(0.01)
    assert signal.getsignal(signal.SIGTERM).__name__ == "<lambda>", "the handler is as it was"
    """
    with running(code, reported.hub.url, tmp_path) as program:
        assert program.read_word() == "working"
        program.terminate()
        assert program.wait() == (0, "")
    assert reported.kinds("finish") == ["start", "complete"]


def test_sigterm_handler_is_installed_only_while_operations_run(reported: Reported, tmp_path: Path) -> None:
    code = """
    with tidings.operation("Outer"):
        with tidings.operation("Inner"):
            pass
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    """
    assert run(code, reported.hub.url, tmp_path) == (0, "")


def test_signals_wait_in_a_forked_child_for_the_removal_of_handlers(reported: Reported, tmp_path: Path) -> None:
    """CPython would drop those that come before: a terminated worker of a `multiprocessing.Pool` would live on."""
    # At the start of Python, because hooks of forks run in the order of their registration.
    hook = """
import os, signal

def kill():
    print(*sorted(signal.Signals(n).name for n in signal.pthread_sigmask(signal.SIG_BLOCK, [])), flush=True)
    signal.raise_signal(signal.SIGTERM)

os.register_at_fork(after_in_child=kill)
"""
    (tmp_path / "sitecustomize.py").write_text(hook)
    code = """
    with tidings.operation("Parent", id="parent") as op:
        child = os.fork()
        if child == 0:
            os._exit(0)
        emit(os.WTERMSIG(os.waitpid(child, 0)[1]))
    emit(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    """
    with running(code, reported.hub.url, tmp_path, PYTHONPATH=str(tmp_path)) as program:
        assert [program.read_word() for _ in range(3)] == ["SIGHUP SIGTERM", "15", "set()"]
        assert program.wait() == (0, "")
    assert reported.kinds("parent") == ["start", "complete"]


def test_sigterm_during_a_report_ends_the_process(reported: Reported, tmp_path: Path) -> None:
    """The handler runs while the main thread may hold the locks of the outbox."""
    code = """
    with tidings.operation("Chatter", id="chatter") as op:
        emit("chatting")
        while True:
            op.log("line")
    """
    for _ in range(5):
        with running(code, reported.hub.url, tmp_path) as program:
            assert program.read_word() == "chatting"
            program.terminate()
            assert program.wait() == (-15, "")
        assert reported.last("chatter")[0] == "cancelled"


def test_sigterm_ends_the_operations_of_all_threads(reported: Reported, tmp_path: Path) -> None:
    code = """
    def work():
        with tidings.operation("In a thread", id="thread") as op:
            emit("in a thread")
            time.sleep(60)


    threading.Thread(target=work, daemon=True).start()
    with tidings.operation("In main", id="main"):
        time.sleep(60)
    """
    with running(code, reported.hub.url, tmp_path) as program:
        assert program.read_word() == "in a thread"
        until(lambda: len(reported.events()) >= 2)
        program.terminate()
        assert program.wait() == (-15, "")
    assert reported.kinds("thread") == reported.kinds("main") == ["start", "cancelled"]


@pytest.mark.parametrize(
    ("code", "exit_code", "end"),
    [
        ("", 0, "not_finished"),
        ("sys.exit(3)", 3, "not_finished"),
        ("raise LookupError('no prices')", 1, "lookup_error"),
    ],
)
def test_open_operation_ends_with_the_program(
    reported: Reported, tmp_path: Path, code: str, exit_code: int, end: str
) -> None:
    done, errors = run(f"op = tidings.start('Left', id='left')\n{code}", reported.hub.url, tmp_path)
    assert done == exit_code
    assert "tidings" not in errors
    kind, data = reported.last("left")
    assert (kind, data["code"]) == ("failed", end)
    assert data["hint" if end == "not_finished" else "details"]


def test_forked_child_reports_only_its_own_operations(reported: Reported, tmp_path: Path) -> None:
    code = """
    with tidings.operation("Parent", id="parent") as op:
        RUNTIME.flush(10)
        child = os.fork()
        if not child:
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            op.log("from the child")
            op.progress(99)
            op.complete()
            assert op.state == "inherited"
            with tidings.operation("Child", id="child", parent=op):
                pass
            assert RUNTIME.flush(10) == 0
            sys.exit(0)
        _, status = os.waitpid(child, 0)
        assert status == 0, status
        op.log("from the parent")
    """
    status, errors = run(code, reported.hub.url, tmp_path)
    assert status == 0
    assert errors.startswith("tidings: Parent runs in another process, and reports on it from this one are not sent")
    assert errors.count("\n") == 1
    assert reported.kinds("parent") == ["start", "log", "complete"]
    assert reported.kinds("child") == ["start", "complete"]
    assert dict(reported.received("parent"))["log"]["message"] == "from the parent"


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_worker_sends_everything_before_it_exits(
    reported: Reported, tmp_path: Path, method: str
) -> None:
    (tmp_path / "job.py").write_text(
        "import tidings\n"
        "def work(number):\n"
        "    with tidings.operation('Part', id=f'part-{number}') as op:\n"
        "        op.progress(50)\n"
    )
    code = f"""
    import multiprocessing
    sys.path.insert(0, {str(tmp_path)!r})
    import job

    if __name__ == "__main__":
        with tidings.operation("Whole", id="whole"):
            context = multiprocessing.get_context({method!r})
            parts = [context.Process(target=job.work, args=(number,)) for number in range(2)]
            for part in parts:
                part.start()
            for part in parts:
                part.join()
                assert part.exitcode == 0
            emit("joined")
            sys.stdin.read()
    """
    with running(code, reported.hub.url, tmp_path) as program:
        assert program.read_word() == "joined"
        for number in range(2):
            assert reported.kinds(f"part-{number}") == ["start", "complete"]
        assert program.wait()[0] == 0
    assert reported.kinds("whole") == ["start", "complete"]


@pytest.mark.alone
def test_job_without_a_hub_runs_and_prints_one_line(tmp_path: Path) -> None:
    port = closed_port()
    code = """
    began = time.monotonic()
    with tidings.operation("Alone") as op:
        for number in op.track(range(100)):
            op.log("line")
        time.sleep(0.3)
    assert time.monotonic() - began < 2
    """
    began = time.monotonic()
    done, errors = run(code, f"ws://127.0.0.1:{port}/ws", tmp_path)
    assert time.monotonic() - began < 8
    assert (done, errors) == (
        0,
        f"tidings: no hub answers at 127.0.0.1:{port}; the job continues, events are kept and sent later\n",
    )


@pytest.mark.parametrize(
    ("variables", "lines"),
    [
        ({"TIDINGS_URL": "ftp://nonsense"}, 1),
        ({"TIDINGS_URL": "ftp://nonsense", "TIDINGS_QUIET": "1"}, 0),
        ({"TIDINGS_URL": "ftp://nonsense", "TIDINGS_DISABLED": "1"}, 0),
        ({"TIDINGS_TOKEN": "to\nken"}, 1),
    ],
)
def test_invalid_setting_is_reported_once(tmp_path: Path, variables: dict[str, str], lines: int) -> None:
    code = """
    for _ in range(3):
        with tidings.operation("Anyway") as op:
            op.advance()
    """
    variables = {"TIDINGS_URL": "ws://127.0.0.1:9/ws", **variables}
    done, errors = run(code, variables.pop("TIDINGS_URL"), tmp_path, **variables)
    assert done == 0
    assert errors.count("tidings: nothing is reported:") == errors.count("\n") == lines


def test_operations_of_one_hub_share_one_connection(reported: Reported, tmp_path: Path) -> None:
    code = """
    with tidings.operation("A"), tidings.operation("B"):
        RUNTIME.flush(10)
        emit("both")
        sys.stdin.read()
    """
    with running(code, reported.hub.url, tmp_path) as program:
        assert program.read_word() == "both"
        assert reported.hub.connections() == 1
        program.terminate()
        program.wait()


# The same in this very process, as far as it survives it.


def test_exit_hook_ends_running_operations(reported: Reported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RUNTIME, "_exited", False)
    monkeypatch.setattr(RUNTIME, "_exit_s", 10.0)
    op = tidings.start("Left")
    RUNTIME.exit()
    assert op.state == "failed"
    with tidings.operation("After all") as late:
        pass
    assert reported.kinds(late.id) == ["start", "complete"], "a new connection is made"
    assert reported.last(op.id)[1]["code"] == "not_finished"


def test_end_at_exit_is_the_outcome_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = ProducerRuntime()
    monkeypatch.delattr(sys, "ps1", raising=False)  # IPython, which other tests run, sets it
    assert runtime.end_at_exit().code == "not_finished"  # type: ignore[union-attr]
    monkeypatch.setattr(sys, "last_value", LookupError("no prices"), raising=False)
    assert runtime.end_at_exit().code == "lookup_error"  # type: ignore[union-attr]
    monkeypatch.setattr(sys, "last_value", KeyboardInterrupt(), raising=False)
    assert runtime.end_at_exit() == Cancelled(reason="interrupted from the keyboard")
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert runtime.end_at_exit().code == "not_finished", "what failed at a prompt an hour ago is not the reason"  # type: ignore[union-attr]
    runtime.signals[0].received = True
    assert runtime.end_at_exit() == Cancelled(reason="SIGTERM")


def test_end_main_thread_ends_only_its_operations(reported: Reported) -> None:
    begun: list[tidings.Operation] = []
    thread = threading.Thread(target=lambda: begun.append(tidings.start("In a thread")))
    thread.start()
    thread.join()
    op = tidings.start("In main")
    RUNTIME.end_main_thread("SIGTERM")
    assert (op.state, begun[0].state) == ("cancelled", "running")
    RUNTIME.terminate("SIGTERM")
    assert begun[0].state == "cancelled"
    assert reported.last(op.id)[1]["reason"] == reported.last(begun[0].id)[1]["reason"] == "SIGTERM"


def test_operation_after_fork_is_silent(reported: Reported) -> None:
    op = tidings.start("Inherited", total=2)
    assert RUNTIME.flush(10) == 0
    RUNTIME.reset_after_fork()
    op.advance()
    op.log("not sent")
    op.complete()
    assert op.state == "inherited"
    assert reported.kinds(op.id) == ["start"]


def test_interpreter_inside_the_process_ends_without_our_threads(reported: Reported, tmp_path: Path) -> None:
    """CPython aborts the process if such an interpreter, as each application of mod_wsgi has one, has a thread left."""
    source = Path(__file__).with_name("embedded_interpreter.c")
    built = tmp_path / "embedded_interpreter.so"
    include = sysconfig.get_path("include")
    subprocess.run(["cc", "-shared", "-fPIC", f"-I{include}", "-o", built, source], check=True, capture_output=True)
    code = f"""
    sys.path.insert(0, {str(tmp_path)!r})
    import embedded_interpreter
    for n in range(3):
        program = f"import tidings\\nwith tidings.operation('Inner', id='inner-{{n}}', total=2) as op: op.advance()"
        assert embedded_interpreter.run(program) == 0
    emit("ended")
    """
    with running(code, reported.hub.url, tmp_path) as program:
        assert (program.read_word(), program.wait()) == ("ended", (0, ""))
    assert [reported.kinds(f"inner-{n}")[-1] for n in range(3)] == ["complete"] * 3
