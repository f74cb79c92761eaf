"""The producer's two words: `tidings.operation` and `tidings.start`."""

from typing import Unpack

from tidings.producer.operation import Operation
from tidings.producer.options import Options, Plan, settings_of


def operation(name: str, steps: Plan = (), **options: Unpack[Options]) -> Operation:
    """Return an operation that begins when its block does.

    ::

        with tidings.operation("Import prices", steps=["fetch", ("parse", 3)]) as op:
            with op.step("fetch"):
                rows = fetch()
            with op.step("parse") as step:
                for row in step.track(rows, unit="rows"):
                    parse(row)

    Use `async with` in asynchronous code, and `@tidings.operation("Import prices")` for a function of which every call
    is an operation. Left by an exception, the block is `operation:failed` or, where somebody wanted it to end,
    `operation:cancelled`, and the exception passes on; otherwise it is `operation:complete`.

    The job never waits for the hub, and no fault in reporting reaches it: what cannot be sent is kept and sent later.

    Args:
        name: What a person calls it; runs of one name are compared with each other.
        steps: The names of its steps, or (name, weight), where they are known beforehand.
        **options:
            id: Its id; by default a new one. One that has ended begins its next attempt.
            total: How much `advance` has to count.
            parent: The operation, or the id of one, that this is a part of: it has its hub, token, trace and `redact`
                from it, and is cancelled with it.
            url: Where the hub is; by default the variable TIDINGS_URL, else ws://127.0.0.1:8765/ws.
            token: What the hub knows us by; by default the variable TIDINGS_TOKEN.
            lease_s: How long the hub waits for a producer that is gone, 1–86,400 seconds; by default the hub's own.
            trace_id: By default that of OpenTelemetry's current span, of the variable TRACEPARENT, or a new one.
            queued: Whether it is only accepted yet; it begins with `begin()`, with its block, or with its first report.
            resumes: The id of the operation that it takes up again.
            metadata: Facts about it, as JSON can hold them, up to 48 KiB.
            redact: Called with every payload, as a dictionary, before it leaves the process; returns what may leave, or
                None for nothing. It may run on other threads than the job's. Where it raises, the payload is dropped.
            on_cancel: Called, on another thread, when somebody asks the job to stop; returns why it will not, or None.
            quiet: Whether to leave out the line that shows the trace id at a terminal.
    """
    return Operation(settings_of(name, steps, options))


def start(name: str, steps: Plan = (), **options: Unpack[Options]) -> Operation:
    """Begin an operation where no block fits, as across the cells of a notebook, and return it; see `operation`.

    Its end must be said: `complete()`, `fail()` or `cancel()`, or the end of a `with` block that it enters later. What
    the program leaves unsaid ends with it: failed with the exception that ended the program, or with `not_finished`.
    """
    begun = operation(name, steps, **options)
    begun._begin()
    return begun
