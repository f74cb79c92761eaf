"""Operations in notebooks: an operation that a cell shows stays up to date there, whichever cell it goes on in.

::

    op = tidings.start("Import prices", total=len(rows))
    op

IPython finds `show` through the operation itself; there is nothing to import. Where there is no kernel, as in a
terminal, it is shown once, as text.
"""

import sys
import threading
from collections import deque
from html import escape
from typing import TYPE_CHECKING
from uuid import uuid4

from tidings.producer.diagnostics import DIAGNOSTICS
from tidings.producer.operation import Operation

if TYPE_CHECKING:
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

Bundle = dict[str, str]
"""One thing in several forms, by MIME type."""

_TICK_S = 0.2
"""Between two looks at what is shown: faster than that, nobody reads."""
_MOST_LIVE = 32
"""Displays that are kept up to date; of more, the newest."""
_COLORS = {"running": "#1976d2", "complete": "#2e7d32", "failed": "#c62828"}
_GREY = "#757575"
_UNKNOWN = "repeating-linear-gradient(45deg,{0},{0} 6px,transparent 6px,transparent 12px)"


def show(operation: Operation) -> None:
    """Display an operation in the running cell, or in a terminal; in a notebook, keep the display up to date."""
    from IPython.core.getipython import get_ipython

    shell, bundle = get_ipython(), bundle_of(operation)
    if shell is None:
        sys.stdout.write(f"{bundle['text/plain']}\n")
    elif getattr(shell, "kernel", None) is None:
        shell.display_pub.publish(bundle)
    else:
        shown = _Display(operation, shell.display_pub, bundle)
        shown.publish(update=False)
        _BOARD.add(shown, shell)


def bundle_of(operation: Operation) -> Bundle:
    """Return an operation as it is now, as HTML and as text."""
    return {"text/html": html(operation), "text/plain": plain(operation)}


def plain(operation: Operation) -> str:
    """Return an operation as it is now, in a line."""
    return f"{operation.name}: {', '.join([_state(operation), *_details(operation)])}"


def html(operation: Operation) -> str:
    """Return an operation as it is now, as HTML that needs no style sheet."""
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


def _bar(operation: Operation) -> str:
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


def _state(operation: Operation) -> str:
    percent = operation.percent
    return operation.state if percent is None else f"{operation.state}, {percent:.0f} %"


def _details(operation: Operation) -> list[str]:
    read = operation.reading()
    said = operation.last_words or read.message or ""
    step = read.current_step if operation.state == "running" else ""
    return [*filter(None, (step, said)), _duration(operation.duration_s)]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class _Display:
    """One display of one operation, and what it shows."""

    def __init__(self, operation: Operation, publisher: "DisplayPublisher", bundle: Bundle) -> None:
        self.operation = operation
        # The cell's: another cell may have its output captured (`%%capture`), and this has nothing to do with it.
        self._publisher = publisher
        self._transient = {"display_id": uuid4().hex}
        self._bundle = bundle

    @property
    def live(self) -> bool:
        """Whether there may be something new to show."""
        return self.operation.state in ("new", "queued", "running")

    def refresh(self) -> None:
        """Show what is new."""
        bundle = bundle_of(self.operation)
        if bundle != self._bundle:
            self._bundle = bundle
            self.publish(update=True)

    def publish(self, *, update: bool) -> None:
        """Show it, for the first time or in the place of what was shown before."""
        self._publisher.publish(self._bundle, transient=self._transient, update=update)


class _Board:
    """The displays that are kept up to date: by a thread while a cell runs, and at each cell's end at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._displays: deque[_Display] = deque(maxlen=_MOST_LIVE)
        self._thread: threading.Thread | None = None
        self._heard: InteractiveShell | None = None

    def add(self, display: _Display, shell: "InteractiveShell") -> None:
        """Keep a display up to date from now on."""
        with self._lock:
            self._displays.append(display)
            if self._heard is not shell:
                self._heard = shell
                # The end of the last cell may be the end of the kernel.
                shell.events.register("post_run_cell", lambda result: self.refresh())
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="tidings display", daemon=True)
                self._thread.start()

    def refresh(self) -> bool:
        """Show what is new; return whether anything may still change."""
        with self._lock:
            for display in list(self._displays):
                live = display.live
                try:
                    display.refresh()
                except Exception as error:  # a kernel that ends, or a front end's own trouble
                    DIAGNOSTICS.fault("updating a display", error)
                    live = False
                if not live:
                    self._displays.remove(display)
            if not self._displays:
                self._thread = None
            return bool(self._displays)

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(_TICK_S):
            if self._thread is not threading.current_thread() or not self.refresh():
                return  # nothing is left to do, or another thread has begun to do it


_BOARD = _Board()
"""This process's."""
