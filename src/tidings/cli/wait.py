"""The command `tidings wait`.

What can be waited for.

Waiting for an operation over HTTP, through restarts of the hub and before its beginning.
"""

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from tidings.cli.errors import ExitCode, exit_codes_epilog, print_stderr
from tidings.cli.options import UrlOption, parse_duration_option
from tidings.client.http import HTTPClient
from tidings.exceptions import CommandRefused, HubUnreachable, OperationUnknown, TidingsError
from tidings.operations.lifecycle import OperationState
from tidings.operations.views import OperationDetail


class Until(StrEnum):
    """What an operation is to come to."""

    COMPLETE = "complete"
    """It ended well."""
    ENDED = "ended"
    """It ended, however."""
    RUNNING = "running"
    """It has begun; if it ran and ended meanwhile, then how it ended counts."""

    def reached(self, state: OperationState) -> ExitCode | None:
        """Return the exit code for an operation in `state`, None where it is to be waited for."""
        if state is OperationState.QUEUED:
            return None
        if state is OperationState.RUNNING:
            return ExitCode.SUCCESS if self is Until.RUNNING else None
        if state is OperationState.COMPLETE or self is Until.ENDED:
            return ExitCode.SUCCESS
        return ExitCode.FAILED if state is OperationState.FAILED else ExitCode.CANCELLED


EPILOG = exit_codes_epilog(
    ExitCode.SUCCESS,
    ExitCode.FAILED,
    ExitCode.CANCELLED,
    ExitCode.TIMED_OUT,
    ExitCode.UNKNOWN_OPERATION,
    ExitCode.NO_HUB,
)
_CENTURY_S = 36_525 * 86_400.0


def wait(
    id: Annotated[str, typer.Argument(metavar="ID", help="The operation's.", show_default=False)],
    until: Annotated[
        Until, typer.Option(help="What to wait for; `ended` is well however it ends, `running` once it has begun.")
    ] = Until.COMPLETE,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="For so long at most. Default: for ever.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but with the exit code.")] = False,
    url: UrlOption = None,
) -> None:
    """Wait until an operation has ended, and say with the exit code how.

    It may not have begun yet, and the hub may restart meanwhile.
    """
    timeout_s = None if timeout is None else parse_duration_option("timeout", timeout, 0.0, _CENTURY_S)
    from tidings.cli.operation.summary import summarize

    with HTTPClient(url) as api:
        waiting = OperationWait(api, id, until, remark=lambda text: None if quiet else print_stderr(f"tidings: {text}"))
        code = waiting.wait(timeout_s)
    if not quiet:
        within = "" if timeout is None else f" within {timeout}"
        if code is ExitCode.TIMED_OUT:
            print_stderr(f"error: {id!r} has not come to {until}{within}", waiting.trouble or None)
        elif code in (ExitCode.UNKNOWN_OPERATION, ExitCode.NO_HUB):
            print_stderr(f"error: {waiting.trouble}{within}")
        if waiting.operation is not None:
            typer.echo(summarize(waiting.operation, time.time()))
    raise typer.Exit(code)


_ONE_WAIT_S = 30.0
"""Of one request: proxies cut those that wait much longer."""
_LOOK_S = 0.25
"""Between two looks at an operation whose beginning is waited for, which no request waits for."""
_LEAST_AGAIN_S, _MOST_AGAIN_S = 0.1, 2.0
"""Between two tries to reach a hub that is away."""


class OperationWait:
    """One wait.

    Args:
        api: The hub.
        operation_id: Which operation.
        until: What it is to come to.
        remark: Told what the wait is held up by, once for each kind.
        clock: Seconds from a monotonic clock.
        sleep: Waits for so many seconds.
    """

    def __init__(
        self,
        api: HTTPClient,
        operation_id: str,
        until: Until,
        *,
        remark: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api
        self._id = operation_id
        self._until = until
        self._remark = remark
        self._remarked: set[ExitCode] = set()
        self._clock = clock
        self._sleep = sleep
        self._again_s = _LEAST_AGAIN_S
        self._over = ExitCode.TIMED_OUT
        self.operation: OperationDetail | None = None
        """What was heard of it last."""
        self.trouble = ""
        """What stood in the way last, in words."""

    def wait(self, timeout_s: float | None) -> ExitCode:
        """Wait, and return how it ended.

        Args:
            timeout_s: For how long at most; 0 looks once, None is for ever.

        Raises:
            CommandRefused: The hub will not say, and will not change its mind.
            NotAHub: Something else answers.
        """
        deadline = None if timeout_s is None else self._clock() + timeout_s
        # The first look does not wait: what holds the wait up is said at once.
        wait_s = 0.0
        while True:
            left_s = _ONE_WAIT_S if deadline is None else max(0.0, deadline - self._clock())
            began = self._clock()
            code = self._look(min(wait_s, left_s))
            if code is not None:
                return code
            if deadline is not None and self._clock() >= deadline:
                return self._over
            pause_s = self._pause_s(self._clock() - began) if wait_s else 0.0
            wait_s = _ONE_WAIT_S
            self._sleep(pause_s if deadline is None else min(pause_s, max(0.0, deadline - self._clock())))

    def _look(self, wait_s: float) -> ExitCode | None:
        """Ask the hub once; return the exit code where nothing is left to wait for."""
        try:
            operation = self._api.operation(self._id, wait_s=0.0 if self._until is Until.RUNNING else wait_s)
        except OperationUnknown as error:
            self._hold_up(error, ExitCode.UNKNOWN_OPERATION, f"there is no operation {self._id!r} yet; waiting for it")
        except HubUnreachable as error:
            self._hold_up(error, ExitCode.NO_HUB, f"{error}; waiting for it")
        except CommandRefused as error:
            if not error.recoverable:
                raise
            self._hold_up(error, ExitCode.NO_HUB, f"{error}; waiting for it")
        else:
            self.operation, self.trouble, self._over = operation, "", ExitCode.TIMED_OUT
            self._again_s = _LEAST_AGAIN_S
            return self._until.reached(operation.state)
        return None

    def _hold_up(self, error: TidingsError, over: ExitCode, remark: str) -> None:
        self.trouble = str(error)
        # Of what was seen once, the time is over and not its existence in doubt: a hub may forget at a restart.
        self._over = over if self.operation is None else ExitCode.TIMED_OUT
        if over not in self._remarked:
            self._remarked.add(over)
            self._remark(remark)

    def _pause_s(self, took_s: float) -> float:
        """Return how long to wait before the next look: not at all after one that has waited itself."""
        if self.trouble:
            self._again_s = min(2 * self._again_s, _MOST_AGAIN_S)
            return max(0.0, self._again_s - took_s)
        return max(0.0, _LOOK_S - took_s)
