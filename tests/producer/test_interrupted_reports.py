"""Exceptions that arrive at any line of tidings, as that of Ctrl-C: no lock stays held, no event is lost or doubled."""

from pathlib import Path

from tests.producer.programs import run
from tests.producer.reported import Reported
from tests.producer.test_reentrant_reports import WATCHDOG

INTERRUPTED_AT_EACH_LINE = """
ours = os.path.dirname(tidings.__file__)
seen = set()
armed = False

def trace(frame, event, argument):
    global armed
    code = frame.f_code
    if not code.co_filename.startswith(ours):
        return None
    place = (code, frame.f_lineno, event)
    if event == "return" and code.co_name == "__enter__":
        return None  # CPython runs no handler between this and the block
    if armed and place not in seen:
        seen.add(place)
        armed = False
        raise KeyboardInterrupt
    return trace

def report():
    with tidings.operation(f"Interrupted {len(made)}", id=f"op-{len(made)}", steps=["a"]) as op:
        with op.step("a") as step:
            step.progress(10, "ten")
        op.log("line")

tidings.operation("Imports everything")
made = []
sys.unraisablehook = lambda unraisable: None  # for interrupts in generators that are being closed
while not made or not armed:
    made.append(f"op-{len(made)}")
    armed = True
    sys.settrace(trace)
    try:
        report()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
left = RUNTIME.flush(10)
assert left == 0, left
assert RUNTIME.running == [], RUNTIME.running
with tidings.operation("Interrupted", id="last"):
    pass
with tidings.operation("Count", id="count") as op:
    op.complete(len(made))
"""


def test_interrupt_at_each_line_of_tidings_loses_and_doubles_nothing(reported: Reported, tmp_path: Path) -> None:
    status, errors = run(WATCHDOG + INTERRUPTED_AT_EACH_LINE, reported.hub.url, tmp_path, TIDINGS_QUIET="1")
    assert (status, errors) == (0, "")
    number = reported.last("count")[1]["result"]
    assert number > 300
    kinds: dict[str, list[str]] = {}
    for kind, data in reported.received():
        if kind in ("start", "complete", "failed", "cancelled"):
            kinds.setdefault(data["operation_id"], []).append(kind)
    assert {id: found for id, found in kinds.items() if found[0] != "start" or len(found) != 2} == {}
    assert reported.kinds("last") == ["start", "complete"]


INTERRUPTED_AT_THE_END = """
import asyncio, gc

ours = os.path.dirname(tidings.__file__)
armed = False

def trace(frame, event, argument):
    global armed
    if armed and frame.f_code.co_filename.startswith(ours):
        armed = False
        raise KeyboardInterrupt
    return None

def interrupt(block):
    try:
        block()
    except KeyboardInterrupt as interrupt:
        return str(interrupt.__context__)
    finally:
        sys.settrace(None)

def arm():
    global armed
    armed = True
    sys.settrace(trace)

def end_normally():
    with tidings.operation("Normal", id="normal"):
        arm()

def end_by_error():
    with tidings.operation("Error", id="error"):
        arm()
        raise LookupError("no prices")

def end_step():
    with tidings.operation("Step", id="step") as op:
        try:
            with op.step("a"):
                arm()
        except KeyboardInterrupt:
            pass
        assert tidings.current_operation() is op
        op.child("part", id="part").complete()

async def end_task():
    async with tidings.operation("Task", id="task"):
        arm()

assert interrupt(end_normally) == "None"
assert interrupt(end_by_error) == "no prices"
interrupt(end_step)
loop = asyncio.new_event_loop()
assert interrupt(lambda: loop.run_until_complete(end_task())) == "None"
loop.close()
gc.collect()  # the task and the traceback of its exception are a cycle
assert RUNTIME.running == [], RUNTIME.running
assert tidings.current_operation() is None
"""


def test_interrupt_before_the_first_line_of_an_exit_leaves_the_block(reported: Reported, tmp_path: Path) -> None:
    assert run(INTERRUPTED_AT_THE_END, reported.hub.url, tmp_path, TIDINGS_QUIET="1") == (0, "")
    assert [reported.kinds(id)[-1] for id in ("normal", "error", "step", "task")] == [
        "complete",
        "failed",
        "complete",
        "complete",
    ]
    assert reported.last("error")[1]["message"] == "no prices"
