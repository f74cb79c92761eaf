"""`from tidings.tqdm import tqdm`: the bar of tqdm, which also reports its progress to a hub.

Arguments, methods and the bar on the terminal are those of tqdm. A bar is an operation named like its description;
inside the block of a `tidings.operation`, or inside another bar, it is a part of that. With `disable=True` a bar
reports nothing; a bar that tqdm hides because stderr is not a terminal (`disable=None`) reports as usual. Cancelling
the operation ends the loop with `tidings.OperationCancelled`. A loop that is left early, by `break` or by an exception,
ends the operation as cancelled, because a bar cannot distinguish the two; in a `with` block it can.
"""

from collections.abc import Iterator
from typing import Any

from tidings.exceptions import MissingExtra
from tidings.producer.progress_bar import ProgressBar

try:
    from tqdm.auto import tqdm as _tqdm
except ModuleNotFoundError as missing:
    if missing.name is None or missing.name.partition(".")[0] != "tqdm":
        raise
    raise MissingExtra("tidings.tqdm needs tqdm, which is not installed", extra="tqdm") from missing

__all__ = ["tqdm", "trange"]


class tqdm(_tqdm):  # type: ignore[misc]
    """A tqdm bar that reports its progress. Takes the arguments of tqdm; see the module."""

    _report: ProgressBar | None = None
    _iterating = False
    """Whether a loop runs over the bar. The loop then reports how it ended; `close`, which tqdm calls, does not."""
    _entered = False
    """Whether the bar is in a `with` block, which receives the exception that leaves the loop."""

    def __init__(
        self, iterable: Any = None, desc: Any = None, total: Any = None, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(iterable, desc, total, *arguments, **options)
        self._done: float = self.n
        self._seen: float = self.n
        """The attribute `n` as tqdm left it; another value is the program's."""
        if options.get("disable"):
            return
        # A bar that tqdm hides keeps few of its arguments.
        unit = getattr(self, "unit", None) or options.get("unit", "it")
        self._report = ProgressBar(desc or "", self.total, unit)
        self._count(self.n)

    def __iter__(self) -> Iterator[Any]:
        """Iterate and count."""
        report = self._report
        if report is None or report.shared is None:
            yield from super().__iter__()
            return
        shared, done = report.shared, self._done
        self._iterating = True
        try:
            for row in super().__iter__():
                if shared.alert:
                    shared.attend(True)
                yield row
                done += 1
                self._count(done)
        except GeneratorExit:
            if not self._entered:
                self._end(left=True)
            raise
        except BaseException as error:
            self._end(error)
            raise
        else:
            self._end()
        finally:
            self._iterating = False

    async def __anext__(self) -> Any:
        """Return the next row and count it."""
        self._iterating = True
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            self._end()
            raise
        except BaseException as error:
            self._end(error)
            raise
        finally:
            self._iterating = False

    def update(self, n: Any = 1) -> Any:
        """See tqdm."""
        self._read_n()
        shown = super().update(n)
        self._count(self._done + n if self.disable else self.n)
        self._seen = self.n
        return shown

    def reset(self, total: Any = None) -> None:
        """See tqdm."""
        super().reset(total)
        self._describe()
        self._count(self.n)
        self._seen = self.n

    def refresh(self, *arguments: Any, **options: Any) -> Any:
        """See tqdm; it calls this for every change on the screen."""
        self._describe()
        self._read_n()
        return super().refresh(*arguments, **options)

    def __enter__(self) -> Any:
        """See tqdm."""
        self._entered = True
        return super().__enter__()

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> Any:
        self._end(error)
        return super().__exit__(kind, error, traceback)

    def close(self) -> None:
        """See tqdm."""
        if not self._iterating:
            self._read_n()
            self._end()
        super().close()

    def __del__(self) -> None:
        self._end(left=True)
        super().__del__()

    def _count(self, n: float) -> None:
        self._done = n
        if self._report is not None:
            self._report.count(n)

    def _read_n(self) -> None:
        """Count what the program has assigned to `n`, as tqdm documents it (`bar.n = 40; bar.refresh()`)."""
        n = getattr(self, "n", 0)
        if n != getattr(self, "_seen", n):
            self._seen = n
            self._count(n)

    def _describe(self) -> None:
        if self._report is not None:
            # A bar that tqdm hides has no `desc` until the program sets one.
            title, note = getattr(self, "desc", None), getattr(self, "postfix", "")
            self._report.describe(total=self.total, note=note or "", title=title)

    def _end(self, error: BaseException | None = None, *, left: bool = False) -> None:
        if self._report is not None:
            self._describe()  # what the program has set with `refresh=False`
            self._report.end(error, left=left)


def trange(*arguments: Any, **options: Any) -> tqdm:
    """Return `tqdm(range(*arguments), **options)`."""
    return tqdm(range(*arguments), **options)
