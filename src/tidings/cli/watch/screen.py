"""The live picture on a terminal, redrawn when it changes."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from tidings.cli.watch.view import ConnectionState, WatchView

FRAME_S = 0.1
"""Seconds between two pictures: as often as a person can read numbers."""


class LiveScreen:
    """A terminal with the view at its bottom and permanent lines above it.

    Args:
        view: State to draw.
        link: Returns the state of the connection for each picture.
        console: The terminal.
    """

    def __init__(self, view: WatchView, link: Callable[[], ConnectionState], console: Console) -> None:
        self._view = view
        self._link = link
        self._console = console
        self._lines: list[Text] = []
        self._drawn: tuple[object, ...] = ()
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.draw()
        self._live.stop()

    def add(self, line: Text) -> None:
        """Add a permanent line above the picture, from the next drawing on."""
        self._lines.append(line)

    def draw(self) -> None:
        """Draw the present state, if it differs from the last drawing."""
        link, now_s, size = self._link(), time.time(), self._console.size
        state = (self._view.changes, link, size, now_s if self._view.animated else int(now_s))
        if state == self._drawn and not self._lines:
            return
        self._drawn = state
        if self._lines:
            # One call for all lines, because each print moves the picture.
            lines, self._lines = self._lines, []
            self._console.print(Group(*lines))
        self._live.update(self._view.render(link, now_s, size.width, size.height), refresh=True)
