"""The outbox: takes a job's events without blocking it; a thread sends them to the hub.

An event passes six objects between the job's operation and the socket: `OperationEmitter` builds it, `Outbox` checks
it, `PendingEvents` keeps it, `ReliablePublisher` sends and retries it, `Session` encodes it, and `Link` writes it to
the WebSocket. It waits in three containers: the queue and the events in flight, both of `PendingEvents`, and the
outgoing messages of the session.
"""

import asyncio
import logging
import os
import re
import secrets
import socket
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import msgspec

from tidings.client.background_loop import BackgroundLoop, LoopThread
from tidings.client.decoding import find_event_type, read_event_key
from tidings.client.deferring_lock import DeferringLock
from tidings.client.drafts import Draft, PayloadLike, make_draft, make_unstamped
from tidings.client.options import LinkOptions
from tidings.client.publish_queue import QueueLimits, Rank, rank_of
from tidings.client.tokens import Token, find_token_source
from tidings.client.url import resolve_hub_url
from tidings.contract.contract import Contract
from tidings.contract.event_types import EventType
from tidings.exceptions import CommandRefused, ConfigError, ContractError, LogBusy, TidingsError
from tidings.producer.options import check_hook
from tidings.producer.outbox.claims import OnCancel, OnLost
from tidings.producer.outbox.holder import OutboxHolder
from tidings.producer.outbox.pending import OutboxStatistics, PendingEvents
from tidings.producer.outbox.sender import Sender
from tidings.producer.spool.directory import SpoolOptions
from tidings.producer.spool.spool import Spool
from tidings.protocol.paths import check_key
from tidings.protocol.payloads import OperationStartData

_MAX_HOST_CHARACTERS = 24
_INVALID_CHARACTERS = re.compile(r"[^A-Za-z0-9.-]")


def new_producer_id() -> str:
    """Return a new, unique producer id that shows a person its host and process.

    It has 1–64 printable ASCII characters without spaces, as docs/protocol/operations.md, "Leases", requires: at most
    24 + 1 + 10 + 1 + 16.
    """
    host = _INVALID_CHARACTERS.sub("-", socket.gethostname())[:_MAX_HOST_CHARACTERS] or "unnamed"
    return f"{host}.{os.getpid()}.{secrets.token_hex(8)}"


logger = logging.getLogger(__name__)

_POLL_S = 0.01
"""Interval between looks at what is left, in seconds, where an outbox sends on the thread that closes it."""


class ErrorReporter:
    """Reports the first error of each code; never raises, and may be called by any thread.

    Args:
        on_error: Called with these errors.
    """

    def __init__(self, on_error: Callable[[TidingsError], None] | None) -> None:
        self._on_error = on_error
        # Without a lock, which a forked child might inherit locked: `setdefault` is atomic.
        self._reported: dict[str, TidingsError] = {}

    def __call__(self, error: TidingsError) -> None:
        """Report `error`, unless one with its code was reported before."""
        code = error.refusal if isinstance(error, CommandRefused) else error.code
        if self._reported.setdefault(code, error) is not error or self._on_error is None:
            return
        try:
            self._on_error(error)
        except Exception:
            logger.exception("an on_error callback failed")


class Outbox:
    """Publishes events without ever blocking or raising.

    While they wait, events of class `latest` are replaced by newer ones of their type and key; other events are kept in
    order, up to `limits`. Starts and ends of operations are also on disk from before they are sent until the hub has
    them: if the process dies, the next outbox for the same hub sends them, on this machine and for this user, or
    `tidings flush` does. The outbox starts its thread and its connection with the first event.

    The hub leases the operations that it starts: if the process dies, the hub ends them after `lease_s`. `hold` sets
    how they are cancelled, and how they continue if the hub has given them up although the process lives.

    In a forked child the outbox starts again: empty, unconnected, and with another producer id. The parent sends the
    events that it has taken.

    Args:
        url: URL of the hub; by default TIDINGS_URL, else a hub on this machine.
        token: The token, or a function that returns it; by default that of `options`, else see
            `tidings.client.tokens`.
        allow_plaintext_token: Whether the token may go over an unencrypted network.
        lease_s: Seconds that its operations outlive its connection; by default the hub's own lease.
        spool: Whether starts and ends are on disk, or where and how many.
        on_error: Called with errors that keep events from the log, once for each code; by the outbox's own thread or
            the caller's.
        limits: Bound on the events that wait.
        options: How to connect.
        contract: Event types known here.

    Raises:
        ConfigError: `url`, `token` or `lease_s` is invalid, or the token would go over an unencrypted network.
        TypeError: `on_error` is not a function of one argument.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: Token | None = None,
        allow_plaintext_token: bool = False,
        lease_s: float | None = None,
        spool: bool | SpoolOptions | None = True,
        on_error: Callable[[TidingsError], None] | None = None,
        limits: QueueLimits = QueueLimits(),  # noqa: B008 -- frozen
        options: LinkOptions | None = None,
        contract: Contract | None = None,
    ) -> None:
        check_hook("on_error", on_error, "the error")
        self._url = resolve_hub_url(url)
        options = options or LinkOptions(wait_for_hub=True, wait_for_token=True)
        allow = allow_plaintext_token or options.allow_plaintext_token
        source = find_token_source(options.token if token is None else token, self._url, allow_plaintext=allow)
        self._options = msgspec.structs.replace(options, token=source or "", allow_plaintext_token=allow)
        self._lease_s = _check_lease(lease_s)
        self._spooling = SpoolOptions() if spool is True else spool or None
        self._report = ErrorReporter(on_error)
        self._limits = limits
        self._contract = contract or Contract()
        self._closed = False
        self._begin()
        _outboxes.add(self)

    def _begin(self) -> None:
        self.producer_id = new_producer_id()
        """Its id for the hub; new in a forked child."""
        # Collected, because reporting runs foreign code, which must not run while the lock of the events is held.
        self._spool_errors: deque[TidingsError] = deque()
        spool = None
        if self._spooling is not None:
            spool = Spool(self._spooling, self._url, self.producer_id, self._spool_errors.append)
        self._pending = PendingEvents(self._limits, spool)
        if self._closed:
            self._pending.close()
        self._starting = DeferringLock()
        self._ended = False
        self._thread: LoopThread | None = None
        self._started: Sender | None = None
        self._sender: Sender | None = None

    # The job's side.

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def put_nowait(
        self,
        type: str,
        payload: PayloadLike = None,
        *,
        trace_id: str | None = None,
        channel: str | None = None,
        event_id: str | None = None,
        timestamp: str | None = None,
    ) -> bool:
        """Take one event to publish; return whether it was taken. Never blocks, never raises.

        An event is not taken if the contract does not allow it, if there is no room for it, or if the outbox is closed;
        it is counted, and reported to `on_error`. See `Client.publish` for the arguments.
        """
        try:
            row = find_event_type(self._contract, type)
            if event_id is None and timestamp is None and rank_of(row) is not Rank.LIFECYCLE:
                # The thread that sends it stamps it, and most progress is never sent. Only the spool needs an id now.
                draft = make_unstamped(type, payload, trace_id=trace_id, channel=channel)
                taken = self._put(draft, row, time.time_ns())
            else:
                draft = make_draft(
                    type, payload, trace_id=trace_id, channel=channel, event_id=event_id, timestamp=timestamp
                )
                taken = self._put(draft, row)
        except Exception as error:
            self._pending.count_invalid()
            self._report(error if isinstance(error, TidingsError) else ContractError(f"{type}: {error}"))
            return False
        self._report_spool_errors()
        if taken is None:
            self._report(LogBusy("the outbox is full because the hub is away or slow: events are dropped"))
        return bool(taken)

    def hold(
        self,
        operation_id: str,
        *,
        lease_s: float | None = None,
        trace_id: str | None = None,
        on_cancel: OnCancel | None = None,
        on_lost: OnLost | None = None,
    ) -> None:
        """Hold an operation, before it starts or while it runs. Never blocks, never raises.

        An operation that starts here is held without this, but cannot be cancelled, and restarts with a copy of its
        start.

        Args:
            operation_id: Id of the operation.
            lease_s: Seconds that it outlives the connection; by default the producer's lease.
            trace_id: Trace id of the start that `on_lost` returns.
            on_cancel: Answers a cancel request, once for each request; called on the outbox's own thread.
            on_lost: Called, on the outbox's own thread, when the hub has given the operation up, because its lease has
                expired or it has another holder now. The start that it returns is sent before the waiting events of
                the operation; None drops them. By default the next attempt starts with a copy of this one's start.
        """
        try:
            check_key(operation_id)
            _check_lease(lease_s)
        except TidingsError as error:  # one invalid claim would keep the hub from attaching this producer at all
            self._report(error)
            return
        self._pending.hold(operation_id, lease_s=lease_s, trace_id=trace_id, on_cancel=on_cancel, on_lost=on_lost)

    def release(self, operation_id: str) -> None:
        """Hold an operation only until the hub has its end. Never blocks, never raises."""
        self._pending.release(operation_id)

    def answer_unclaimed(self, on_cancel: OnCancel | None) -> None:
        """Answer cancel requests for operations that were started here and are held no longer with `on_cancel`.

        An operation that is queued for another process is released immediately; until it begins, its cancel requests
        still go to the process that queued it. `on_cancel` is called on the outbox's own thread, and not in forked
        children; without it such requests are refused.
        """
        self._pending.answer_unclaimed(on_cancel)

    def statistics(self) -> OutboxStatistics:
        """Return the figures of the outbox."""
        return self._pending.statistics()

    def flush(self, timeout_s: float) -> int:
        """Wait until every event is in the log; return the number of events that are not.

        Args:
            timeout_s: Maximum wait, in seconds.
        """
        return self._pending.wait_settled(timeout_s)

    def close(self, timeout_s: float = 2.0, *, patient: bool = False) -> int:
        """Take no more events, wait until all are in the log, and end; return the number of events that are not.

        Starts and ends among them stay on disk, and another outbox sends them. If no hub has ever answered, and one
        more connection fails or takes more than a second, the outbox ends without waiting; with other events, such as
        log lines, after 0.2 s.

        Args:
            timeout_s: Maximum wait, in seconds: a hub that is away must not delay the job. Closing a connection whose
                hub does not answer takes up to a second more.
            patient: Whether to wait for a hub that has never answered as long as for others.
        """
        self._closed = True
        self._pending.close()
        with self._starting, self._starting.mutex:
            self._ended = True
            thread, self._thread, sender = self._thread, None, self._sender
        if thread is not None and sender is not None:
            self._pending.expect_hub()
            thread.call_soon(sender.hurry)
            left = self._pending.wait_closable(timeout_s, patient=patient)
            thread.close()
        else:
            left = self._send_here(timeout_s)
        self._pending.close_spool()
        self._report_spool_errors()
        return left

    # Inside.

    def _report_spool_errors(self) -> None:
        with suppress(IndexError):  # another thread was faster
            while self._spool_errors:
                self._report(self._spool_errors.popleft())

    def _report_next(self, error: TidingsError) -> None:
        """Report an error of the connection: after those that decide whether its events are kept."""
        self._report_spool_errors()
        self._report(error)

    def _put(self, draft: Draft, row: EventType | None, at_ns: int = 0) -> bool | None:
        """Take an event; return whether it was taken, or None if there is no room for it.

        Raises:
            ContractError: The contract does not allow it.
        """
        payload = None if row is None else self._contract.decode(draft.type, b"" + draft.data)
        key = None if row is None or payload is None else read_event_key(row, payload)
        taken = self._pending.offer(
            draft,
            rank_of(row),
            key,
            ends=row is not None and row.ends_key,
            at_ns=at_ns,
            start=payload if isinstance(payload, OperationStartData) else None,
        )
        if taken:
            try:  # noqa: SIM105 -- `suppress` needs more of both
                self._wake()
            except (RecursionError, MemoryError):
                pass  # the event is taken; the next one wakes the thread
        return taken

    def _wake(self) -> None:
        """Wake the thread, or start it."""
        if self._sender is not None:
            self._sender.wake()
            return
        self._starting.run(self._start)

    def _start(self) -> None:
        if self._sender is not None or self._ended:
            return
        # An exception may end this anywhere, and the next event continues it.
        if self._thread is None:
            try:
                self._thread = LoopThread("tidings outbox")
            except RuntimeError:
                return  # from Python 3.12 on, exit handlers cannot start a thread: `close` sends what waits
        if self._started is None:
            self._started = self._make_sender()
        self._thread.start(self._started.run())
        self._sender = self._started

    def _make_sender(self) -> Sender:
        return Sender(
            self._url,
            self._options,
            contract=self._contract,
            holder=OutboxHolder(self.producer_id, self._lease_s, pending=self._pending, report=self._report_next),
            pending=self._pending,
            spooling=self._spooling,
            report=self._report_next,
        )

    def _send_here(self, timeout_s: float) -> int:
        """Send what waits on this thread, because no other could be started; return the number of events left."""
        if not self._pending.is_closable(0.0):
            sending = self._send_within(timeout_s)
            try:
                with asyncio.Runner(loop_factory=BackgroundLoop) as runner:
                    runner.run(sending)
            except RuntimeError:  # a coroutine closes the outbox, and its loop occupies this thread
                sending.close()
        return self._pending.wait_settled(0)

    async def _send_within(self, timeout_s: float) -> None:
        sender = self._make_sender()
        sender.hurry()
        sending = asyncio.ensure_future(sender.run())
        began_s = time.monotonic()
        while not self._pending.is_closable(waited_s := time.monotonic() - began_s) and waited_s < timeout_s:
            await asyncio.wait([sending], timeout=_POLL_S)
        sending.cancel()
        await asyncio.wait([sending])

    def restart_after_fork(self) -> None:
        """Become a new outbox in a forked child, where no other thread runs, whatever those were doing."""
        _inherited.append((self._thread, self._sender, self._pending))
        self._begin()


def _check_lease(lease_s: float | None) -> float | None:
    if lease_s is not None and not 1 <= lease_s <= 86_400:
        raise ConfigError(
            f"invalid lease {lease_s!r}: expected 1 to 86,400 seconds", option="lease_s", source="argument"
        )
    return lease_s


_outboxes: "weakref.WeakSet[Outbox]" = weakref.WeakSet()
_inherited: list[object] = []
"""Objects of the parent's outboxes in a forked child: kept, because collecting them would close its connections."""


_before_restart: list[Callable[[], None]] = []


def call_before_restart(callback: Callable[[], None]) -> None:
    """Call `callback` in each forked child before its outboxes start again.

    A finalizer may report at any time: what belongs to the parent must be silent before.
    """
    _before_restart.append(callback)


def _restart_all_after_fork() -> None:
    for callback in _before_restart:
        callback()
    for outbox in list(_outboxes):
        outbox.restart_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_all_after_fork)
