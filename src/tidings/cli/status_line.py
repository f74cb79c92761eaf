"""A status line on stderr that is redrawn in place, if stderr is a terminal."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tidings.cli.errors import print_stderr
from tidings.printable import escape_lines, escape_unprintable

_FRAMES_PER_S = 4


class StatusLine:
    """A status line below printed lines; without a terminal only the printed lines appear.

    Args:
        text: Returns the status, each time it is drawn; also called on another thread.
    """

    def __init__(self, text: Callable[[], str]) -> None:
        self._text = text
        self._live: Live | None = None

    def __enter__(self) -> Self:
        console = Console(stderr=True, highlight=False)
        if console.is_terminal and not console.is_dumb_terminal:
            self._live = Live(
                get_renderable=self._draw,
                console=console,
                refresh_per_second=_FRAMES_PER_S,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _draw(self) -> Text:
        return Text(escape_unprintable(self._text()), style="dim", no_wrap=True, overflow="ellipsis")

    def print(self, text: str, hint: str = "") -> None:
        """Print a sentence, and optionally a hint, above the status line."""
        lines = [escape_lines(each) for each in (text, f"hint: {hint}" if hint else "") if each]
        if self._live is None:
            print_stderr(*lines)
            return
        for line in lines:
            self._live.console.print(Text(line), soft_wrap=True)
