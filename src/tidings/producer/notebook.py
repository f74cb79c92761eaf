"""Display of operations in notebooks: a displayed operation stays up to date, whichever cell it continues in.

IPython is imported only when it asks for a display. Without a kernel, as in a terminal, an operation is shown once, as
text.
"""

import os
import sys
import threading
from collections import deque
from contextlib import suppress
from html import escape
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from tidings.client.deferring_lock import BoundedLock
from tidings.producer.diagnostics import DIAGNOSTICS
from tidings.producer.outcome import State
from tidings.protocol.payloads import OperationProgressData

if TYPE_CHECKING:
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

Bundle = dict[str, str]
"""Representations of one object, by MIME type."""

_REFRESH_INTERVAL_S = 0.2
"""Time between two refreshes, in seconds: people do not read faster."""
_MAX_LIVE_DISPLAYS = 32
"""Displays that are kept up to date, the newest ones."""
_COLORS = {"running": "#1976d2", "complete": "#2e7d32", "failed": "#c62828"}
_GREY = "#757575"
_UNKNOWN = "repeating-linear-gradient(45deg,{0},{0} 6px,transparent 6px,transparent 12px)"


class Displayed(Protocol):
    """The properties of an operation that a display shows; see `tidings.Operation`."""

    @property
    def name(self) -> str:
        """Name of the operation."""

    @property
    def trace_id(self) -> str:
        """Trace of its events."""

    @property
    def state(self) -> State:
        """State of the operation."""

    @property
    def percent(self) -> float | None:
        """Progress, 0–100; None if unknown."""

    @property
    def duration_s(self) -> float:
        """Time since the attempt began, in seconds."""

    @property
    def last_words(self) -> str:
        """Message of its outcome."""

    def reading(self) -> OperationProgressData:
        """Return the current progress."""


def show(operation: Displayed) -> None:
    """Display an operation in the running cell, or in a terminal; in a notebook, keep the display up to date."""
    from IPython.core.getipython import get_ipython

    shell, bundle = get_ipython(), bundle_of(operation)
    if shell is None:
        sys.stdout.write(f"{bundle['text/plain']}\n")
    elif getattr(shell, "kernel", None) is None:
        shell.display_pub.publish(bundle)
    else:
        display = _Display(operation, shell.display_pub, bundle)
        display.publish(update=False)
        _LIVE_DISPLAYS.add(display, shell)


def bundle_of(operation: Displayed) -> Bundle:
    """Return the current state of an operation, as HTML and as text."""
    return {"text/html": html(operation), "text/plain": plain(operation)}


def plain(operation: Displayed) -> str:
    """Return the current state of an operation, as one line of text."""
    return f"{operation.name}: {', '.join([_state(operation), *_details(operation)])}"


def html(operation: Displayed) -> str:
    """Return the current state of an operation, as HTML that needs no style sheet."""
    name, state = escape(operation.name), escape(_state(operation))
    details = " · ".join(map(escape, _details(operation)))
    return (
        '<div style="max-width:40em;line-height:1.6">'
        '<div style="display:flex;justify-content:space-between;gap:1em">'
        f"<strong>{name}</strong><span>{state}</span></div>"
        f"{_bar(operation)}"
        f'<div style="opacity:.75;font-size:90%">{details}</div>'
        f'<div style="opacity:.75;font-size:80%">trace {escape(operation.trace_id)}</div></div>'
    )


def _bar(operation: Displayed) -> str:
    color = _COLORS.get(operation.state, _GREY)
    percent = operation.percent
    unknown = percent is None and operation.state == "running"
    now = "" if percent is None else f' aria-valuenow="{percent:.0f}"'
    fill = _UNKNOWN.format(color) if unknown else color
    return (
        f'<div role="progressbar" aria-valuemin="0" aria-valuemax="100"{now} aria-label="{escape(operation.name)}"'
        ' style="height:6px;border-radius:3px;overflow:hidden;background:rgba(128,128,128,.25)">'
        f'<div style="height:100%;width:{100 if unknown else percent or 0:.1f}%;background:{fill}"></div></div>'
    )


def _state(operation: Displayed) -> str:
    percent = operation.percent
    return operation.state if percent is None else f"{operation.state}, {percent:.0f} %"


def _details(operation: Displayed) -> list[str]:
    progress = operation.reading()
    message = operation.last_words or progress.message or ""
    step = progress.current_step if operation.state == "running" else ""
    return [*filter(None, (step, message)), _duration(operation.duration_s)]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class _Display:
    """One display of one operation, with its current content."""

    def __init__(self, operation: Displayed, publisher: "DisplayPublisher", bundle: Bundle) -> None:
        self.operation = operation
        # The publisher of this cell: the output of another cell may be captured (`%%capture`).
        self._publisher = publisher
        self._transient = {"display_id": uuid4().hex}
        self._bundle = bundle

    @property
    def live(self) -> bool:
        """Whether the operation may still change."""
        return self.operation.state in ("new", "queued", "running")

    def refresh(self) -> None:
        """Publish the content if it changed."""
        bundle = bundle_of(self.operation)
        if bundle != self._bundle:
            self._bundle = bundle
            self.publish(update=True)

    def publish(self, *, update: bool) -> None:
        """Publish the content: as a new output, or in place of the last one."""
        self._publisher.publish(self._bundle, transient=self._transient, update=update)


class _LiveDisplays:
    """The displays that are kept up to date: by a thread while a cell runs, and immediately at the end of each cell."""

    def __init__(self) -> None:
        self._shell: InteractiveShell | None = None
        self.reset()

    def reset(self) -> None:
        """Start empty, as in a forked child: its parent shows the operations, perhaps at this moment."""
        # A front end may make a refresh wait for long. A signal handler or a finalizer may show an operation then.
        self._lock = BoundedLock()
        self._displays: deque[_Display] = deque(maxlen=_MAX_LIVE_DISPLAYS)
        self._thread: threading.Thread | None = None

    def add(self, display: _Display, shell: "InteractiveShell") -> None:
        """Keep a display up to date from now on."""
        with self._lock.guard():
            self._displays.append(display)
            if self._shell is not shell:
                self._shell = shell
                # The end of the last cell may be the end of the kernel.
                shell.events.register("post_run_cell", lambda result: self.refresh())
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="tidings display", daemon=True)
                self._thread.start()

    def refresh(self) -> bool:
        """Refresh all displays; return whether any may still change."""
        with self._lock.guard():
            for display in list(self._displays):
                live = display.live
                try:
                    display.refresh()
                except Exception as error:  # a kernel that is ending, or an error of the front end
                    DIAGNOSTICS.log_fault("updating a display", error)
                    live = False
                if not live:
                    with suppress(ValueError):
                        self._displays.remove(display)
            if not self._displays:
                self._thread = None
            return bool(self._displays)

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(_REFRESH_INTERVAL_S):
            if self._thread is not threading.current_thread() or not self.refresh():
                return  # no live display is left, or another thread has taken over


_LIVE_DISPLAYS = _LiveDisplays()
"""The live displays of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LIVE_DISPLAYS.reset)
