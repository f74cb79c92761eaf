"""The sampler: one thread that reads the counts of running operations, so that counting needs no clock."""

import os
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import Protocol

from tidings.client.deferring_lock import DeferringLock
from tidings.producer.diagnostics import DIAGNOSTICS

INTERVAL_S = 0.2
"""Time between two samples, in seconds. Five a second look smooth on a screen; ten cost a busy job more than 1 %."""
_MAX_IDLE_SAMPLES = 5
"""Samples without a change after which an operation sleeps until its next report: a job that waits for hours costs
nothing."""
_MAX_LOAD = 1 / 200
"""Share of the interpreter's time that sampling may take, however many operations run."""

_STOP_S = 0.5
"""Time to wait for the end of the thread, which may be calling foreign code."""


class Sampled(Protocol):
    """A running operation, as the sampler sees it."""

    def sample(self, now_s: float) -> bool:
        """Publish what changed; return whether anything did."""

    def try_sleep(self) -> bool:
        """Arrange that the next report wakes the sampler; return False if something changed in between."""


class ProgressSampler:
    """Samples the operations that are awake. Its thread starts with the first, and waits while there is none."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start empty, as in a forked child: it has no thread of its parent, and locks in an undefined state."""
        self._awake: dict[Sampled, int] = {}
        # A simple queue, because a signal handler or a finalizer may report at any time.
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._starting = DeferringLock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def watch(self, operation: Sampled) -> None:
        """Sample `operation` until it stops changing or is forgotten."""
        self._awake[operation] = 0
        if self._wake.empty():
            self._wake.put(None)
        if self._thread is None:
            self._starting.run(self._start)

    def _start(self) -> None:
        if self._thread is not None:
            return
        self._stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(self._stop,), name="tidings sampler", daemon=True)
        with suppress(RuntimeError):  # the interpreter is ending: the end of an operation reports its progress
            thread.start()
            self._thread = thread

    def forget(self, operation: Sampled) -> None:
        """Stop sampling `operation`. Takes no lock, so that a signal handler may call it."""
        self._awake.pop(operation, None)

    def stop(self) -> None:
        """End the thread: an interpreter inside a process, as of mod_wsgi, cannot end while it has one.

        The next operation that is watched starts another.
        """
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            self._stop.set()
            self._wake.put(None)
            thread.join(_STOP_S)

    def _run(self, stop: threading.Event) -> None:
        while not stop.is_set():
            self._wake.get()
            while self._awake and not stop.is_set():
                started_s = time.thread_time()
                self._sample_all()
                spent_s = time.thread_time() - started_s
                stop.wait(max(INTERVAL_S, spent_s / _MAX_LOAD))

    def _sample_all(self) -> None:
        now_s = time.monotonic()
        for operation, idle in list(self._awake.items()):
            try:
                if operation.sample(now_s):
                    self._awake[operation] = 0
                elif idle + 1 < _MAX_IDLE_SAMPLES:
                    self._awake[operation] = idle + 1
                else:
                    # In this order: the other would forget an operation that wakes up in between.
                    self._awake.pop(operation, None)
                    if not operation.try_sleep():
                        self._awake[operation] = 0
            except BaseException as error:  # foreign code must not end this thread
                DIAGNOSTICS.log_fault("sampling progress", error)
                self._awake.pop(operation, None)


SAMPLER = ProgressSampler()
"""The sampler of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SAMPLER.reset)
