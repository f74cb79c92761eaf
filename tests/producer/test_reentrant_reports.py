"""Reports from a signal handler, a finalizer or a forked child at any moment, in real processes with a watchdog."""

import os
from pathlib import Path

from tests.producer.programs import run, running
from tests.producer.reported import Reported
from tests.producer.test_runtime import closed_port

STRESS_S = float(os.environ.get("TIDINGS_STRESS_S", "0"))
"""Seconds that the stress programs run; 0 makes them run for a fixed number of rounds instead."""
WATCHDOG = """
import faulthandler
faulthandler.dump_traceback_later(100 + STRESS_S, exit=True)
""".replace("STRESS_S", str(STRESS_S))
"""Prints the stacks of all threads and exits if the program hangs."""

REPORTS_AT_EACH_LINE = """
import itertools
import tidings.producer.outbox.outbox

ours = os.path.dirname(tidings.__file__)
seen, numbers = set(), itertools.count(1)
busy = threading.local()

def trace(frame, event, argument):
    code = frame.f_code
    if not code.co_filename.startswith(ours) or getattr(busy, "busy", False):
        return None
    place = (code, frame.f_lineno)
    if place not in seen:
        seen.add(place)
        number = next(numbers)  # of two threads, each takes its own
        busy.busy = True
        try:
            {report}
        finally:
            busy.busy = False
    return trace

outer = tidings.start("Interrupter", id="outer")
second = tidings.start("Second interrupter", id="second")
threading.settrace(trace)
sys.settrace(trace)
with tidings.operation("Interrupted", id="inner", steps=["a", "b"]) as op:
    with op.step("a"):
        op.progress(10, "ten")
    for row in op.track(range(3)):
        op.log(f"row {{row}}")
RUNTIME.flush(10)
sys.settrace(None)
threading.settrace(None)
second.complete()
outer.complete(next(numbers) - 1)
"""

OWN = """own.log(f"{code.co_name} {frame.f_lineno}")"""
LOGS = """(outer, second)[number % 2].log(f"{code.co_name} {frame.f_lineno}")"""
"""Two operations, because a hub keeps the newest thousand lines of each."""
OPERATES = """
            with tidings.operation("Nested", id=f"nested-{number}") as nested:
                nested.advance()
            outer.advance()
"""


def test_log_line_at_each_line_of_tidings_arrives(reported: Reported, tmp_path: Path) -> None:
    code = WATCHDOG + REPORTS_AT_EACH_LINE.format(report=LOGS)
    assert run(code, reported.hub.url, tmp_path, TIDINGS_QUIET="1") == (0, "")
    assert [kind for kind in reported.kinds("inner") if kind != "log"] == ["start", "complete"]
    outer = reported.received("outer")
    lines = [kind for kind, _ in [*outer, *reported.received("second")]].count("log")
    assert outer[-1][1]["result"] > 500
    assert outer[-1] == ("complete", outer[-1][1])
    assert lines == outer[-1][1]["result"]


def test_log_line_at_each_line_of_its_own_start_follows_the_start(reported: Reported, tmp_path: Path) -> None:
    code = WATCHDOG + REPORTS_AT_EACH_LINE.format(report=OWN).replace(
        "with tidings.operation", "with own:\n    own.advance()\nwith tidings.operation"
    ).replace("outer = ", "own = tidings.operation('Own', id='own')\nouter = ")
    assert run(code, reported.hub.url, tmp_path, TIDINGS_QUIET="1") == (0, "")
    kinds = reported.kinds("own")
    assert (kinds[0], kinds[-1]) == ("start", "complete")
    assert set(kinds[1:-1]) == {"log"}


def test_operation_at_each_line_of_tidings_is_reported(reported: Reported, tmp_path: Path) -> None:
    code = WATCHDOG + REPORTS_AT_EACH_LINE.format(report=OPERATES)
    assert run(code, reported.hub.url, tmp_path, TIDINGS_QUIET="1") == (0, "")
    assert reported.kinds("inner") == ["start", "log", "log", "log", "complete"]
    events = reported.received()
    number = next(data["result"] for kind, data in events if kind == "complete" and data["operation_id"] == "outer")
    assert number > 500
    nested = [(kind, data["operation_id"]) for kind, data in events if data["operation_id"].startswith("nested-")]
    for which in range(1, number + 1):
        assert [kind for kind, id in nested if id == f"nested-{which}" and kind in ("start", "complete")] == [
            "start",
            "complete",
        ]


FORKS_AT_EACH_LINE_OF_THE_SPOOL = """
import tidings.producer.spool.file as spool_file
from tidings.producer.outbox.outbox import Outbox
from tidings.producer.spool.directory import SpoolOptions, list_spool_files
from tidings.producer.spool.file import parse_spool

spool = SpoolOptions(bytes_of_one=2_000)
url = os.environ["TIDINGS_URL"]
outbox = Outbox(url, spool=spool)
seen, children = set(), []
reader, writer = os.pipe()
parent = os.getpid()

def trace(frame, event, argument):
    code = frame.f_code
    if "/spool/" not in code.co_filename or threading.current_thread() is not threading.main_thread():
        return None
    place = (code, frame.f_lineno)
    if place not in seen:
        seen.add(place)
        sys.settrace(None)
        child = os.fork()
        if child:
            children.append(child)
            sys.settrace(trace)
        else:
            sys.settrace(None)
            frame.f_trace = None
            os.close(writer)
            outbox.put_nowait("operation:start", {"operation_id": "child"})
            os.read(reader, 1)  # it lives until its parent has ended the outbox, and then goes on from here
    return trace

sys.settrace(trace)
for number in range(20):
    outbox.put_nowait("operation:start", {"operation_id": f"parent-{number}"})
    if os.getpid() != parent:
        break
sys.settrace(None)
if os.getpid() == parent:
    outbox.close(0)
    own = [path for path in list_spool_files(url, [spool_file.Path(os.environ["TIDINGS_SPOOL"])])
           if outbox.producer_id in path.name]
    assert len(own) == 1, own
    opened = spool_file.SpoolFile.open_dead(own[0])
    assert opened is not None, "a child holds the lock of its parent"
    kept = [event.draft.data for event in opened.pending.values()]
    assert b"parent-19" in bytes(kept[-1]), kept
    assert not any(b"child" in bytes(data) for data in kept), kept
    os.close(writer)
    for child in children:
        _, status = os.waitpid(child, 0)
        assert status == 0, status
    emit(len(seen))
else:
    outbox.put_nowait("operation:complete", {"operation_id": "child"})
    outbox.close(0)
    os._exit(0)
"""


def test_fork_at_each_line_of_the_spool_harms_neither_side(tmp_path: Path) -> None:
    code = WATCHDOG + FORKS_AT_EACH_LINE_OF_THE_SPOOL
    with running(code, f"ws://127.0.0.1:{closed_port()}/ws", tmp_path, TIDINGS_QUIET="1") as program:
        number = program.read_word()
        assert program.wait() == (0, "")
    assert int(number) > 60


STRESS = """
import gc, logging
from tidings.tqdm import tqdm

until = time.monotonic() + STRESS_S if STRESS_S else None
counts = {"finalizer": 0, "signal": 0, "thread": 0, "child": 0}

class Cycle:
    def __init__(self):
        self.itself = self

    def __del__(self):
        counts["finalizer"] += 1
        op.log("from a finalizer", "debug")
        op.advance()

def on_alarm(number, frame):
    counts["signal"] += 1
    op.log("from a signal handler", "debug")

def work():
    while not done.is_set():
        counts["thread"] += 1
        op.log("from a thread", "debug")
        Cycle()
        time.sleep(0.001)

def leave_bar():
    try:
        for row in tqdm(range(10), total=10, file=null):
            if row == 3:
                raise LookupError
    except LookupError as error:
        failures.append(error)

logging.getLogger("tidings").setLevel("ERROR")  # children warn that they do not report for their parent
null = open(os.devnull, "w")
done = threading.Event()
failures = []
gc.set_threshold(20)
signal.signal(signal.SIGALRM, on_alarm)
with tidings.operation("Stress", id="stress") as op:
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    rounds = 0
    while time.monotonic() < until if until else rounds < 300:
        rounds += 1
        Cycle()
        with op.step("part", weight=0) as step:
            step.progress(rounds % 100, "moving")
        leave_bar()
        if rounds % 10 == 0:
            failures.clear()
            with tidings.operation("Nested"):
                op.log("line")
        if rounds % 60 == 0:
            child = os.fork()
            if not child:
                signal.setitimer(signal.ITIMER_REAL, 0)
                counts["child"] += 1
                with tidings.operation("Child", id=f"child-{rounds}"):
                    Cycle()
                    gc.collect()
                RUNTIME.flush(10)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    signal.setitimer(signal.ITIMER_REAL, 0)
    done.set()
    for thread in threads:
        thread.join()
    failures.clear()
    gc.collect()
null.close()
assert RUNTIME.flush(10) == 0
assert all(counts[name] for name in ("finalizer", "signal", "thread")), counts
""".replace("STRESS_S", str(STRESS_S))


def test_reports_of_collector_signals_threads_and_children_never_hang(reported: Reported, tmp_path: Path) -> None:
    with running(WATCHDOG + STRESS, reported.hub.url, tmp_path, TIDINGS_QUIET="1") as program:
        _, errors = program.process.communicate(timeout=60 + STRESS_S)
    assert (program.process.returncode, errors) == (0, "")
    assert reported.kinds("stress")[0] == "start"
    assert reported.kinds("stress")[-1] == "complete"
    assert reported.kinds("child-60") == ["start", "complete"]
