"""Publishing: events go to the log in order, and each one's fate comes back.

How much may be on its way at once.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct

from tidings.client.attachment import Attachment, Holder
from tidings.client.close_reason import CloseReason
from tidings.client.events import AttachRefused, CancelAsked, Delivery, Settled
from tidings.client.link import Link
from tidings.client.options import LinkOptions, OnChange
from tidings.client.pending import Draft
from tidings.client.session import Session
from tidings.client.status import State
from tidings.contract.contract import Contract
from tidings.exceptions import ConnectionLost, PublishTimeout, TidingsError
from tidings.protocol.messages import Accepted, Attached, Cancel, CancelAnswer, CancelOutcome, Claim


class SendWindow:
    """A bound on publications that wait for their answer; whoever wants more waits for room, first come first served.

    Args:
        count: Publications at once.
        size: Bytes of them at once; one that is larger by itself goes alone.
    """

    def __init__(self, count: int, size: int) -> None:
        self._free_count = self._count = count
        self._free_size = self._size = size
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    def take_nowait(self, size: int) -> bool:
        """Take room for one of `size` bytes, if there is any and nobody waits for it; return whether it was taken."""
        if self._waiters or not self._fits(size):
            return False
        self._take(size)
        return True

    async def take(self, size: int) -> None:
        """Wait for room for one of `size` bytes, and take it. A take that is cancelled has taken nothing."""
        if self.take_nowait(size):
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((size, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.give(size)  # it was granted in the moment of the cancellation
            else:
                with contextlib.suppress(ValueError):  # passed over already
                    self._waiters.remove((size, waiter))
                self._grant()
            raise

    def give(self, size: int) -> None:
        """Give back what `take` took."""
        self._free_count += 1
        self._free_size += size
        self._grant()

    def _fits(self, size: int) -> bool:
        return self._free_count > 0 and (size <= self._free_size or self._free_size == self._size)

    def _take(self, size: int) -> None:
        self._free_count -= 1
        self._free_size -= size

    def _grant(self) -> None:
        while self._waiters and self._fits(self._waiters[0][0]):
            size, waiter = self._waiters.popleft()
            if waiter.cancelled():
                continue
            self._take(size)
            waiter.set_result(None)


CANCEL_GRACE_S = 1.0
"""For the way to the hub and back, beyond the time within which the hub itself answers."""
_MOST_ANSWERS = 1_000
"""Answered pushes that are remembered, so that one that comes again gets the same answer."""


class WindowLimits(Struct, frozen=True, kw_only=True):
    """What one publisher may have unacknowledged; beyond it, publishing waits. The hub reads no further either."""

    events: int = 1_000
    bytes: int = 4 << 20


class Publisher:
    """One link that publishes, and says what belongs to publishing: who holds what, and what is to be cancelled.

    Args:
        url: Where the hub is.
        options: How to connect.
        contract: What event types are known here.
        window: How much may be unacknowledged.
        on_change: Called when the link's state changes.
        holder: The producer whose connection it is; None where nobody holds anything.
        on_lost: Called when a connection has ended, before anything is sent again.
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
        on_lost: Callable[[CloseReason], None] | None = None,
    ) -> None:
        attachment = None if holder is None else Attachment(holder.producer_id, holder.lease_s, holder.claims)
        self._session = Session(contract, greeting_s=options.open_timeout_s, attachment=attachment)
        self._holder = holder
        self._said: dict[tuple[str, str], CancelAnswer] = {}
        self._allowance = SendWindow(window.events, window.bytes)
        self._answers: dict[str, asyncio.Future[Accepted]] = {}
        self._outcomes: dict[str, asyncio.Future[CancelOutcome]] = {}
        self.link = Link(
            self._session,
            url,
            options,
            deliver=self._deliver,
            on_end=self._ended,
            on_change=on_change,
            on_lost=on_lost,
            name="tidings publisher",
        )

    async def wait_connected(self) -> None:
        """Wait until a hub has greeted us.

        Raises:
            HubUnreachable: Nothing answers, and it is not to be waited for.
            HandshakeRefused: The upgrade was refused.
            NotAHub: What answers does not speak tidings.
            HubClosed: The hub will not have us.
        """
        await self.link.wait_until(lambda: self._session.established is not None)

    async def wait_live(self) -> None:
        """Wait until what is published goes out: a hub is there, and has said to the holder what it holds.

        Raises:
            BaseException: What ended the link before, as in `wait_connected`.
        """
        await self.link.wait_until(lambda: self.link.state is State.LIVE)

    async def publish(self, draft: Draft, *, timeout_s: float | None) -> Accepted:
        """Publish `draft` and return the hub's answer; see `tidings.client.client.Client.publish`."""
        try:
            async with self.link.timeout(timeout_s):
                await self._allowance.take(len(draft.data))
                return await self._submit(draft)
        except TimeoutError:
            raise PublishTimeout(
                f"no answer within {timeout_s:g} s: {draft.type} may or may not be in the log",
                event_id=draft.event_id,
                hint=f"Publish it again with event_id={draft.event_id!r}: it is stored once.",
            ) from None

    def publish_nowait(self, draft: Draft) -> "asyncio.Future[Accepted] | None":
        """Send `draft` if the window has room for it, and return its answer to come; else return None."""
        if not self._allowance.take_nowait(len(draft.data)):
            return None
        return self._submit(draft)

    async def wait_room(self, size: int) -> None:
        """Wait until the window has room for `size` bytes."""
        await self._allowance.take(size)
        self._allowance.give(size)

    def claim(self, claims: Sequence[Claim]) -> None:
        """Claim operations that the holder has come to after the connection began."""
        self._session.claim(claims)
        self.link.flush()

    async def cancel(self, wish: Cancel) -> CancelOutcome:
        """Ask for the end of an operation, and return what came of it; see `tidings.client.client.Client.cancel`."""
        loop = asyncio.get_running_loop()
        if self.link.ended:
            raise self._failure()
        outcome: asyncio.Future[CancelOutcome] = loop.create_future()
        id = self._session.cancel(wish, self.link.now())
        self._outcomes[id] = outcome
        self.link.flush()
        try:
            async with self.link.timeout(wish.timeout_s + CANCEL_GRACE_S):
                return await outcome
        except TimeoutError:
            raise self.link.status.error or ConnectionLost(
                f"the hub did not say within {wish.timeout_s + CANCEL_GRACE_S:g} s what became of the wish to cancel"
            ) from None
        finally:
            del self._outcomes[id]
            self._session.cancellations.settle(id)

    def withdraw(self) -> None:
        """Give up every publication that has no answer: none is sent again, and their answers are cancelled."""
        for answer in list(self._answers.values()):
            answer.cancel()

    async def aclose(self) -> None:
        """Close the connection. What is unacknowledged fails with ConnectionLost: it may or may not be in the log."""
        await self.link.aclose()

    def _submit(self, draft: Draft) -> "asyncio.Future[Accepted]":
        answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        answer.add_done_callback(partial(self._answered, len(draft.data)))
        if self.link.ended:
            answer.set_exception(self._failure())
            return answer
        id = self._session.publish(draft)
        self._answers[id] = answer
        # Where its owner gave up, nobody may wait for it, and it is not sent again.
        answer.add_done_callback(partial(self._forget, id))
        self.link.flush()
        return answer

    def _answered(self, size: int, answer: "asyncio.Future[Accepted]") -> None:
        self._allowance.give(size)

    def _forget(self, id: str, answer: "asyncio.Future[Accepted]") -> None:
        self._answers.pop(id, None)
        self._session.publications.settle(id)

    def _deliver(self, items: Sequence[Delivery]) -> None:
        for item in items:
            if isinstance(item, Settled):
                self._settle(item)
            elif self._holder is None:
                continue
            elif isinstance(item, Attached):
                self._holder.attached(item)
            elif isinstance(item, AttachRefused):
                self._holder.attach_refused(item.error)
            elif isinstance(item, CancelAsked):
                self._answer_cancel(self._holder, item)

    def _settle(self, item: Settled) -> None:
        answer: asyncio.Future[Any] | None = self._answers.get(item.id) or self._outcomes.get(item.id)
        if answer is None or answer.done():
            return
        if isinstance(item.result, TidingsError):
            answer.set_exception(item.result)
        else:
            answer.set_result(item.result)

    def _answer_cancel(self, holder: Holder, asked: CancelAsked) -> None:
        # With the operation, because a hub that restarts may count its pushes anew.
        wish = (asked.id, asked.push.operation_id)
        answer = self._said.get(wish) or holder.cancel(asked.push)
        if answer is None:
            return
        if len(self._said) >= _MOST_ANSWERS:
            del self._said[next(iter(self._said))]
        self._said[wish] = answer
        self._session.answer_cancel(asked.id, answer)
        self.link.flush()

    def _ended(self, failure: BaseException | None) -> None:
        waiting: list[asyncio.Future[Any]] = [*self._answers.values(), *self._outcomes.values()]
        for answer in waiting:
            if not answer.done():
                answer.set_exception(self._failure())

    def _failure(self) -> BaseException:
        return self.link.failure or ConnectionLost(
            "the client was closed before the hub's answer: what was sent may or may not be in the log",
            hint="Publish it again with the same event_id: it is stored once.",
        )
