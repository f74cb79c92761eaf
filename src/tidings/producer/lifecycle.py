"""The lifecycle of one operation in its process: its state, its events, its progress reports and its end."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from uuid import uuid4

from tidings.client.deferring_lock import BoundedLock, LockBusy, TryLock
from tidings.exceptions import ContractError
from tidings.producer.cancellation import CancellationState
from tidings.producer.diagnostics import DIAGNOSTICS, call_hook, log_errors
from tidings.producer.emitter import BuiltEvent, OperationEmitter
from tidings.producer.options import Settings, key_of
from tidings.producer.outcome import Cancelled, Completed, End, Failed, State, end_of, state_after
from tidings.producer.progress_tree import ProgressNode, ProgressReporter, SharedState
from tidings.producer.runtime import RUNTIME
from tidings.producer.sampler import SAMPLER
from tidings.producer.sanitize import text
from tidings.producer.signals import CALLS_DEFERRED
from tidings.producer.tracing import current_trace_id
from tidings.protocol.envelope import check_trace_id
from tidings.protocol.messages import CancelAnswer, CancelPush

logger = logging.getLogger(__name__)

_MIN_STEP_INTERVAL_S = 0.01
"""Shortest time between two progress events about new steps, in seconds: even short steps become visible, within
reason."""


_MAX_FOLLOWING = 10_000
"""Reports that may follow a start while it is sent. Policy: the newest is dropped."""


class OperationLifecycle:
    """The lifecycle of one operation, for the job, the sampler, the runtime and the outbox.

    Args:
        settings: Settings of the operation.
        shared: State that the operation shares with its steps.
        work: Progress of the operation.
    """

    def __init__(self, settings: Settings, shared: SharedState, work: ProgressNode) -> None:
        self.settings = settings
        # Random from its first character on: a person can type a short prefix of it.
        self.id = key_of(settings.id, "reading id=") or str(uuid4())
        self.reporter = ProgressReporter(work, self.id)
        """Reads the progress; the caller holds the lock."""
        self.cancellation = CancellationState(settings.on_cancel)
        self.state: State = "new"
        self._decided: End | None = None
        """How the operation is about to end; None before that, and after the end."""
        # An exception may interrupt the sending of a start or an end, which is then sent again, with the same id.
        self._must_start = False
        """Whether the operation was started, and its state does not show it yet."""
        self._unsent_start: BuiltEvent | None = None
        """The start of an operation that has begun, until it is sent."""
        self._unsent_end: BuiltEvent | None = None
        """The end of an operation that has ended, until it is sent."""
        self.outcome: End | None = None
        """How the last attempt ended; None before that."""
        self._shared = shared
        self._emitter = OperationEmitter(self.id, settings.redact, trace_id=_trace_or_none(settings.trace_id))
        self._address = ""
        """Address of its hub, to announce; "" before its start, and if nothing is reported."""
        self._before_end: list[Callable[[], None]] = []
        self._starting = TryLock()
        """Held by the thread that sends a start, or the reports that follow it."""
        self._following: deque[Callable[[], None]] = deque()
        """Reports that follow the start: `redact` of the start, for example, may report."""
        self._is_starting = False
        """Whether reports follow a start. An exception may leave it set: the next report then clears it."""
        self._ending = BoundedLock()
        """Held by the thread that ends the operation: others that end it wait for its hooks, but not for ever."""
        self._taken = self._sent = 0
        """Number of the progress that was read last, and of the one that was sent last."""
        self._began_s = self._published_soon_at_s = 0.0
        self._total_s = 0.0
        shared.connect(self._attend, self._publish_soon, self._watch_if_running)

    @property
    def name(self) -> str:
        """Name of the operation."""
        return text(self.settings.name)

    @property
    def trace_id(self) -> str:
        """Trace of its events, determined at the first use."""
        if not self._emitter.trace_id:
            self._emitter.trace_id = current_trace_id()
        return self._emitter.trace_id

    @property
    def is_live(self) -> bool:
        """Whether the operation has begun, or is queued, and has not ended."""
        return self.state in ("queued", "running")

    @property
    def is_finished(self) -> bool:
        """Whether nothing of this attempt is left to send."""
        return not self.is_live and not self._must_start and self._unsent_end is None

    @property
    def percent(self) -> float | None:
        """Progress, 0–100; None if unknown."""
        with self._shared.lock.guard():
            return 100.0 if self.state == "complete" else self.reporter.percent

    @property
    def duration_s(self) -> float:
        """Time since the current attempt was queued or began, or its total time, in seconds."""
        return time.monotonic() - self._began_s if self.is_live else self._total_s

    # The job.

    @log_errors
    def start(self, *, queued: bool = False) -> None:
        """Claim the operation and send its start; after its end, start the next attempt.

        Args:
            queued: Whether it is queued for now, and begins later.
        """
        if self.settings.begin_parent is not None:
            self.settings.begin_parent()
        if self.state == "inherited":
            DIAGNOSTICS.report_inherited(self.name)
        elif not self.is_live:
            self._send_start(queued=queued)

    @log_errors
    def begin(self) -> None:
        """Begin the operation if it is new or queued."""
        if self.state == "new":
            self.start()
        elif self.state == "queued" or self._must_start:
            self._send_start(queued=False)

    @log_errors
    def log(self, message: object, level: str | int) -> None:
        """Send a log line, if the operation is live."""
        if self.state != "running":
            self.begin()
            if not self._is_starting and not self._check_live("log"):
                return
        event = self._emitter.log(message, level)
        if self._is_starting:
            self._follow_start(partial(self._send_if_live, event))
        else:
            self._send_if_live(event)

    def _send_if_live(self, event: BuiltEvent) -> None:
        with CALLS_DEFERRED, CALLS_DEFERRED.region, self._shared.lock.guard():
            if self._unsent_start is not None:
                self._put_start(self._unsent_start)
            if self.state in ("queued", "running"):
                self._emitter.put(event)

    def before_end(self, callback: Callable[[], None]) -> None:
        """Call `callback` once, before this attempt ends."""
        self._before_end.append(callback)

    def while_running(self, action: Callable[[], None]) -> None:
        """Call `action` if the operation is running; it does not end before `action` returns."""
        with self._ending.guard():
            if self.state == "running":
                action()

    def leave(self, error: BaseException | None) -> None:
        """End a live operation whose block was left, by `error` or normally."""
        if not self.is_live and not self._must_start:
            if self.is_finished:
                RUNTIME.remove(self)  # the first try may have been interrupted
            return
        decided: End | None = None
        try:
            decided = Completed() if error is None else self._end_of(error)
            self.end(decided)
        finally:
            if not self.is_finished:  # the block is at the limit of recursion or memory, or was interrupted
                _UNFINISHED.append((self, decided or Failed(code="error", message="interrupted at the end")))
            if _UNFINISHED:
                _finish()

    @log_errors
    def end(self, end: End) -> None:
        """End a live operation and send its terminal event."""
        if self.state != "queued" or not isinstance(end, Cancelled):
            self.begin()
        if self._is_starting:
            self._follow_start(partial(self._end, end))
        else:
            self._end(end)

    def _end(self, end: End) -> None:
        try:
            with self._ending.guard():
                if self._unsent_end is None:
                    if not self._check_live("end"):
                        return
                    self._decide(end)
                else:
                    with CALLS_DEFERRED, CALLS_DEFERRED.region, self._shared.lock.guard():
                        self._put_end(self._unsent_end)
        finally:
            if self.outcome is not None and self.is_finished:
                RUNTIME.remove(self)

    def _decide(self, end: End) -> None:
        # The first end decides, also for a hook that calls another one, or a signal that interrupts this.
        is_first = self._decided is None
        self._decided = end = self._decided or end
        state = state_after(end)
        try:
            self._report_last(unsent=is_first)
        finally:
            total_s = time.monotonic() - self._began_s
            event = self._emitter.end(end, total_s)
            with CALLS_DEFERRED, CALLS_DEFERRED.region, self._shared.lock.guard():
                if self._unsent_start is not None:
                    self._put_start(self._unsent_start)
                # Without a call in between: code that interrupts this one may end the operation, too.
                if self.state in ("queued", "running"):
                    self.state, self._unsent_end, self.outcome, self._total_s = state, event, end, total_s
                    self._put_end(event)
            if event.error is not None:
                raise event.error

    def _put_end(self, event: BuiltEvent) -> None:
        self._decided = None
        self._shared.alert = False
        try:
            self._emitter.put(event)
            self._unsent_end = None
        finally:
            self._emitter.release()

    def _report_last(self, *, unsent: bool) -> None:
        """Call the hooks, and publish the last progress; an error in one does not prevent the others."""
        callbacks, self._before_end = self._before_end, []
        for callback in callbacks:
            call_hook("before_end", callback)
        if self.state == "running":
            call_hook("reading the last progress", self._publish, time.monotonic(), unsent=unsent)

    def _send_start(self, *, queued: bool) -> None:
        """Send a start. Its code of the job holds no lock that another report waits for: such reports follow it."""
        before, after = self.state, _state_at_start(queued)
        self._is_starting = True
        try:
            with self._starting:
                if self.state != before:
                    return
                self._must_start = True
                if before != "queued":
                    self._claim()
                event = self._emitter.start(self.settings, queued=queued, steps=list(self.settings.steps))
                with CALLS_DEFERRED, CALLS_DEFERRED.region, self._shared.lock.guard():
                    # An end, a fork or an earlier try may have been faster.
                    if self.state == before:
                        self.outcome = self._decided = None
                        self._began_s = time.monotonic()
                        self.state, self._unsent_start, self._must_start = after, event, False
                        self._put_start(event)
                    else:
                        self._must_start = False
        except LockBusy:
            return
        finally:
            self._send_following()
        if event.error is not None:
            raise event.error
        if self._address and before != "queued" and self.settings.parent_id is None and not self.settings.quiet:
            DIAGNOSTICS.announce(self.name, self.trace_id, self._address)

    def _claim(self) -> None:
        if self.state != "new":
            with self._shared.lock.guard():
                self.reporter.restart()
            self.cancellation.reset()
        self._shared.alert = True
        settings = self.settings
        url = None if settings.url is None else str(settings.url)
        self._emitter.sink, self._address = RUNTIME.sink(
            url, settings.token, allow_plaintext_token=settings.allow_plaintext_token
        )
        self._emitter.trace_id = self.trace_id
        self._emitter.hold(settings.lease_s, self._request_cancel)
        RUNTIME.add(self)

    def _put_start(self, event: BuiltEvent) -> None:
        self._emitter.put(event)
        self._unsent_start = None

    def _follow_start(self, report: Callable[[], None]) -> None:
        """Make `report` after the start that is being sent and the reports that follow it already."""
        if len(self._following) < _MAX_FOLLOWING:
            self._following.append(report)
            self._send_following()

    def _send_following(self) -> None:
        """Make the reports that follow a start, unless another block sends it still, or makes them."""
        try:
            with self._starting:
                self._run_following()
                self._is_starting = False
        except LockBusy:
            if self._is_starting:
                return
        self._run_following()  # those added between the two
        if self.state == "running":
            with self._shared.lock.guard():
                changed = self.reporter.has_changed()
            if changed:
                self._watch()

    def _run_following(self) -> None:
        while self._following:
            try:
                report = self._following.popleft()
            except IndexError:
                return  # another thread was faster
            report()

    def _end_of(self, error: BaseException) -> End:
        try:
            end = end_of(error) or Completed()
        except Exception as fault:  # at the limit of recursion or memory
            with suppress(Exception):
                DIAGNOSTICS.log_fault("reading an exception", fault)
            return Failed(code="error", message="the exception cannot be read")
        except KeyboardInterrupt:
            self.end(Failed(code="error", message="interrupted while the exception was read"))
            raise
        requested = self.cancellation.requested
        return requested if requested is not None and isinstance(end, Cancelled) else end

    def _check_live(self, what: str) -> bool:
        if self.state == "inherited":
            DIAGNOSTICS.report_inherited(self.name)
        elif not self.is_live:
            logger.debug("%s after the end of operation %s, which is %s", what, self.id, self.state)
        return self.is_live

    # The runtime and the outbox.

    @log_errors
    def terminate(self, reason: str) -> None:
        """See `RunningOperation.terminate`."""
        # The signal may come from the client that requested the cancellation.
        self._end(self.cancellation.requested or Cancelled(reason=reason))

    def detach(self) -> None:
        """See `RunningOperation.detach`."""
        self._shared.lock, self._ending, self._starting = BoundedLock(), BoundedLock(), TryLock()
        self._following, self._is_starting, self._must_start = deque(), False, False
        self._shared.alert = True
        self.state = "inherited"

    def _request_cancel(self, push: CancelPush) -> CancelAnswer:
        # On the outbox's thread, which must not wait for a lock whose holder may wait for the outbox.
        answer = self.cancellation.request(push)
        if self.cancellation.requested is not None:
            self._shared.alert = True
        return answer

    # The sampler, and the slow path of the methods that report.

    def sample(self, now_s: float) -> bool:
        """See `Sampled.sample`."""
        if self._is_starting:
            self._send_following()
        return self.state == "running" and not self._is_starting and self._publish(now_s)

    def try_sleep(self) -> bool:
        """See `Sampled.try_sleep`."""
        with self._shared.lock.guard():
            if self.state != "running":
                return True
            self._shared.alert = True
            if not self.reporter.has_changed():
                return True
            self._clear_alert()
            return False

    def _publish(self, now_s: float, *, unsent: bool = False) -> bool:
        """Publish the progress if it changed; `unsent`: also if another thread has read it and not sent it."""
        with self._shared.lock.guard():
            payload = self.reporter.take(now_s)
            if payload is None and unsent and self._sent != self._taken:
                payload = self.reporter.read(now_s)
            if payload is None:
                return False
            self._taken += 1
            number = self._taken
        event = self._emitter.progress(payload)
        with CALLS_DEFERRED, CALLS_DEFERRED.region, self._shared.lock.guard():
            if self.state == "running" and number > self._sent:  # a newer one may have overtaken it
                if self._unsent_start is not None:
                    self._put_start(self._unsent_start)
                self._emitter.put(event)
                self._sent = number
        return True

    def _clear_alert(self) -> None:
        self._shared.alert = False
        if self.cancellation.requested is not None:
            self._shared.alert = True

    def _attend(self, at_loop: bool) -> None:
        self.begin()
        if self._is_starting:
            self._send_following()
            if self._is_starting:
                return  # what changed is read after the start
        if not self._check_live("a report"):
            self._shared.alert = False
            return
        self._watch()
        if self.cancellation.requested is not None:
            self.cancellation.raise_if_due(at_loop)

    def _watch(self) -> None:
        self._clear_alert()
        SAMPLER.watch(self)

    def _watch_if_running(self) -> None:
        if self.state == "running" and not self._is_starting:
            self._watch()

    def _publish_soon(self) -> None:
        now_s = time.monotonic()
        if now_s - self._published_soon_at_s >= _MIN_STEP_INTERVAL_S:
            self._published_soon_at_s = now_s
            self.sample(now_s)


_UNFINISHED: deque[tuple[OperationLifecycle, End]] = deque()
"""Operations whose blocks were left, but could not end there: the block around them ends them, or a thread."""


_FINISHER = "tidings end"
"""Name of the thread: it does not start another one."""


def _finish() -> None:
    for _ in range(len(_UNFINISHED)):
        try:
            lifecycle, end = _UNFINISHED.popleft()
        except IndexError:
            return  # another thread was faster
        try:
            lifecycle.end(end)
        finally:
            if not lifecycle.is_finished:
                _UNFINISHED.append((lifecycle, end))
    if _UNFINISHED and threading.current_thread().name != _FINISHER:
        with suppress(Exception):
            threading.Thread(target=_finish, name=_FINISHER, daemon=True).start()


def _state_at_start(queued: bool) -> State:
    return "queued" if queued else "running"


def _trace_or_none(trace_id: str | None) -> str:
    if trace_id:
        try:
            return check_trace_id(trace_id)
        except (ContractError, TypeError, AttributeError) as error:
            DIAGNOSTICS.log_fault("reading trace_id=", error)
    return ""
