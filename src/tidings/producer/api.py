"""The entry points of a producer: `tidings.operation` and `tidings.start`."""

from typing import Unpack

from tidings.producer.operation import Operation, lifecycle_of
from tidings.producer.options import Options, Plan, settings_of


def operation(name: str, steps: Plan = (), **options: Unpack[Options]) -> Operation:
    """Return an operation that begins with its block, with `begin()` or with its first report.

    ::

        with tidings.operation("Import prices", steps=["fetch", ("parse", 3)]) as op:
            with op.step("fetch"):
                rows = fetch()
            with op.step("parse") as step:
                for row in step.track(rows, unit="rows"):
                    parse(row)

    Use `async with` in asynchronous code. `@tidings.operation("Import prices")` makes each call of a function an
    operation. A block that completes ends the operation as `complete`, and one that raises as `failed`, or as
    `cancelled` if its cancellation was requested; the exception continues.

    The job never waits for the hub, and errors in reporting never reach it. Events that cannot be sent are stored and
    sent later.

    Args:
        name: Name for people. Runs with the same name are compared with each other.
        steps: Names of the steps, or (name, weight), if they are known in advance.
        **options:
            id: Id of the operation. Default: a new one. The id of an operation that has ended starts its next attempt.
            total: Number of units that `advance` counts.
            parent: The operation, or its id, that this one is a part of. An operation passes on its hub, token, trace
                and `redact`. A part is cancelled with its parent.
            url: URL of the hub. Default: TIDINGS_URL, else ws://127.0.0.1:8765/ws.
            token: Token for the hub; or a function, asynchronous or not, that returns the present one, or None if there
                is none left. It runs on another thread. Default: TIDINGS_TOKEN, else the file that
                TIDINGS_TOKEN_FILE names, else what `tidings login` stored.
            allow_plaintext_token: Send the token over `ws://` to another machine, too.
            lease_s: Time that the hub waits for a lost producer before it fails the operation, 1–86,400 seconds.
                Default: set by the hub.
            trace_id: Trace of the events. Default: that of the current OpenTelemetry span, else of TRACEPARENT, else a
                new one.
            queued: `tidings.start` makes the operation queued; it begins with `begin()`, with its block or with its
                first report.
            resumes: Id of the operation that this one continues.
            metadata: Facts about the operation, as JSON can represent them, up to 48 KiB.
            redact: Function that receives every payload as a dictionary before it leaves the process, and returns the
                payload to send, or None for nothing. It may run on any thread. If it raises, the payload is dropped.
            on_cancel: Function of one argument, each cancel request: `reason` and `cancelled_by` are texts or None. It
                runs on another thread, and returns a reason to refuse the request, or None to stop.
            quiet: Omit the line on a terminal that shows the trace id.
    """
    return Operation(settings_of(name, steps, options))


def start(name: str, steps: Plan = (), **options: Unpack[Options]) -> Operation:
    """Begin an operation and return it, where a block does not fit, as across the cells of a notebook.

    With `queued=True` it is only queued. End it with `complete()`, `fail()` or `cancel()`, or with a `with` block that
    it enters later. An operation that the program leaves open ends with the program: failed with the exception that
    ended the program, or with `not_finished`.

    Args:
        name: See `operation`.
        steps: See `operation`.
        **options: See `operation`.
    """
    started = operation(name, steps, **options)
    lifecycle_of(started).start(queued=started.settings.queued)
    return started
