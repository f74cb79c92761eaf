"""`from tidings.tqdm import tqdm`: tqdm's bar, which also tells a hub how far it is.

Arguments, methods and the bar on the terminal are tqdm's own. A bar is an operation of its description's name; within
the block of a `tidings.operation`, or within another bar, it is a part of that. With `disable=True` a bar tells
nothing; one that tqdm hides by itself, because nobody watches (`disable=None`), does. Who cancels the operation ends
the loop by `tidings.OperationCancelled`. A loop that is left early, by `break` or by an exception, is a cancelled
operation: a bar cannot see which it was; in a `with` block it can.
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
    """A bar; see the module. Takes tqdm's arguments."""

    _report: ProgressBar | None = None
    _iterating = False
    """Whether a loop runs over it, which then says how it ended; what tqdm closes meanwhile says nothing of that."""
    _entered = False
    """Whether it is in a `with` block, which knows what the loop in it does not: why it was left."""

    def __init__(
        self, iterable: Any = None, desc: Any = None, total: Any = None, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(iterable, desc, total, *arguments, **options)
        self._done: float = self.n
        if options.get("disable"):
            return
        # A bar that tqdm hides by itself keeps few of its arguments.
        unit = getattr(self, "unit", None) or options.get("unit", "it")
        self._report = ProgressBar(str(desc or ""), self.total, str(unit))
        self._tell(self.n)

    def __iter__(self) -> Iterator[Any]:
        """Iterate, counting."""
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
                self._tell(done)
        except GeneratorExit:
            if not self._entered:
                report.end(left=True)
            raise
        except BaseException as error:
            report.end(error)
            raise
        else:
            report.end()
        finally:
            self._iterating = False

    async def __anext__(self) -> Any:
        """Return the next, counting."""
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
        shown = super().update(n)
        self._tell(self._done + n if self.disable else self.n)
        return shown

    def reset(self, total: Any = None) -> None:
        """See tqdm."""
        super().reset(total)
        self._describe()
        self._tell(self.n)

    def refresh(self, *arguments: Any, **options: Any) -> Any:
        """See tqdm; whatever changes on the screen goes this way."""
        self._describe()
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
            self._end()
        super().close()

    def __del__(self) -> None:
        self._end(left=True)
        super().__del__()

    def _tell(self, n: float) -> None:
        self._done = n
        if self._report is not None:
            self._report.count(n)

    def _describe(self) -> None:
        if self._report is not None:
            title = str(getattr(self, "desc", "") or "").rstrip(": ")
            self._report.describe(total=self.total, note=str(getattr(self, "postfix", "") or ""), title=title)

    def _end(self, error: BaseException | None = None, *, left: bool = False) -> None:
        if self._report is not None:
            self._report.end(error, left=left)


def trange(*arguments: Any, **options: Any) -> tqdm:
    """Return `tqdm(range(*arguments), **options)`."""
    return tqdm(range(*arguments), **options)
