"""The live picture on a terminal, redrawn when it changes."""

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from tidings.cli.watch.view import ConnectionState, WatchView

FRAME_S = 0.1
"""Seconds between two pictures: as often as a person can read numbers."""
MAX_HISTORY_LINES = 20
"""Lines about what happened before the watch that are shown, if the watch begins with a snapshot."""
_MAX_KEPT_LINES = 200
"""Permanent lines that are drawn again after the terminal has changed its size."""


class LiveScreen:
    """A terminal with the view at its bottom and permanent lines above it.

    Args:
        view: State to draw.
        link: Returns the state of the connection for each picture.
        console: The terminal.
        clock: Returns the time by the hub's clock, seconds since 1970.
        note: Returns text for the status line.
    """

    def __init__(
        self,
        view: WatchView,
        link: Callable[[], ConnectionState],
        console: Console,
        clock: Callable[[], float],
        note: Callable[[], str] = lambda: "",
    ) -> None:
        self._view = view
        self._link = link
        self._console = console
        self._clock = clock
        self._note = note
        self._lines: list[Text] = []
        self._kept: deque[Text] = deque(maxlen=_MAX_KEPT_LINES)
        self._drawn: tuple[object, ...] = ()
        self._size = console.size
        self._live = self._new_live()

    def _new_live(self) -> Live:
        return Live(console=self._console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.draw()
        finally:
            self._live.stop()

    def add(self, line: Text) -> None:
        """Add a permanent line above the picture, from the next drawing on."""
        self._lines.append(line)

    def suspend(self) -> None:
        """Leave the terminal as it was, because another program uses it."""
        self._live.stop()

    def resume(self) -> None:
        """Draw on the terminal again."""
        self._live = self._new_live()
        self._live.start()
        self._drawn = ()

    def draw(self) -> None:
        """Draw the present state, if it differs from the last drawing."""
        link, now_s, note = self._link(), self._clock(), self._note()
        size = self._console.size
        state = (self._view.changes, link, size, note, now_s if self._view.animated else int(now_s))
        if state == self._drawn and not self._lines:
            return
        self._drawn = state
        lines, self._lines = self._lines, []
        self._kept.extend(lines)
        if size != self._size:
            # The terminal may have wrapped the picture or moved the cursor: nothing on it is where it was.
            self._size = size
            self._live.stop()
            self._console.clear()
            lines = list(self._kept)[-size.height :]
            self._live = self._new_live()
            self._live.start()
        if lines:
            # One call for all lines, because each print moves the picture.
            self._console.print(Group(*lines))
        picture = self._view.render(link, now_s, size.width, size.height, note=note)
        self._live.update(picture, refresh=True)
