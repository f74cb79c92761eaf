"""The command `tidings wait`: waits over HTTP, through restarts of the hub and before the operation begins."""

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer

from tidings.cli.errors import FAILED, ExitCode, exit_codes_epilog, exit_on_error, print_error, print_stderr
from tidings.cli.options import UrlOption, parse_duration_option
from tidings.cli.resolve import LastOption, OperationArgument, resolve_id
from tidings.cli.summary import summarize
from tidings.client.http import HTTPClient
from tidings.exceptions import (
    AccessError,
    ClientError,
    CommandRefused,
    HubUnreachable,
    OperationUnknown,
    TidingsError,
    TokenUnavailable,
)
from tidings.operations.lifecycle import OperationState
from tidings.operations.views import OperationDetail
from tidings.protocol.codes import row_of

_CENTURY_S = 36_525 * 86_400.0
EPILOG = exit_codes_epilog(
    ExitCode.FAILED,
    ExitCode.CANCELLED,
    ExitCode.TIMED_OUT,
    ExitCode.UNKNOWN_OPERATION,
    ExitCode.NO_HUB,
    failed="the hub lost the operation; or another error",
)


class Until(StrEnum):
    """The condition to wait for."""

    COMPLETE = "complete"
    """The operation ended successfully."""
    ENDED = "ended"
    """The operation ended, in any state."""
    RUNNING = "running"
    """The operation began; if it has ended since, its end state counts."""

    def find_exit_code(self, state: OperationState) -> ExitCode | None:
        """Return the exit code for an operation in `state`, None to continue waiting."""
        if state is OperationState.QUEUED:
            return None
        if state is OperationState.RUNNING:
            return ExitCode.SUCCESS if self is Until.RUNNING else None
        if state is OperationState.COMPLETE or self is Until.ENDED:
            return ExitCode.SUCCESS
        return ExitCode.FAILED if state is OperationState.FAILED else ExitCode.CANCELLED


def wait(
    id: OperationArgument = None,
    last: LastOption = False,
    until: Annotated[
        Until,
        typer.Option(
            metavar="|".join(Until), help="Condition: `ended` accepts any end, `running` waits for the start only."
        ),
    ] = Until.COMPLETE,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Maximum time to wait. Default: no limit.", show_default=False)
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing; only set the exit code.")] = False,
    url: UrlOption = None,
) -> None:
    """Wait for the end of an operation; the exit code is its outcome.

    The operation may begin later, and the hub may restart in between. If it loses the operation, the exit code is 1.
    """
    timeout_s = None if timeout is None else parse_duration_option("timeout", timeout, 0.0, _CENTURY_S)
    with HTTPClient(url) as client:
        text = _read_text(client, id, last=last)
        waiting = OperationWait(
            client, text, until, report=lambda line: None if quiet else print_stderr(f"tidings: {line}")
        )
        code = waiting.wait(timeout_s)
    if not quiet:
        within = "" if timeout is None else f" within {timeout}"
        if code == FAILED:
            print_error(lost_error(text))
            raise typer.Exit(code)
        if code is ExitCode.TIMED_OUT:
            print_stderr(f"error: operation {text!r} did not reach {until}{within}", waiting.obstacle or None)
        elif code in (ExitCode.UNKNOWN_OPERATION, ExitCode.NO_HUB):
            print_stderr(f"error: {waiting.obstacle}{within}")
        if waiting.operation is not None:
            typer.echo(summarize(waiting.operation, time.time()))
    raise typer.Exit(code)


def _read_text(client: HTTPClient, id: str | None, *, last: bool) -> str:
    """Return the text to wait for; the operation that it names may begin later."""
    if id is not None and not last:
        return id
    with exit_on_error():
        return resolve_id(client, id, last=last)


_REQUEST_WAIT_S = 30.0
"""Time that one request waits: proxies cut requests that wait much longer."""
_UNKNOWN_WAIT_S = 2.0
"""Time that one request waits while the operation is unknown, or after a lost connection: it may begin with this name
and not with this id, or a restarted hub may have lost it."""
_POLL_S = 0.25
"""Interval between polls for the start of an operation, because no request waits for a start."""
_MIN_RETRY_S, _MAX_RETRY_S = 0.1, 2.0
"""Delay between attempts to reach an unreachable hub; it doubles from the first to the second."""


LOST_AFTER_S = 20.0
"""Time after which an operation that the hub had, and no longer has, is lost. A producer that is alive reconnects after
at most 15 s, and its next event restores the operation."""


def lost_error(operation: str) -> ClientError:
    """Return the error for an operation that the hub had, and no longer has."""
    return ClientError(
        f"the hub no longer has operation {operation!r}: it may have restarted without its log",
        hint="Run `tidings serve` without --memory, so that operations survive a restart.",
    )


def lost_note(operation: str) -> str:
    """Return the line that is printed when the hub is first found without the operation."""
    return f"the hub no longer has operation {operation!r}; waiting {LOST_AFTER_S:.0f} s for its producer"


class OperationWait:
    """Waits for one operation.

    Args:
        client: HTTP client of the hub.
        text: The operation, as `resolve_id` reads it.
        until: Condition to wait for.
        report: Receives the reason of a delay, once for each kind.
        clock: Returns seconds from a monotonic clock.
        sleep: Sleeps for a number of seconds.
    """

    def __init__(
        self,
        client: HTTPClient,
        text: str,
        until: Until,
        *,
        report: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._text = text
        self._id: str | None = None
        """Id of the operation, once it is known."""
        self._until = until
        self._report = report
        self._reported: set[str] = set()
        self._clock = clock
        self._sleep = sleep
        self._retry_s = _MIN_RETRY_S
        self._timeout_code = ExitCode.TIMED_OUT
        self._lost_at: float | None = None
        """Time at which the hub was first found without the operation, after it had it."""
        self.operation: OperationDetail | None = None
        """Newest details of the operation."""
        self.obstacle = ""
        """Error of the last poll; empty after a success."""

    def wait(self, timeout_s: float | None) -> int:
        """Wait, and return the exit code: an `ExitCode`, or `FAILED` if the hub has lost the operation.

        Args:
            timeout_s: Maximum time to wait, in seconds; 0 polls once, None waits without limit.

        Raises:
            CommandRefused: The hub refuses permanently.
            AccessError: The hub refuses the token, or the subject has no grant.
            NotAHub: Something else answers.
        """
        deadline = None if timeout_s is None else self._clock() + timeout_s
        # The first poll does not wait, so that an obstacle is reported immediately.
        wait_s = 0.0
        while True:
            left_s = _REQUEST_WAIT_S if deadline is None else max(0.0, deadline - self._clock())
            began = self._clock()
            code = self._poll(min(wait_s, left_s))
            if code is not None:
                return code
            if deadline is not None and self._clock() >= deadline:
                return self._timeout_code
            pause_s = self._pause_s(self._clock() - began) if wait_s else 0.0
            wait_s = _REQUEST_WAIT_S
            self._sleep(pause_s if deadline is None else min(pause_s, max(0.0, deadline - self._clock())))

    def _poll(self, wait_s: float) -> int | None:
        """Ask the hub once; return the exit code if the wait is over."""
        try:
            # Until the operation exists, the text may become the name or the beginning of the id of another.
            id = self._id or resolve_id(self._client, self._text, acts=True)
            wait_s = wait_s if self._id is not None and not self.obstacle else min(wait_s, _UNKNOWN_WAIT_S)
            operation = self._client.operation(id, wait_s=0.0 if self._until is Until.RUNNING else wait_s)
            self._id = id
        except OperationUnknown as error:
            missing = f"there is no operation {self._text!r} yet; waiting for it"
            if self.operation is not None:
                self._lost_at = self._clock() if self._lost_at is None else self._lost_at
                if self._clock() - self._lost_at >= LOST_AFTER_S:
                    return FAILED
                missing = lost_note(self._text)
            self._note_obstacle(error, ExitCode.UNKNOWN_OPERATION, missing)
        except HubUnreachable as error:
            self._note_obstacle(error, ExitCode.NO_HUB, f"{error}; waiting for it")
        except (CommandRefused, AccessError, TokenUnavailable) as error:
            recoverable = error.recoverable if isinstance(error, CommandRefused) else row_of(error).recoverable
            if not recoverable:
                raise
            self._note_obstacle(error, ExitCode.NO_HUB, f"{error}; waiting for it")
        else:
            self.operation, self.obstacle, self._timeout_code = operation, "", ExitCode.TIMED_OUT
            self._retry_s, self._lost_at = _MIN_RETRY_S, None
            return self._until.find_exit_code(operation.state)
        return None

    def _note_obstacle(self, error: TidingsError, timeout_code: ExitCode, text: str) -> None:
        self.obstacle = str(error)
        # An operation that was seen once does exist: the hub may have lost it in a restart.
        self._timeout_code = timeout_code if self.operation is None else ExitCode.TIMED_OUT
        if text not in self._reported:
            self._reported.add(text)
            self._report(text)

    def _pause_s(self, took_s: float) -> float:
        """Return the time to wait before the next poll: none after a request that waited itself."""
        if self.obstacle:
            self._retry_s = min(2 * self._retry_s, _MAX_RETRY_S)
            return max(0.0, self._retry_s - took_s)
        return max(0.0, _POLL_S - took_s)
