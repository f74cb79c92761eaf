"""The outbox's thread: connects, publishes what the job has put, and recovers what dead producers left."""

import asyncio
import logging
from collections.abc import Callable

from tidings.client.close_reason import CloseReason
from tidings.client.link import Link
from tidings.client.options import LinkOptions
from tidings.client.publish_queue import QueuedEvent
from tidings.client.reliable_publisher import RETRY_S, ReliablePublisher
from tidings.client.status import State, Status
from tidings.contract.contract import Contract
from tidings.exceptions import (
    CommandRefused,
    ConnectionLost,
    HubUnreachable,
    InternalError,
    OperationFenced,
    OperationFinished,
    TidingsError,
)
from tidings.producer.outbox.holder import OutboxHolder
from tidings.producer.outbox.pending import PendingEvents
from tidings.producer.reduction import reduce_end
from tidings.producer.spool.directory import SpoolOptions
from tidings.producer.spool.recovery import SpoolSender, delete_expired, recover_all
from tidings.protocol.messages import Accepted

logger = logging.getLogger(__name__)

_CONTENTION_RETRY_S = 1.0
"""Delay before a contended operation's start is sent again: another producer's lease does not end the next moment."""
_RECOVERY_TIMEOUT_S = 30.0
"""Maximum time for sending what dead producers left."""
_PATIENCE_S = 1.0
"""Time for a connection and the hub's greeting at the end of the outbox, in seconds, if no hub has ever answered."""
_ENDED = frozenset({OperationFinished.code, OperationFenced.code})
"""Error codes for events of an operation that has ended."""


class Sender:
    """The part of an outbox that runs on its own thread; made by the job's.

    Args:
        url: Address of the hub.
        options: How to connect.
        contract: Event types known here.
        holder: The outbox as a holder of operations.
        pending: The outbox's events.
        spooling: Where dead producers' spool files are; None recovers nothing.
        report: Called with errors that keep events from the log.
    """

    def __init__(
        self,
        url: str,
        options: LinkOptions,
        *,
        contract: Contract,
        holder: OutboxHolder,
        pending: PendingEvents,
        spooling: SpoolOptions | None,
        report: Callable[[TidingsError], None],
    ) -> None:
        self._url = url
        self._options = options
        self._contract = contract
        self._holder = holder
        self._pending = pending
        self._spooling = spooling
        self._report = report
        self._publisher: ReliablePublisher | None = None
        self._retrying_contended = False
        self._recovery: asyncio.Task[None] | None = None
        self._hurried = False
        self._connecting_at_s = 0.0
        """When the latest connection attempt begins, by the link's clock."""

    def wake(self) -> None:
        """Send what is new; called by the job's threads."""
        if self._publisher is not None:
            self._publisher.wake()

    def hurry(self) -> None:
        """Use the little time that is left: connect now, and soon again. For the loop's own thread."""
        self._hurried = True
        if self._publisher is not None:
            self._hurry(self._publisher.link)

    def _hurry(self, link: Link) -> None:
        link.hurry()
        waited_s = max(0.0, link.now() - self._connecting_at_s)
        link.call_later(max(0.0, _PATIENCE_S - waited_s), self._give_up_waiting)

    def _give_up_waiting(self) -> None:
        if self._publisher is not None and self._publisher.session.established is None:
            self._report(HubUnreachable("the server has not answered yet"))
            self._pending.note_no_hub()

    async def run(self) -> None:
        """Publish until it is cancelled, or the hub ends the connection for good."""
        if self._publisher is not None:
            return  # an exception between the start of this and its confirmation makes the outbox start it again
        publisher = self._publisher = ReliablePublisher(
            self._url,
            self._options,
            self._pending,
            contract=self._contract,
            on_settled=self._settled,
            on_refused=self._retake,
            on_retry=self._report,
            retry_s=RETRY_S,
            on_change=self._link_changed,
            on_lost=self._connection_lost,
            holder=self._holder,
        )
        try:
            self._connecting_at_s = publisher.link.now()
            if self._hurried:
                self._hurry(publisher.link)
            self._delete_expired_spools()
            await publisher.run()
        except TidingsError as error:
            self._report(error)
        except Exception as error:
            logger.exception("the outbox failed")
            self._report(InternalError(f"the outbox failed: {error}"))
        finally:
            self._pending.stop()
            if self._recovery is not None:
                self._recovery.cancel()
                await asyncio.wait([self._recovery])
            await publisher.aclose()

    # Answers.

    def _settled(self, entry: QueuedEvent, result: Accepted | CommandRefused) -> None:
        ended_by_hub = self._holder.ended_by_hub
        if isinstance(result, CommandRefused) and not (result.refusal in _ENDED and entry.key in ended_by_hub):
            self._report(result)
        if entry.ends and entry.key is not None:
            ended_by_hub.discard(entry.key)
        elif isinstance(result, Accepted) and result.attempt is not None and self._publisher is not None:
            self._publisher.pump_soon()  # the operation may have to be claimed, with a lease of its own

    def _retake(self, entry: QueuedEvent, error: CommandRefused) -> bool:
        """Take a refused event back if it, or a reduced form of it, is to be sent again; return whether it is."""
        reduced = reduce_end(entry.draft, error.refusal) if entry.ends else None
        if reduced is None:
            return self._contend(entry, error)
        self._report(error)
        self._pending.replace(entry, reduced)
        return True

    def _contend(self, entry: QueuedEvent, error: CommandRefused) -> bool:
        """Keep an event that was refused because another producer still holds its operation."""
        refusals = self._pending.contend(entry, error.refusal)
        if refusals > 1:  # one refusal is normal for a job that is started again immediately
            self._report(error)
        if refusals and not self._retrying_contended and self._publisher is not None:
            self._retrying_contended = True
            self._publisher.link.call_later(_CONTENTION_RETRY_S, self._retry_contended)
        return refusals > 0

    def _retry_contended(self) -> None:
        self._retrying_contended = False
        self._pending.retry_contended()
        if self._publisher is not None:
            self._publisher.pump_soon()

    # The connection.

    def _link_changed(self, status: Status) -> None:
        if self._publisher is not None:
            subject = "" if status.access is None else status.access.subject
            self._pending.give_owner(self._publisher.link.credentials.owner, subject)
        if status.retry_at is not None:
            self._connecting_at_s = status.retry_at
        # Recovery begins before the first event is sent, so that `close` waits for it.
        if status.state is State.LIVE:
            self._pending.expect_hub()
        if (
            status.state is State.LIVE
            and self._recovery is None
            and self._spooling is not None
            and self._publisher is not None
        ):
            self._pending.note_recovery(running=True)
            subject = "" if status.access is None else status.access.subject
            sender = SpoolSender(owner=self._publisher.link.credentials.owner, subject=subject)
            self._recovery = asyncio.get_running_loop().create_task(
                self._recover(self._spooling, sender), name="tidings recovery"
            )
        if status.error is not None and self._publisher is not None and self._publisher.session.established is None:
            self._pending.note_no_hub()
        # A lost connection is not reported: as a rule it is back before a person has read the report.
        if status.error is not None and not isinstance(status.error, ConnectionLost):
            self._report(status.error)

    def _connection_lost(self, reason: CloseReason) -> None:
        if reason.replaced:
            logger.warning(
                "another connection has taken the name of this producer, %s; it stays away for %g s",
                self._holder.producer_id,
                reason.retry_after_s,
            )

    # Recovery.

    def _delete_expired_spools(self) -> None:
        try:
            dropped = 0 if self._spooling is None else delete_expired(self._spooling)
        except Exception:  # nothing that is wrong with a disk may keep events from the hub
            logger.exception("the spool files of dead producers could not be examined")
        else:
            if dropped:
                logger.warning("deleted the spool files of %d dead producers: too old, or too much", dropped)

    async def _recover(self, spooling: SpoolOptions, sender: SpoolSender) -> None:
        try:
            for recovered in await recover_all(
                self._url, self._options, self._contract, spooling, timeout_s=_RECOVERY_TIMEOUT_S, sender=sender
            ):
                logger.info("recovered from a dead producer: %s", recovered)
        except Exception:
            logger.exception("what dead producers left could not be sent")
        finally:
            self._pending.note_recovery(running=False)
