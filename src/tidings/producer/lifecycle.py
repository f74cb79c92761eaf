"""The life of one operation in the process that does it: what begins it, what is told of it, what ends it."""

import logging
import secrets
import threading
import time
from collections.abc import Callable

from tidings.client.drafts import uuid7
from tidings.exceptions import ContractError
from tidings.producer.cancellation import CancellationState
from tidings.producer.diagnostics import DIAGNOSTICS, log_errors
from tidings.producer.emitter import Completed, End, OperationEmitter, State, state_after
from tidings.producer.options import Settings
from tidings.producer.outcome import Cancelled, end_of
from tidings.producer.progress_report import ProgressReporter
from tidings.producer.runtime import RUNTIME
from tidings.producer.sampler import PACER
from tidings.producer.sanitize import text
from tidings.producer.tracing import current_trace_id
from tidings.producer.tracking import ProgressTracker, SharedState
from tidings.protocol.envelope import check_trace_id
from tidings.protocol.messages import CancelAnswer, CancelPush
from tidings.protocol.paths import check_key

logger = logging.getLogger(__name__)

_HURRY_S = 0.01
"""Between two progress events about steps that begin: steps are shown even where they are short, within reason."""


class OperationLifecycle(ProgressTracker):
    """One operation, as the rest of the process sees it: the pacer, the process's end, who asks the job to stop.

    Args:
        settings: What is said of it before it begins.
    """

    def __init__(self, settings: Settings) -> None:
        pulse = SharedState(self._attend, self._hurry)
        super().__init__(pulse, total=settings.total, steps=settings.steps)
        self.settings = settings
        """What was said of it before it began."""
        self._id = _key_or_new(settings.id)
        self._gauge = ProgressReporter(self, self._id)
        self._voice = OperationEmitter(self._id, settings.redact)
        self._voice.trace_id = _trace_or_none(settings.trace_id)
        self._cancelling = CancellationState(settings.on_cancel)
        self._state: State = "new"
        self._began_s = self._hurried_s = 0.0
        self._last_words: list[Callable[[], None]] = []
        self._lasted_s = 0.0
        self._said_at_end: End | None = None

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

    @log_errors
    def begin(self) -> None:
        """Begin it, where no block does; of a queued one say that its turn has come."""
        with self._pulse.lock:
            if self._state == "queued":
                self._start(queued=False)

    @log_errors
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
            self._voice.transport, address = RUNTIME.transport(settings.url, settings.token)
            self._voice.trace_id = self.trace_id
            self._voice.hold(settings.lease_s, self._asked_to_cancel)
            self._start(queued=settings.queued)
            RUNTIME.began(self)
        if address and settings.parent_id is None and not settings.quiet:
            DIAGNOSTICS.started(self.name, self.trace_id, address)

    def _start(self, *, queued: bool) -> None:
        self._said_at_end = None
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

    @log_errors
    def _end(self, end: End) -> None:
        with self._pulse.lock:
            if self._state == "queued" and not isinstance(end, Cancelled):
                self._start(queued=False)
            if not self._is_live("end"):
                return
            if self._state == "running":
                self._tell(time.monotonic())
            self._say_last_words()
            self._said_at_end, self._lasted_s = end, time.monotonic() - self._began_s
            self._state = state_after(end)
            self._pulse.alert = False
            self._voice.end(end, self._lasted_s)
            self._voice.release()
        RUNTIME.ended(self)

    def _say_last_words(self) -> None:
        words, self._last_words = self._last_words, []
        for say in words:
            try:
                say()
            except Exception as error:
                DIAGNOSTICS.fault("before_end", error)

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
        """See `tidings.producer.sampler.Sampled`."""
        with self._pulse.lock:
            return self._state == "running" and self._tell(now_s)

    def doze(self) -> bool:
        """See `tidings.producer.sampler.Sampled`."""
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
            DIAGNOSTICS.fault("reading id=", error)
    return uuid7(time.time_ns() // 1_000_000, secrets.randbits(74))


def _trace_or_none(trace_id: str | None) -> str:
    if trace_id:
        try:
            return check_trace_id(trace_id)
        except (ContractError, TypeError, AttributeError) as error:
            DIAGNOSTICS.fault("reading trace_id=", error)
    return ""
