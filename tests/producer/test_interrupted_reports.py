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
assert len(RUNTIME.running) < len(made) / 10  # those interrupted at the first line of `__exit__`, which the exit ends
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
