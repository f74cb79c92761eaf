"""Publishing and cancelling for a caller that waits for each answer: what `Client` and the recovery of spools use."""

import asyncio
import sys
from typing import Any

from tidings.client.attachment import Holder
from tidings.client.close_reason import CloseReason
from tidings.client.drafts import Draft
from tidings.client.events import Settled
from tidings.client.options import LinkOptions, OnChange
from tidings.client.publish_queue import PublishQueue, QueuedEvent, QueueLimits, Rank, WindowLimits
from tidings.client.reliable_publisher import ReliablePublisher
from tidings.contract.contract import Contract
from tidings.exceptions import CommandRefused, ConnectionLost, LicenseExpired, PublishTimeout
from tidings.protocol.messages import Accepted, Cancel, CancelOutcome

CANCEL_GRACE_S = 1.0
"""Seconds for the way to the hub and back, beyond the time within which the hub itself answers."""
_UNLIMITED = QueueLimits(events=sys.maxsize, bytes=sys.maxsize)
"""Each event that waits has a caller that waits for it: the callers are the bound."""


class Publisher:
    """One connection on which each publication returns its own answer.

    A refusal is returned to the caller, whether or not it may pass; after a lost connection events are sent again.

    Args:
        url: Address of the hub.
        options: How to connect.
        contract: Event types known here.
        window: Bound on the events in flight; further calls wait, in the order of the calls.
        on_change: Called when the state of the connection changes.
        holder: The producer that the connection belongs to; None if it holds no operations.
    """

    def __init__(
        self,
        url: str,
        options: LinkOptions,
        *,
        contract: Contract,
        window: WindowLimits = WindowLimits(),  # noqa: B008 -- frozen
        on_change: OnChange | None = None,
        holder: Holder | None = None,
    ) -> None:
        self._answers: dict[int, asyncio.Future[Accepted]] = {}
        self._outcomes: dict[str, asyncio.Future[CancelOutcome]] = {}
        self.queue = PublishQueue(_UNLIMITED, window)
        self._engine = ReliablePublisher(
            url,
            options,
            self.queue,
            contract=contract,
            on_settled=self._settled,
            retry_s=None,
            on_change=on_change,
            on_lost=self._connection_lost,
            on_end=self._ended,
            on_outcome=self._outcome_received,
            holder=holder,
        )
        self.link = self._engine.link

    async def wait_connected(self) -> None:
        """Wait until a hub has greeted this client, and let it in; raises as `wait_live`."""
        await self.link.wait_until(lambda: self._engine.session.authentication.admitted)

    async def wait_live(self) -> None:
        """See `ReliablePublisher.wait_live`."""
        await self._engine.wait_live()

    async def publish(self, draft: Draft, *, timeout_s: float | None) -> Accepted:
        """Publish `draft` and return the hub's answer; see `tidings.client.client.Client.publish`."""
        self._check_open()
        answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        entry = self._engine.put(draft, Rank.DURABLE)
        assert entry is not None, "the queue is not limited"
        self._answers[entry.number] = answer
        try:
            async with self.link.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise PublishTimeout(
                f"no answer within {timeout_s:g} s: {draft.type} may or may not be in the log",
                event_id=draft.event_id,
                hint=f"Publish it again with event_id={draft.event_id!r}: it is stored once.",
            ) from None
        finally:
            if self._answers.pop(entry.number, None) is not None:
                self._engine.withdraw(entry)

    async def cancel(self, request: Cancel) -> CancelOutcome:
        """Request the end of an operation and return the outcome; see `tidings.client.client.Client.cancel`."""
        self._check_open()
        session = self._engine.session
        outcome: asyncio.Future[CancelOutcome] = asyncio.get_running_loop().create_future()
        id = session.cancel(request, self.link.now())
        self._outcomes[id] = outcome
        self.link.flush()
        timeout_s = request.timeout_s + CANCEL_GRACE_S
        try:
            async with self.link.timeout(timeout_s):
                return await outcome
        except TimeoutError:
            raise self.link.status.error or ConnectionLost(
                f"the hub did not report the outcome of the cancel request within {timeout_s:g} s"
            ) from None
        finally:
            del self._outcomes[id]
            session.cancellations.settle(id)

    async def aclose(self) -> None:
        """Close the connection. Calls without an answer raise ConnectionLost: their event may be in the log."""
        await self._engine.aclose()

    def _settled(self, entry: QueuedEvent, result: Accepted | CommandRefused) -> None:
        answer = self._answers.pop(entry.number, None)
        if answer is not None:
            _resolve(answer, result)

    def _outcome_received(self, item: Settled) -> None:
        outcome = self._outcomes.get(item.id)
        if outcome is not None:
            _resolve(outcome, item.result)

    def _check_open(self) -> None:
        if self.link.ended:
            raise self._failure()
        error = self.link.status.error
        if isinstance(error, LicenseExpired):
            raise error

    def _connection_lost(self, reason: CloseReason) -> None:
        # A caller need not wait days for a renewal; a hub that still lets clients read answers with the same error.
        if isinstance(reason.error, LicenseExpired):
            self._fail_all(reason.error)

    def _ended(self, failure: BaseException | None) -> None:
        self._fail_all(self._failure())

    def _fail_all(self, failure: BaseException) -> None:
        for answer in self._answers.values():
            _resolve(answer, failure)
        for outcome in self._outcomes.values():
            _resolve(outcome, failure)

    def _failure(self) -> BaseException:
        return self.link.failure or ConnectionLost(
            "the client was closed before the hub's answer: the event may or may not be in the log",
            hint="Publish it again with the same event_id: it is stored once.",
        )


def _resolve(waiting: "asyncio.Future[Any]", result: object) -> None:
    if waiting.done():
        return
    if isinstance(result, BaseException):
        waiting.set_exception(result)
    else:
        waiting.set_result(result)
