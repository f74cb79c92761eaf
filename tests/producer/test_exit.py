"""Events that are sent while the interpreter shuts down, in real processes, to a hub that has a name."""

import signal
import threading
from pathlib import Path

import pytest
from tests.client.hub_server import HubServer
from tests.file_limits import WITHOUT_BYTECODE
from tests.producer.held import Cut
from tests.producer.programs import run, running
from tests.producer.reported import Reported
from tests.producer.test_runtime import closed_port
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tidings.client.options import LinkOptions
from tidings.client.reconnect import Reconnect
from tidings.client.websocket import ClientConnection, open_websocket
from tidings.exceptions import HubUnreachable
from tidings.producer.outbox.outbox import Outbox
from tidings.protocol.messages import SUBPROTOCOL

JOB = """
def job():
    with tidings.operation("Job", id="job") as op:
        op.progress(50)
"""
NO_NEW_THREADS = """
import atexit, _thread

def refuse(*arguments, **options):
    raise RuntimeError("can't create new thread at interpreter shutdown")

def refuse_all():
    threading._start_new_thread = threading._start_joinable_thread = refuse

atexit.register(refuse_all)
"""
"""Does what Python does from 3.12 on before it runs the exit handlers; those registered earlier run after it."""
REPORTS_LAST = """
import atexit
atexit.unregister(RUNTIME.exit)
atexit.register(job)
atexit.register(RUNTIME.exit)
"""
"""What a program does that registers an exit handler before it imports tidings."""
PROGRAMS = {
    "end": ("job()", 0),
    "exit": ("job(); sys.exit(3)", 3),
    "exception": ("job(); raise LookupError", 1),
    "interrupt": ("job(); raise KeyboardInterrupt", -signal.SIGINT),
    "asyncio": ("import asyncio\nasync def main(): job()\nasyncio.run(main())", 0),
    "exit handler": ("import atexit; atexit.register(job)", 0),
    "first exit handler": (REPORTS_LAST, 0),
    "second operation in an exit handler": (
        REPORTS_LAST + "with tidings.operation('Another', id='another'): pass",
        0,
    ),
    "thread": (
        "def work():\n    threading.main_thread().join()\n    job()\nthreading.Thread(target=work).start()",
        0,
    ),
    "no new threads": ("job()" + NO_NEW_THREADS, 0),
    "no new threads, exit handler": ("import atexit; atexit.register(job)" + NO_NEW_THREADS, 0),
    "no new threads, first exit handler": (REPORTS_LAST + NO_NEW_THREADS, 0),
    "forked child": (
        "child = os.fork()\nif child:\n    assert os.waitpid(child, 0)[1] == 0\nelse:\n    job()\n    sys.exit(0)",
        0,
    ),
}


@pytest.mark.parametrize(("code", "exit_code"), PROGRAMS.values(), ids=PROGRAMS)
def test_job_at_the_end_of_its_process_is_reported(
    reported: Reported, tmp_path: Path, code: str, exit_code: int
) -> None:
    done, errors = run(JOB + code, f"ws://localhost:{reported.hub.port}/ws", tmp_path)
    assert done == exit_code
    assert "tidings:" not in errors
    assert "cannot" not in errors
    assert reported.kinds("job") == ["start", "complete"]
    assert list((tmp_path / "spool").iterdir()) == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "no-such-host.invalid"])
@pytest.mark.parametrize("code", ["job()", "job()" + NO_NEW_THREADS, "import atexit; atexit.register(job)"])
def test_job_without_a_hub_exits_when_everything_is_spooled(tmp_path: Path, code: str, host: str) -> None:
    # An hour would exceed the time limit of the program.
    patient = "import tidings.producer.runtime as runtime\nRUNTIME._exit_s = 3600\n"
    done, errors = run(patient + JOB + code, f"ws://{host}:{closed_port()}/ws", tmp_path)
    assert done == 0
    assert errors.count("\n") == 1
    assert "no hub answers" in errors
    (spooled,) = (tmp_path / "spool").iterdir()
    assert spooled.read_bytes().count(b'"keep"') == 2


@pytest.mark.parametrize("code", ["job()", "job()" + NO_NEW_THREADS])
def test_job_without_a_hub_does_not_wait_long_for_log_lines(tmp_path: Path, code: str) -> None:
    logs = "import tidings.producer.runtime as runtime\nRUNTIME._exit_s = 3600\n" + JOB + "        op.log('a line')\n"
    done, errors = run(logs + code, f"ws://127.0.0.1:{closed_port()}/ws", tmp_path)
    assert (done, errors.count("\n")) == (0, 1)
    assert "no hub answers" in errors


@pytest.mark.parametrize("code", ["job()", "job()" + NO_NEW_THREADS])
def test_job_does_not_wait_for_a_server_that_never_greets(tmp_path: Path, code: str) -> None:
    def stay_silent(connection: ServerConnection) -> None:
        assert list(connection) == []

    with serve(stay_silent, "127.0.0.1", 0, subprotocols=[Subprotocol(SUBPROTOCOL)]) as server:
        threading.Thread(target=server.serve_forever).start()
        patient = "import tidings.producer.runtime as runtime\nRUNTIME._exit_s = 3600\n"
        done, errors = run(patient + JOB + code, f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ws", tmp_path)
    assert (done, errors.count("\n")) == (0, 1)
    assert "no hub answers" in errors  # after ten seconds it would be: the server is not a tidings hub
    (spooled,) = (tmp_path / "spool").iterdir()
    assert spooled.read_bytes().count(b'"keep"') == 2


def test_next_process_sends_what_a_killed_one_had_not_sent(reported: Reported, tmp_path: Path) -> None:
    """SIGTERM after the end of the last operation is the program's own affair: it ends immediately."""
    waits = "job(); emit('ended')\nwhile True: time.sleep(60)"
    with Cut(reported.hub) as network:
        network.refuse()
        with running(JOB + waits, network.url, tmp_path) as program:
            assert program.read_word() == "ended"
            program.terminate()
            assert program.wait()[0] == -signal.SIGTERM
        network.accept()
        another = "with tidings.operation('Another', id='another'): pass"
        assert run(another, network.url, tmp_path) == (0, "")
    assert reported.kinds("job") == ["start", "complete"]
    assert reported.kinds("another") == ["start", "complete"]
    assert list((tmp_path / "spool").iterdir()) == []


def test_job_that_leaves_by_os_exit_is_spooled(tmp_path: Path) -> None:
    done, errors = run(JOB + "job(); os._exit(0)", f"ws://localhost:{closed_port()}/ws", tmp_path)
    assert (done, errors.count("Traceback")) == (0, 0)
    (spooled,) = (tmp_path / "spool").iterdir()
    assert spooled.read_bytes().count(b'"keep"') == 2


def test_close_connects_at_once_instead_of_after_the_delay(own_spool: None) -> None:
    """The last seconds of a process are used: a hub that has come back receives what cannot be spooled."""
    paused = threading.Event()
    attempts: list[str] = []

    async def open_second(url: str) -> ClientConnection:
        attempts.append(url)
        if len(attempts) == 1:
            raise HubUnreachable("no hub yet")
        return await open_websocket(url)

    def jitter() -> float:
        paused.set()
        return 0.9

    hour = Reconnect(base_s=3600, cap_s=3600)
    with HubServer() as hub:
        options = LinkOptions(wait_for_hub=True, open_connection=open_second, random=jitter, reconnect=hour)
        outbox = Outbox(hub.url, options=options)
        outbox.put_nowait("operation:start", {"operation_id": "late"})
        outbox.put_nowait("operation:log", {"operation_id": "late", "message": "a line, which is not spooled"})
        assert paused.wait(60)
        assert outbox.close(60, patient=True) == 0
    assert len(attempts) == 2


def test_job_reports_where_no_file_can_be_written(reported: Reported, tmp_path: Path) -> None:
    """As on a full disk, where not even `tempfile.gettempdir` works."""
    code = """
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with tidings.operation("Full", id="full") as op:
        op.complete(result=1)
    """
    assert run(code, reported.hub.url, tmp_path, TIDINGS_QUIET="1", **WITHOUT_BYTECODE) == (0, "")
    assert reported.kinds("full") == ["start", "complete"]
