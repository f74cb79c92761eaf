"""The pacer: one thread that reads what running operations have counted, so that counting needs no clock."""

import os
import threading
import time
from typing import Protocol

from tidings.producer.diagnostics import DIAGNOSTICS

INTERVAL_S = 0.2
"""Between two looks. Five a second look smooth on a screen; ten cost a busy job more than 1 %."""
_IDLE_LOOKS = 5
"""After as many looks in vain an operation has to speak up first: a job that waits for hours costs nothing."""
_LARGEST_SHARE = 1 / 200
"""Of the interpreter's time that looking may take, however many operations run."""


class Sampled(Protocol):
    """Something that is looked at."""

    def look(self, now_s: float) -> bool:
        """Tell what is new; return whether anything was."""
        ...

    def doze(self) -> bool:
        """Ask to be woken by the next report; return False where there was one just now."""
        ...


class ProgressSampler:
    """Looks at what is awake; its thread begins with the first, and waits without waking while there is none."""

    def __init__(self) -> None:
        self._awake: dict[Sampled, int] = {}
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, paced: Sampled) -> None:
        """Look at `paced` until it has nothing new for a while, or is forgotten."""
        self._awake[paced] = 0
        self._wake.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="tidings pacer", daemon=True)
                    self._thread.start()

    def forget(self, paced: Sampled) -> None:
        """Look at `paced` no more. Takes no lock: a signal's handler may call it."""
        self._awake.pop(paced, None)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._awake:
                began = time.thread_time()
                self._look()
                spent_s = time.thread_time() - began
                time.sleep(max(INTERVAL_S, spent_s / _LARGEST_SHARE))

    def _look(self) -> None:
        now_s = time.monotonic()
        for paced, idle in list(self._awake.items()):
            try:
                if paced.look(now_s):
                    self._awake[paced] = 0
                elif idle + 1 < _IDLE_LOOKS:
                    self._awake[paced] = idle + 1
                else:
                    # In this order, or who wakes up in between would be forgotten.
                    self._awake.pop(paced, None)
                    if not paced.doze():
                        self._awake[paced] = 0
            except Exception as error:
                DIAGNOSTICS.fault("telling progress", error)
                self._awake.pop(paced, None)


PACER = ProgressSampler()
"""This process's."""


def _begin_anew() -> None:
    # A forked child has none of the parent's threads, and its locks as they were by chance.
    PACER.__init__()  # type: ignore[misc]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
