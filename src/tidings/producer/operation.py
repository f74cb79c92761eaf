"""`tidings.operation`: a job says what it does, and is neither held up nor broken by saying it."""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import Token
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from tidings.client.ids import uuid7
from tidings.contract.commands import CancelAnswer, CancelPush
from tidings.contract.envelope import check_trace_id
from tidings.contract.paths import check_key
from tidings.exceptions import ContractError
from tidings.producer.bounded import text
from tidings.producer.cancelling import Cancelling
from tidings.producer.current import CURRENT
from tidings.producer.decorate import decorate
from tidings.producer.failure import Cancelled, Failed, end_of, failure_of
from tidings.producer.pacer import PACER
from tidings.producer.process import PROCESS
from tidings.producer.progress import Gauge
from tidings.producer.pulse import Pulse
from tidings.producer.quietly import REMARKS, quietly
from tidings.producer.scope import Plan, Scope
from tidings.producer.settings import Options, Settings, settings_of
from tidings.producer.tracing import current_trace_id
from tidings.producer.voice import Completed, End, State, Voice, state_after

logger = logging.getLogger(__name__)
F = TypeVar("F", bound=Callable[..., Any])

_HURRY_S = 0.01
"""Between two progress events about steps that begin: steps are shown even where they are short, within reason."""


class Operation(Scope):
    """One piece of work that somebody may be waiting for. Made by `tidings.operation` and `tidings.start`.

    Use it as a block (`with`, `async with`), as a decorator, or without either. It begins when its block does; entered
    again after its end, it is the next attempt of the same operation. Nothing here raises but OperationCancelled, and
    nothing waits for the hub. Safe to use from many threads; a forked child's copy is silent.
    """

    def __init__(self, settings: Settings) -> None:
        pulse = Pulse(self._attend, self._hurry)
        super().__init__(pulse, total=settings.total, steps=settings.steps)
        self.settings = settings
        """What was said of it before it began."""
        self._id = _key_or_new(settings.id)
        self._gauge = Gauge(self, self._id)
        self._voice = Voice(self._id, settings.redact)
        self._voice.trace_id = _trace_or_none(settings.trace_id)
        self._cancelling = Cancelling(settings.on_cancel)
        self._state: State = "new"
        self._began_s = self._hurried_s = 0.0
        self._outer: Token[Operation | None] | None = None
        self._last_words: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        percent = self.percent
        share = "" if percent is None else f" {percent:.0f} %"
        return f"<Operation {self.name!r} {self._state}{share} id={self._id}>"

    # What it is.

    @property
    def id(self) -> str:
        """The operation's id: what lists, links and `tidings cancel` know it by."""
        return self._id

    @property
    def name(self) -> str:
        """What a person calls it."""
        return text(self.settings.name)

    @property
    def trace_id(self) -> str:
        """The trace that its events belong to."""
        if not self._voice.trace_id:
            self._voice.trace_id = current_trace_id()
        return self._voice.trace_id

    @property
    def state(self) -> State:
        """Where it is."""
        return self._state

    @property
    def percent(self) -> float | None:
        """How far it is, 0–100; None where nobody knows."""
        with self._pulse.lock:
            return 100.0 if self._state == "complete" else self._gauge.percent

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled, or somebody asks the job to stop."""
        return self._state == "cancelled" or self._cancelling.wish is not None

    @property
    def cancel_reason(self) -> str:
        """Why somebody asks the job to stop, or ""."""
        wish = self._cancelling.wish
        return "" if wish is None else wish.reason

    # What it says, beside what every scope does.

    def progress(self, percent: float | None = None, message: str | None = None, *, step: str | None = None) -> None:
        """Say how far the whole is, and what it is at.

        Args:
            percent: 0–100; what is outside is cut off. None leaves it as it was.
            message: A line for people; None leaves it as it was.
            step: The name of the step it is at, where no `step()` says so.

        Raises:
            OperationCancelled: Somebody cancels the operation; once in each thread.
        """
        if step is not None:
            self._gauge.step = text(step)
        super().progress(percent, message)

    @quietly
    def log(self, message: object, level: str | int = "info") -> None:
        """Add a line to the operation's log.

        Args:
            message: The line.
            level: `debug`, `info`, `warning`, `error` or `critical`, or the number that `logging` has for it.
        """
        self.begin()
        with self._pulse.lock:
            if self._is_live("log"):
                self._voice.log(message, level)

    @quietly
    def begin(self) -> None:
        """Begin it, where no block does; of a queued one say that its turn has come."""
        with self._pulse.lock:
            if self._state == "queued":
                self._start(queued=False)

    def complete(self, result: Any = None, message: str | None = None) -> None:
        """End it well. What JSON cannot hold of `result` becomes text, and what is over 48 KiB is left out."""
        self._end(Completed(result=result, message=None if message is None else text(message)))

    def fail(
        self,
        error: BaseException | str,
        message: str | None = None,
        *,
        details: str | None = None,
        recoverable: bool | None = None,
        hint: str | None = None,
    ) -> None:
        """End it badly.

        Args:
            error: What happened, as an exception or as a code of your own.
            message: In a sentence; by default the exception's.
            details: More for a log; by default the end of the exception's traceback.
            recoverable: Whether trying again may help.
            hint: What to do about it.
        """
        if isinstance(error, BaseException):
            known = failure_of(error)
        else:
            known = Failed(code=text(error, 128) or "error", message=text(message or error))
        self._end(
            Failed(
                code=known.code,
                message=known.message if message is None else text(message),
                details=known.details if details is None else text(details, 8_000),
                recoverable=known.recoverable if recoverable is None else bool(recoverable),
                hint=known.hint if hint is None else text(hint),
            )
        )

    def cancel(self, reason: str = "", *, cancelled_by: str | None = None) -> None:
        """End it because the job itself, or who started it, wants that. To stop another's, see `Client.cancel`.

        Args:
            reason: Why.
            cancelled_by: Who wanted it, where that was somebody else.
        """
        who = None if cancelled_by is None else text(cancelled_by, 1_000)
        self._end(Cancelled(reason=text(reason, 1_000), cancelled_by=who))

    def before_end(self, say: Callable[[], None]) -> None:
        """Have `say` called once, when this attempt ends, while it can still report.

        It is called on whichever thread ends the operation, perhaps by a signal's handler, and must not wait.
        """
        self._last_words.append(say)

    def child(self, name: str, steps: Plan = (), **options: Unpack[Options]) -> "Operation":
        """Return an operation that is a part of this one; see `tidings.operation` for the options."""
        options["parent"] = self
        return Operation(settings_of(name, steps, options))

    # As a block, and as a decorator.

    def __enter__(self) -> Self:
        if self._state == "queued":
            self.begin()
        else:
            self._begin()
        self._outer = CURRENT.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._outer is not None:
            with suppress(ValueError):  # the block was left in another context, as by a generator's finalizer
                CURRENT.reset(self._outer)
            self._outer = None
        self._leave(error)

    async def __aenter__(self) -> Self:
        self._cancelling.enter_task()
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the block.

        Raises:
            OperationCancelled: The body was cancelled because somebody cancelled the operation, and for no other
                reason: as `asyncio.timeout` raises TimeoutError then. Otherwise CancelledError passes.
        """
        ours_alone = self._cancelling.leave_task()
        self.__exit__(kind, error, traceback)
        if ours_alone and isinstance(error, asyncio.CancelledError):
            raise self._cancelling.exception() from error

    def __call__(self, function: F) -> F:
        """Return `function` so that each call is an operation with these arguments; for `@tidings.operation(…)`."""
        return decorate(lambda: Operation(self.settings), function)

    # Its life.

    @quietly
    def _begin(self) -> None:
        with self._pulse.lock:
            if self._state in ("queued", "running"):
                return
            if self._state != "new":
                self._reset()
                self._cancelling.begin_anew()
                self._gauge.begin_anew()
            self._pulse.alert = True
            settings = self.settings
            self._voice.transport, address = PROCESS.transport(settings.url, settings.token)
            self._voice.trace_id = self.trace_id
            self._voice.hold(settings.lease_s, self._asked_to_cancel)
            self._start(queued=settings.queued)
            PROCESS.began(self)
        if address and settings.parent_id is None and not settings.quiet:
            REMARKS.started(self.name, self.trace_id, address)

    def _start(self, *, queued: bool) -> None:
        self._state = "queued" if queued else "running"
        self._began_s = time.monotonic()
        self._voice.start(self.settings, queued=queued, steps=list(self._plan))

    def _leave(self, error: BaseException | None) -> None:
        if self._state in ("queued", "running"):
            self._end(Completed() if error is None else self._end_of(error))

    def _end_of(self, error: BaseException) -> End:
        end = end_of(error) or Completed()
        wish = self._cancelling.wish
        return wish if wish is not None and isinstance(end, Cancelled) else end

    @quietly
    def _end(self, end: End) -> None:
        with self._pulse.lock:
            if self._state == "queued" and not isinstance(end, Cancelled):
                self._start(queued=False)
            if not self._is_live("end"):
                return
            if self._state == "running":
                self._tell(time.monotonic())
            self._say_last_words()
            self._state = state_after(end)
            self._pulse.alert = False
            self._voice.end(end, time.monotonic() - self._began_s)
            self._voice.release()
        PROCESS.ended(self)

    def _say_last_words(self) -> None:
        words, self._last_words = self._last_words, []
        for say in words:
            try:
                say()
            except Exception as error:
                REMARKS.fault("before_end", error)

    def _is_live(self, what: str) -> bool:
        live = self._state in ("queued", "running")
        if not live:
            logger.debug("%s after the end of operation %s, which is %s", what, self._id, self._state)
        return live

    def _silence(self) -> None:
        """Be a forked child's copy: the parent tells."""
        self._pulse.lock = threading.RLock()
        self._pulse.alert = False
        self._state = "inherited"

    def _asked_to_cancel(self, push: CancelPush) -> CancelAnswer:
        # On the outbox's thread, which must not wait for a lock that others hold while they wait for the outbox.
        answer = self._cancelling.ask(push)
        if self._cancelling.wish is not None:
            self._pulse.alert = True
        return answer

    # The pacer's side, and its reports'.

    def look(self, now_s: float) -> bool:
        """See `tidings.producer.pacer.Paced`."""
        with self._pulse.lock:
            return self._state == "running" and self._tell(now_s)

    def doze(self) -> bool:
        """See `tidings.producer.pacer.Paced`."""
        with self._pulse.lock:
            if self._state != "running":
                return True
            self._pulse.alert = True
            if not self._gauge.has_news():
                return True
            self._arm()
            return False

    def _tell(self, now_s: float) -> bool:
        payload = self._gauge.take(now_s)
        if payload is not None:
            self._voice.progress(payload)
        return payload is not None

    def _arm(self) -> None:
        self._pulse.alert = False
        if self._cancelling.wish is not None:
            self._pulse.alert = True

    def _attend(self, at_loop: bool) -> None:
        if self._state == "queued":
            self.begin()
        if self._state != "running":
            self._pulse.alert = False
            return
        self._arm()
        PACER.watch(self)
        if self._cancelling.wish is not None:
            self._cancelling.tell(at_loop)

    def _hurry(self) -> None:
        now_s = time.monotonic()
        if now_s - self._hurried_s >= _HURRY_S:
            self._hurried_s = now_s
            self.look(now_s)


def _key_or_new(id: str | None) -> str:
    if id is not None:
        try:
            return check_key(id)
        except (ContractError, TypeError, AttributeError) as error:
            REMARKS.fault("reading id=", error)
    return uuid7(time.time_ns() // 1_000_000, secrets.randbits(74))


def _trace_or_none(trace_id: str | None) -> str:
    if trace_id:
        try:
            return check_trace_id(trace_id)
        except (ContractError, TypeError, AttributeError) as error:
            REMARKS.fault("reading trace_id=", error)
    return ""
