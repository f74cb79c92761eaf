"""One line on stderr that is kept up to date, where stderr is a terminal."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tidings.cli.errors import print_stderr

_FRAMES_PER_S = 4


class StatusLine:
    """A line below what is told; on anything but a terminal there is none, and the telling goes on.

    Args:
        text: Returns it, whenever it is drawn; called on another thread, too.
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
        return Text(self._text(), style="dim", no_wrap=True, overflow="ellipsis")

    def say(self, text: str, hint: str = "") -> None:
        """Tell a sentence, and how to help it, above the line."""
        lines = [text, *([f"hint: {hint}"] if hint else [])]
        if self._live is None:
            print_stderr(*lines)
            return
        for line in lines:
            self._live.console.print(Text(line), soft_wrap=True)
