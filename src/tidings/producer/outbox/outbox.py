"""The outbox: a job says what happens and goes on at once; a thread tells the hub.

Who a producer is, to the hub.

What keeps events from the log: told once for each kind, however often it recurs.
"""

import logging
import os
import re
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from tidings.client.background_loop import LoopThread
from tidings.client.decoding import event_key, event_type
from tidings.client.drafts import Draft, PayloadLike, make_draft, make_unstamped
from tidings.client.options import LinkOptions, read_token
from tidings.client.publish_queue import QueueLimits, rank_of
from tidings.client.url import hub_url
from tidings.contract.contract import Contract
from tidings.contract.event_types import EventType
from tidings.exceptions import CommandRefused, ConfigError, ContractError, LogBusy, TidingsError
from tidings.producer.outbox.claims import OnCancel, OnLost
from tidings.producer.outbox.holder import OutboxHolder
from tidings.producer.outbox.pending import OutboxStatistics, PendingEvents
from tidings.producer.outbox.sender import Sender
from tidings.producer.spool.directory import SpoolOptions
from tidings.producer.spool.spool import Spool
from tidings.protocol.message_types import EventClass
from tidings.protocol.payloads import OperationStartData

_MOST_HOST = 24
_UNFIT = re.compile(r"[^A-Za-z0-9.-]")


def new_producer_id() -> str:
    """Return a new producer id: a person can read host and process in it, and no two are the same.

    1–64 printable ASCII characters without spaces (CONTRACT §4): at most 24 + 1 + 10 + 1 + 16.
    """
    host = _UNFIT.sub("-", socket.gethostname())[:_MOST_HOST] or "unnamed"
    return f"{host}.{os.getpid()}.{secrets.token_hex(8)}"


logger = logging.getLogger(__name__)


class ErrorReporter:
    """Tells whoever wants to know of each kind of trouble once; never raises, and may be called by any thread.

    Args:
        tell: Called with the first error of each code.
    """

    def __init__(self, tell: Callable[[TidingsError], None] | None) -> None:
        self._tell = tell
        # Without a lock, which a forked child might inherit locked: `setdefault` is atomic.
        self._told: dict[str, TidingsError] = {}

    def __call__(self, error: TidingsError) -> None:
        """Tell of `error`, unless one of its kind was told of before."""
        code = error.refusal if isinstance(error, CommandRefused) else error.code
        if self._told.setdefault(code, error) is not error or self._tell is None:
            return
        try:
            self._tell(error)
        except Exception:
            logger.exception("an on_trouble callback failed")


class Outbox:
    """A way to publish that never blocks and never raises.

    Events of class `latest` are replaced by newer ones of their type and key as long as they wait; others keep their
    order and are kept, up to `limits`. Starts and ends of operations are on disk, too, from before they are sent until
    the hub has them: what a process leaves behind when it dies, the next outbox for the same hub sends, on this
    machine and for this user, or `tidings flush`. Its thread, and its connection, begin with the first event.

    The operations that it starts are the hub's to watch over: when the process dies, the hub ends them after `lease_s`.
    `hold` says how they are cancelled, and how they go on where the hub has given them up in vain.

    In a forked child it begins anew: empty, unconnected, and under another name. What the parent had put is sent by
    the parent.

    Args:
        url: Where the hub is; by default the variable TIDINGS_URL, else this machine.
        token: Who we are; by default that of `options`, else the variable TIDINGS_TOKEN.
        lease_s: How long its operations outlive its connection; the hub's own by default.
        spool: Whether, or where and how much of it, is kept on disk.
        on_trouble: Called with what keeps events from the log, once for each kind of trouble (its code), however often
            it recurs; from the outbox's own thread or the caller's.
        limits: How much may wait.
        options: How to connect.
        contract: What event types are known here.

    Raises:
        ConfigError: `url` is no address, `token` no token, or `lease_s` not from 1 to 86,400.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        lease_s: float | None = None,
        spool: bool | SpoolOptions | None = True,
        on_trouble: Callable[[TidingsError], None] | None = None,
        limits: QueueLimits = QueueLimits(),  # noqa: B008 -- frozen
        options: LinkOptions | None = None,
        contract: Contract | None = None,
    ) -> None:
        self._url = hub_url(url)
        options = options or LinkOptions(wait_for_hub=True)
        token = read_token(token if token is not None else options.token, os.environ)
        self._options = msgspec.structs.replace(options, token=token)
        self._lease_s = _check_lease(lease_s)
        self._spooling = SpoolOptions() if spool is True else spool or None
        self._report = ErrorReporter(on_trouble)
        self._limits = limits
        self._contract = contract or Contract()
        self._closed = False
        self._begin()
        _outboxes.add(self)

    def _begin(self) -> None:
        self.producer_id = new_producer_id()
        """Names it to the hub; new in a forked child."""
        self._spool = (
            None if self._spooling is None else Spool(self._spooling, self._url, self.producer_id, self._report)
        )
        self._pending = PendingEvents(self._limits, self._spool)
        if self._closed:
            self._pending.close()
        self._starting = threading.Lock()
        self._ended = False
        self._thread: LoopThread | None = None
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
        """Take one event to be published; return whether it was taken. Never blocks, never raises.

        What is not taken was reported to `on_trouble` and counted: it is not what the contract allows, there is no room
        for it, or the outbox is at its end. See `Client.publish` for the arguments.
        """
        try:
            row = event_type(self._contract, type)
            if row is not None and row.event_class is EventClass.LATEST and event_id is None and timestamp is None:
                # Most of these are never sent: a newer one comes first.
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
        if taken is None:
            self._report(LogBusy("the outbox is full, because the hub is away or slow: events are dropped"))
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
        """Claim an operation for this producer, before it starts or while it runs. Never blocks, never raises.

        An operation that is started here is held without this, but cannot be cancelled, and goes on as it began.

        Args:
            operation_id: Which.
            lease_s: How long it outlives the connection; the producer's by default.
            trace_id: Of the start that `on_lost` returns.
            on_cancel: Answers a wish to cancel it, once for each wish; called on the outbox's own thread.
            on_lost: Called, on the outbox's own thread, when the hub has given the operation up, because its lease ran
                out or because it is another's now. The start that it returns goes out before everything of the
                operation that waits; None drops what waits. By default the next attempt starts as this one did.
        """
        self._pending.hold(operation_id, lease_s=lease_s, trace_id=trace_id, on_cancel=on_cancel, on_lost=on_lost)

    def release(self, operation_id: str) -> None:
        """Claim an operation no longer than until the hub has its end. Never blocks, never raises."""
        self._pending.release(operation_id)

    def answer_strays(self, on_cancel: OnCancel | None) -> None:
        """Have wishes to cancel what was started here and is held no longer answered by `on_cancel`.

        An operation that is queued for another process is released at once, and its cancel is still asked of the one
        that has queued it, until it begins. Called on the outbox's own thread, in this process and not in its forked
        children; without it such wishes are refused.
        """
        self._pending.answer_strays(on_cancel)

    def statistics(self) -> OutboxStatistics:
        """Return the outbox's figures."""
        return self._pending.statistics()

    def flush(self, timeout_s: float) -> int:
        """Wait until everything is in the log; return how many events are not.

        Args:
            timeout_s: How long to wait.
        """
        return self._pending.wait_settled(timeout_s, recovered=False)

    def close(self, timeout_s: float = 2.0) -> int:
        """Take nothing more, wait until everything is in the log, and end; return how many events are not.

        Starts and ends among those that are left stay on disk, to be sent by another outbox.

        Args:
            timeout_s: How long to wait; a hub that is away must not hold the job up. Closing a connection whose hub
                does not answer takes up to a second more.
        """
        self._closed = True
        self._pending.close()
        left = self._pending.wait_settled(timeout_s, recovered=True)
        with self._starting:
            self._ended = True
            thread, self._thread = self._thread, None
        if thread is not None:
            thread.close()
        if self._spool is not None:
            self._spool.close()
        return left

    # Inside.

    def _put(self, draft: Draft, row: EventType | None, at_ns: int = 0) -> bool | None:
        """Take an event; return whether it was taken, None where there is no room for it.

        Raises:
            ContractError: It is not what the contract allows.
        """
        payload = None if row is None else self._contract.decode(draft.type, b"" + draft.data)
        key = None if row is None or payload is None else event_key(row, payload)
        taken = self._pending.offer(
            draft,
            rank_of(row),
            key,
            ends=row is not None and row.ends_key,
            at_ns=at_ns,
            start=payload if isinstance(payload, OperationStartData) else None,
        )
        if taken:
            self._wake()
        return taken

    def _wake(self) -> None:
        """Wake the thread, or start it."""
        if self._sender is not None:
            self._sender.wake()
            return
        with self._starting:
            if self._sender is None and not self._ended:
                self._sender = Sender(
                    self._url,
                    self._options,
                    contract=self._contract,
                    holder=OutboxHolder(self.producer_id, self._lease_s, pending=self._pending, report=self._report),
                    pending=self._pending,
                    spooling=self._spooling,
                    report=self._report,
                )
                self._thread = LoopThread("tidings outbox")
                self._thread.start(self._sender.run())

    def _begin_anew(self) -> None:
        """Be a new outbox in a forked child, where no other thread runs, whatever they were doing."""
        _inherited.append((self._thread, self._sender, self._pending))
        if self._spool is not None:
            self._spool.abandon()
        self._begin()


def _check_lease(lease_s: float | None) -> float | None:
    if lease_s is not None and not 1 <= lease_s <= 86_400:
        raise ConfigError(f"a lease of {lease_s!r} s is not from 1 to 86,400", option="lease_s", source="argument")
    return lease_s


_outboxes: "weakref.WeakSet[Outbox]" = weakref.WeakSet()
_inherited: list[object] = []
"""What a forked child has of its parent's outboxes: kept, because to collect it were to close what the parent uses."""


def _begin_all_anew() -> None:
    for outbox in list(_outboxes):
        outbox._begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_all_anew)
