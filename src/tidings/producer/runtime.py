"""What all operations of one process share: the ways to their hubs, and the process's end."""

import atexit
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from tidings.client.url import hub_url
from tidings.exceptions import ConfigError, TidingsError
from tidings.producer.diagnostics import DIAGNOSTICS
from tidings.producer.event_sink import EventSink, NullSink
from tidings.producer.options import is_disabled
from tidings.producer.outbox.outbox import Outbox
from tidings.producer.outcome import Cancelled, Failed, end_of
from tidings.producer.sampler import PACER
from tidings.producer.signals import REASON, UNDISTURBED, SigtermHandler

if TYPE_CHECKING:
    from tidings.producer.lifecycle import OperationLifecycle

CLOSE_S = 2.0
"""How long the end of a process may wait for its hubs, all together."""
_TERM_S = 1.0
"""Likewise after SIGTERM: supervisors kill after ten seconds or so, and the job has its own things to do."""
_NOT_FINISHED = Failed(
    code="not_finished",
    message="the program ended without saying how this operation ended",
    hint="Call `op.complete()`, or use `with tidings.operation(...)`.",
)


class ProducerRuntime:
    """The operations that run in this process, and the transports they share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._transports: dict[tuple[str, str | None], EventSink] = {}
        self._running: dict[OperationLifecycle, int] = {}
        self._registered = False
        self.termination = SigtermHandler(self._leave, self._terminate)

    def transport(self, url: str | None, token: str | None) -> tuple[EventSink, str]:
        """Return the way to a hub, and its address; operations of one address and token share it."""
        if is_disabled():
            return NullSink(), ""
        try:
            address = hub_url(url)
            with self._lock:
                transport = self._transports.get((address, token))
                if transport is None:
                    transport = self._transports[address, token] = _open(address, token)
                self._register()
            return transport, address
        except ConfigError as error:
            DIAGNOSTICS.misconfigured(error)
            return NullSink(), ""

    @property
    def running(self) -> "list[OperationLifecycle]":
        """The operations that have begun here and not ended."""
        return list(self._running)

    def began(self, operation: "OperationLifecycle") -> None:
        """Note that an operation runs; see that it ends before the process does."""
        self._running[operation] = threading.get_ident()
        self.termination.install()

    def ended(self, operation: "OperationLifecycle") -> None:
        """Note that an operation runs no more. May be called by a signal's handler."""
        PACER.forget(operation)
        self._running.pop(operation, None)
        if not self._running:
            self.termination.remove()

    def look(self) -> None:
        """Have the running operations say now what they would say when the pacer looks next."""
        now_s = time.monotonic()
        for operation in list(self._running):
            operation.look(now_s)

    def flush(self, timeout_s: float = CLOSE_S) -> int:
        """Wait until the hubs have everything; return how many events they have not."""
        deadline = time.monotonic() + timeout_s
        with UNDISTURBED:
            return sum(
                transport.flush(max(0.0, deadline - time.monotonic())) for transport in list(self._transports.values())
            )

    def close(self, timeout_s: float = CLOSE_S) -> int:
        """Likewise, and let go of the connections; the next operation makes a new one."""
        deadline = time.monotonic() + timeout_s
        with UNDISTURBED:
            transports, self._transports = list(self._transports.values()), {}
            return sum(transport.close(max(0.0, deadline - time.monotonic())) for transport in transports)

    # The end.

    def _leave(self) -> None:
        main = threading.main_thread().ident
        for operation, thread in list(self._running.items()):
            if thread == main:
                operation._end(_told_to_end(operation))

    def _terminate(self) -> None:
        for operation in list(self._running):
            operation._end(_told_to_end(operation))
        self.flush(_TERM_S)

    def _exit(self) -> None:
        end = self._unsaid_end() if self._running else _NOT_FINISHED
        for operation in list(self._running):
            operation._end(end)
        self.close()

    def _unsaid_end(self) -> Failed | Cancelled:
        """Return how operations end that the program left running: as it ended itself."""
        if self.termination.asked:
            return Cancelled(reason=REASON)
        # What a person at a prompt saw fail an hour ago is not why the session ends.
        error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        return (isinstance(error, BaseException) and end_of(error)) or _NOT_FINISHED

    def _register(self) -> None:
        if self._registered:
            return
        self._registered = True
        atexit.register(self._exit)
        util = sys.modules.get("multiprocessing.util")
        if util is not None and sys.modules["multiprocessing.process"].parent_process() is not None:
            # Its children leave by os._exit(): they run these finalizers, and nothing of atexit's.
            util.Finalize(None, self._exit, exitpriority=-1)

    def _forked(self) -> None:
        """Begin anew in a forked child: what ran in the parent is the parent's to tell."""
        UNDISTURBED.begin_anew()
        self.termination.remove()
        running, self._running = list(self._running), {}
        self._lock = threading.Lock()
        # A child of multiprocessing leaves in its own way; an outbox begins anew by itself.
        self._registered = False
        for operation in running:
            operation._silence()


def _told_to_end(operation: "OperationLifecycle") -> Cancelled:
    """Return how an operation ends by SIGTERM: as somebody wanted who had asked for its end, and may have sent it."""
    return operation._cancelling.wish or Cancelled(reason=REASON)


def _open(address: str, token: str | None) -> EventSink:
    def tell(error: TidingsError) -> None:
        DIAGNOSTICS.trouble(error, address)

    return Outbox(address, token=token, on_trouble=tell)


RUNTIME = ProducerRuntime()
"""This process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RUNTIME._forked)
