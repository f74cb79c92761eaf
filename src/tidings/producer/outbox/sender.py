"""The outbox's thread: what a job has put goes to the hub, and what the hub says comes to the job."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from msgspec import Struct

from tidings.client.close_reason import CloseReason
from tidings.client.drafts import stamp
from tidings.client.options import LinkOptions
from tidings.client.publisher import Publisher
from tidings.client.status import State, Status
from tidings.contract.contract import Contract
from tidings.exceptions import (
    CommandRefused,
    ConnectionLost,
    InternalError,
    OperationFenced,
    OperationFinished,
    TidingsError,
)
from tidings.producer.outbox.holder import OutboxHolder
from tidings.producer.outbox.pending import PendingEvents
from tidings.producer.outbox.queue import QueuedEvent
from tidings.producer.spool.directory import SpoolOptions
from tidings.producer.spool.recovery import clear_away, recover_all
from tidings.producer.spool.spool import Spool
from tidings.protocol.messages import Accepted

logger = logging.getLogger(__name__)

_RETRY_S = 1.0
"""Before an event that the hub could not store is sent again: a full disk is not empty the next moment."""
_SLICE = 32
"""Events sent while the job may have to wait for the lock: well under a millisecond."""
_TURN_S = 1.0
"""Before an operation is asked for again that another producer still has: a lease is not over the next moment."""
_ADOPTION_S = 30.0
"""How long sending what dead producers left may take at a time."""
_OVER = frozenset({OperationFinished.code, OperationFenced.code})


class SenderParts(Struct, frozen=True, kw_only=True):
    """What a sender works with."""

    url: str
    producer_id: str
    lease_s: float | None
    options: LinkOptions
    contract: Contract
    ledger: PendingEvents
    spool: Spool | None
    spooling: SpoolOptions | None
    trouble: Callable[[TidingsError], None]


class Sender:
    """One outbox's end of its connection; made by the job, run and used on the outbox's own thread.

    Args:
        post: What it works with.
    """

    def __init__(self, post: SenderParts) -> None:
        self._post = post
        self._ledger = post.ledger
        self._wake: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = False
        self._publisher: Publisher | None = None
        self._holding = False
        self._probing = False
        self._waiting_turn = False
        self._adoption: asyncio.Task[None] | None = None
        self._custody = OutboxHolder(
            post.producer_id, post.lease_s, ledger=post.ledger, spool=post.spool, trouble=post.trouble
        )

    def wake(self) -> None:
        """Have it look for what is new; called by the job's threads, with the ledger's lock held."""
        # Waking costs a system call; once is enough until it has looked.
        if not self._woken and self._wake is not None and self._loop is not None and not self._loop.is_closed():
            self._woken = True
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Send until it is cancelled, or the hub ends it for good."""
        post = self._post
        with self._ledger.lock:
            self._loop = asyncio.get_running_loop()
            wake = self._wake = asyncio.Event()
        publisher = self._publisher = Publisher(
            post.url,
            post.options,
            contract=post.contract,
            on_change=self._changed,
            holder=self._custody,
            on_lost=self._connection_lost,
        )
        link = publisher.link
        try:
            self._clear_away()
            while True:
                await link.wait_until(lambda: link.state is State.LIVE)
                self._begin_adoption()
                needed = self._pump(publisher)
                if needed is None:
                    await asyncio.sleep(0)
                elif needed:
                    await publisher.wait_room(needed)
                else:
                    await wake.wait()
                    wake.clear()
        except TidingsError as error:
            post.trouble(error)
        except Exception as error:
            logger.exception("the outbox failed")
            post.trouble(InternalError(f"the outbox failed: {error}"))
        finally:
            self._ledger.stop()
            if self._adoption is not None:
                self._adoption.cancel()
                await asyncio.wait([self._adoption])
            await publisher.aclose()

    # Sending.

    def _pump(self, publisher: Publisher) -> int | None:
        """Send a slice of what waits, as far as the window has room.

        Returns:
            The bytes that need more room; 0 where nothing waits; None where there is more.
        """
        ledger = self._ledger
        with ledger.lock:
            self._woken = False
            if claims := ledger.holdings.take_unclaimed():
                publisher.claim(claims)
            for _ in range(_SLICE):
                entry = ledger.queue.head()
                if entry is None or self._holding or (self._probing and ledger.in_flight):
                    return 0
                if ledger.turns.takes(entry):
                    ledger.queue.pop()
                    continue
                if not entry.draft.event_id:
                    entry = ledger.queue.stamp_head(stamp(entry.draft, entry.at_ns))
                answer = publisher.publish_nowait(entry.draft)
                if answer is None:
                    return len(entry.draft.data)
                ledger.sent(entry)
                answer.add_done_callback(partial(self._answered, entry))
        return None

    def _answered(self, entry: QueuedEvent, answer: "asyncio.Future[Accepted]") -> None:
        if answer.cancelled():
            return  # withdrawn: it is in the queue again
        failure = answer.exception()
        if failure is None:
            self._settle(entry, accepted=True, attempt=answer.result().attempt)
            if self._probing:
                self._probing = False
                self._look()
        elif isinstance(failure, CommandRefused) and (times := self._ledger.await_turn(entry, failure.refusal)):
            if times > 1:  # once is what a job does that is started again at once
                self._post.trouble(failure)
            self._wait_turn()
        elif isinstance(failure, CommandRefused) and not failure.recoverable:
            if not (failure.refusal in _OVER and entry.key in self._custody.over):
                self._post.trouble(failure)
            self._settle(entry, accepted=False)
        else:
            self._ledger.come_back(entry)
            if isinstance(failure, CommandRefused):
                self._hold()
                self._post.trouble(failure)

    def _settle(self, entry: QueuedEvent, *, accepted: bool, attempt: int | None = None) -> None:
        moot = self._ledger.settle(entry, accepted=accepted, attempt=attempt)
        self._custody.unspool([entry, *moot])
        if entry.ends and entry.key is not None:
            self._custody.over.discard(entry.key)
        elif attempt is not None:
            self._look()  # what has begun may have to be claimed, with a lease of its own

    def _hold(self) -> None:
        """Send nothing for a while: what failed comes back first, behind only what was on its way already."""
        if not self._holding and self._publisher is not None:
            self._holding = True
            self._publisher.link.call_later(_RETRY_S, self._release)

    def _release(self) -> None:
        self._holding = False
        if not self._ledger.restore():
            self._hold()
            return
        # One event alone, until the log takes one: what is sent behind one that fails may pass it.
        self._probing = True
        self._look()

    def _wait_turn(self) -> None:
        """Ask again, after a while, for operations that another producer still has."""
        if not self._waiting_turn and self._publisher is not None:
            self._waiting_turn = True
            self._publisher.link.call_later(_TURN_S, self._take_turn)

    def _take_turn(self) -> None:
        self._waiting_turn = False
        self._ledger.ask_turns()
        self._look()

    def _look(self) -> None:
        if self._wake is not None:
            self._wake.set()

    # The connection.

    def _changed(self, status: Status) -> None:
        # A connection that is lost comes back, as a rule, before anyone would have read about it.
        if status.error is not None and not isinstance(status.error, ConnectionLost):
            self._post.trouble(status.error)

    def _connection_lost(self, ending: CloseReason) -> None:
        assert self._publisher is not None
        self._ledger.connection_lost()
        self._publisher.withdraw()
        self._look()
        if ending.replaced:
            logger.warning(
                "another connection has taken the name of this producer, %s; it stays away for %g s",
                self._post.producer_id,
                ending.retry_after_s,
            )

    # What others left.

    def _clear_away(self) -> None:
        if self._post.spooling is not None and (dropped := clear_away(self._post.spooling)):
            logger.warning("what %d dead producers had left was too old, or too much, and is deleted", dropped)

    def _begin_adoption(self) -> None:
        if self._adoption is None and self._post.spooling is not None:
            self._ledger.adoption(running=True)
            self._adoption = asyncio.get_running_loop().create_task(
                self._adopt(self._post.spooling), name="tidings adoption"
            )

    async def _adopt(self, spooling: SpoolOptions) -> None:
        post = self._post
        try:
            for adopted in await recover_all(post.url, post.options, post.contract, spooling, timeout_s=_ADOPTION_S):
                logger.info("what a dead producer left: %s", adopted)
        except Exception:
            logger.exception("what dead producers left could not be sent")
        finally:
            self._ledger.adoption(running=False)
