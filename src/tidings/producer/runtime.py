"""The runtime of a process: the sinks that its operations share, and the hooks for the end of the process."""

import atexit
import os
import signal
import sys
import threading
import time
from functools import partial
from typing import Protocol

from tidings.client.tokens import Token
from tidings.client.url import resolve_hub_url
from tidings.exceptions import ConfigError, TidingsError
from tidings.producer.diagnostics import DIAGNOSTICS
from tidings.producer.event_sink import EventSink, NullSink
from tidings.producer.options import is_disabled
from tidings.producer.outbox.outbox import Outbox, call_before_restart
from tidings.producer.outcome import Cancelled, End, Failed, end_of
from tidings.producer.sampler import SAMPLER, Sampled
from tidings.producer.signals import CALLS_DEFERRED, ForkMask, TerminationHandler

CLOSE_S = 2.0
"""Time that the end of a process may wait for all of its hubs together, in seconds."""
_SIGNAL_CLOSE_S = 1.0
"""Time to wait for the hubs after SIGTERM, in seconds: supervisors kill after about ten, and the job needs some."""
_TERMINATING = [signal.Signals[name] for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_NOT_FINISHED = Failed(
    code="not_finished",
    message="the program ended without reporting how this operation ended",
    hint="Call `op.complete()`, or use `with tidings.operation(...)`.",
)


class RunningOperation(Sampled, Protocol):
    """An operation that has begun and not ended, as the runtime sees it."""

    def end(self, end: End) -> None:
        """End the operation with the outcome `end`."""

    def terminate(self, reason: str) -> None:
        """End the operation as cancelled: by a pending cancel request if there is one, else for `reason`."""

    def detach(self) -> None:
        """Become the silent copy of a forked child."""


class ProducerRuntime:
    """The running operations of this process, and the sinks that they share."""

    def __init__(self) -> None:
        self._sinks: dict[tuple[str, Token | None], EventSink] = {}
        self._running: dict[RunningOperation, int] = {}
        self._finalized = False
        self._is_worker = False
        """Whether this is a child of multiprocessing. A pool terminates its workers as soon as it has their results,
        so SIGTERM waits for the hubs even after the last operation has ended."""
        self._exited = False
        self._exit_s = CLOSE_S
        """Time that exit handlers may still wait for the hubs, in seconds."""
        self.signals = [TerminationHandler(n, self.end_main_thread, self.terminate) for n in _TERMINATING]
        """The handlers of the signals that end processes."""

    def sink(
        self, url: str | None, token: Token | None, *, allow_plaintext_token: bool = False
    ) -> tuple[EventSink, str]:
        """Return the sink for a hub, and the hub's address; operations with the same address and token share one."""
        if is_disabled():
            return NullSink(), ""
        try:
            address = resolve_hub_url(url)
            sink = self._sinks.get((address, token))
            if sink is None:  # `setdefault` is atomic; a sink that comes second has not begun anything
                opened = _open(address, token, allow_plaintext_token=allow_plaintext_token)
                sink = self._sinks.setdefault((address, token), opened)
            self._add_finalizer()
            return sink, address
        except ConfigError as error:
            DIAGNOSTICS.report_misconfiguration(error)
            return NullSink(), ""

    @property
    def running(self) -> list[RunningOperation]:
        """The operations that have begun in this process and not ended."""
        return list(self._running)

    def add(self, operation: RunningOperation) -> None:
        """Register a running operation, so that it ends before the process does."""
        self._running[operation] = threading.get_ident()
        for handler in self.signals:
            handler.install()

    def remove(self, operation: RunningOperation) -> None:
        """Unregister an operation that has ended. A signal handler may call it."""
        SAMPLER.forget(operation)
        self._running.pop(operation, None)
        if not self._running:
            if not self._is_worker:
                self._remove_handlers()
            if self._exited:
                self._close_at_exit()

    def sample(self) -> None:
        """Publish the progress of all running operations now rather than at the next sample."""
        now_s = time.monotonic()
        for operation in self.running:
            operation.sample(now_s)

    def flush(self, timeout_s: float = CLOSE_S) -> int:
        """Wait until the hubs have all events; return the number of events that they do not have."""
        deadline = time.monotonic() + timeout_s
        with CALLS_DEFERRED, CALLS_DEFERRED.region:
            return sum(sink.flush(max(0.0, deadline - time.monotonic())) for sink in list(self._sinks.values()))

    def close(self, timeout_s: float = CLOSE_S, *, patient: bool = False) -> int:
        """Flush, and close the connections; the next operation opens a new one. See `EventSink.close`."""
        deadline = time.monotonic() + timeout_s
        with CALLS_DEFERRED, CALLS_DEFERRED.region:
            sinks, self._sinks = list(self._sinks.values()), {}
            return sum(sink.close(max(0.0, deadline - time.monotonic()), patient=patient) for sink in sinks)

    # Hooks for the end of the process, and for its copy.

    def end_main_thread(self, reason: str) -> None:
        """End the operations of the main thread, which a signal's handler is leaving by an exception."""
        main = threading.main_thread().ident
        for operation, thread in list(self._running.items()):
            if thread == main:
                operation.terminate(reason)

    def terminate(self, reason: str) -> None:
        """End all operations, because a signal kills the process, and send their terminal events."""
        for operation in self.running:
            operation.terminate(reason)
        self.close(_SIGNAL_CLOSE_S)

    def exit(self) -> None:
        """End the operations that the program left running, and close.

        Exit handlers that were registered before tidings was imported run after this: the sinks are then closed
        whenever no operation is left.
        """
        end = self.end_at_exit() if self._running else _NOT_FINISHED
        for operation in self.running:
            operation.end(end)
        self._exited = True
        self._close_at_exit()

    def _close_at_exit(self) -> None:
        began_s = time.monotonic()
        SAMPLER.stop()
        self.close(self._exit_s)
        self._exit_s = max(0.0, self._exit_s - (time.monotonic() - began_s))

    def end_at_exit(self) -> Failed | Cancelled:
        """Return the outcome of operations that the program left running: the outcome of the program itself."""
        for handler in self.signals:
            if handler.received:
                return Cancelled(reason=handler.number.name)
        # An error that a person saw at a prompt an hour ago is not why the session ends.
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        return (isinstance(error, BaseException) and end_of(error)) or _NOT_FINISHED

    def _remove_handlers(self) -> None:
        for handler in self.signals:
            handler.remove()

    def reset_after_fork(self) -> None:
        """Start empty in a forked child: the parent reports the operations that run in it."""
        CALLS_DEFERRED.reset()
        self._remove_handlers()
        running, self._running = self.running, {}
        # A child of multiprocessing exits in its own way; an outbox handles a fork by itself.
        self._finalized = self._is_worker = False
        self._exited, self._exit_s = False, CLOSE_S
        for operation in running:
            operation.detach()

    def _add_finalizer(self) -> None:
        if self._finalized:
            return
        self._finalized = True
        util = sys.modules.get("multiprocessing.util")
        if util is not None and sys.modules["multiprocessing.process"].parent_process() is not None:
            self._is_worker = True
            # Children of multiprocessing leave by os._exit(), which runs these finalizers but not those of atexit.
            util.Finalize(None, self.exit, exitpriority=-1)


def _open(address: str, token: Token | None, *, allow_plaintext_token: bool) -> EventSink:
    def report_error(error: TidingsError) -> None:
        # Handlers of the job's logging run then, and must not while this thread holds the lock of an operation.
        CALLS_DEFERRED.run(partial(DIAGNOSTICS.report_error, error, address))

    return Outbox(address, token=token, allow_plaintext_token=allow_plaintext_token, on_error=report_error)


RUNTIME = ProducerRuntime()
"""The runtime of this process."""

# When tidings is imported, so that the exit handlers which a program registers after that can still report.
atexit.register(RUNTIME.exit)
call_before_restart(RUNTIME.reset_after_fork)
_FORK_MASK = ForkMask(RUNTIME.signals)
if hasattr(os, "register_at_fork"):  # after that of the outbox, which resets the runtime
    os.register_at_fork(before=_FORK_MASK.block, after_in_parent=_FORK_MASK.restore, after_in_child=_FORK_MASK.restore)
