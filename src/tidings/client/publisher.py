"""Publishing: events go to the log in order, and each one's fate comes back."""

import asyncio
import secrets
import time
from collections.abc import Sequence
from functools import partial

from msgspec import Struct

from tidings.client.allowance import Allowance
from tidings.client.ids import uuid7
from tidings.client.items import Item, Settled
from tidings.client.link import Link
from tidings.client.options import LinkOptions, OnChange
from tidings.client.publications import Draft, PayloadLike, check_draft, encode_data
from tidings.client.session import Session
from tidings.contract.commands import Accepted
from tidings.contract.contract import Contract
from tidings.contract.timestamps import from_nanoseconds
from tidings.exceptions import CommandRefused, ConnectionLost, InvalidEnvelope, PublishTimeout


class Window(Struct, frozen=True, kw_only=True):
    """What one publisher may have unacknowledged; beyond it, publishing waits. The hub reads no further either."""

    events: int = 1_000
    bytes: int = 4 << 20


def make_draft(
    type: str,
    payload: PayloadLike = None,
    *,
    trace_id: str | None = None,
    channel: str | None = None,
    event_id: str | None = None,
    timestamp: str | None = None,
) -> Draft:
    """Return an event ready to be published, stamped with this machine's clock and a new id where it names none.

    Raises:
        InvalidEnvelope: The type is no text.
        InvalidPayload: The payload holds something that JSON cannot.
        PayloadTooLarge: It is over 65,535 bytes.
        InvalidEventID: The event id is not 16–64 printable ASCII characters.
        InvalidTraceID: The trace id is not 1–128 printable ASCII characters.
    """
    if not isinstance(type, str):
        raise InvalidEnvelope(f"$.type: {type!r} is no text", path="$.type")
    now_ns = time.time_ns()
    draft = Draft(
        type=str(type),
        data=encode_data(payload),
        timestamp=timestamp or from_nanoseconds(now_ns),
        event_id=event_id or uuid7(now_ns // 1_000_000, secrets.randbits(74)),
        trace_id=trace_id,
        channel=None if channel is None else str(channel),
    )
    return check_draft(draft)


class Publisher:
    """One link that only publishes.

    Args:
        url: Where the hub is.
        options: How to connect.
        contract: What event types are known here.
        window: How much may be unacknowledged.
        on_change: Called when the link's state changes.
    """

    def __init__(
        self,
        url: str,
        options: LinkOptions,
        *,
        contract: Contract,
        window: Window = Window(),  # noqa: B008 -- frozen
        on_change: OnChange | None = None,
    ) -> None:
        self._session = Session(contract, greeting_s=options.open_timeout_s)
        self._allowance = Allowance(window.events, window.bytes)
        self._answers: dict[str, asyncio.Future[Accepted]] = {}
        self.link = Link(
            self._session,
            url,
            options,
            deliver=self._settle,
            on_end=self._ended,
            on_change=on_change,
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

    async def publish(self, draft: Draft, *, timeout_s: float | None) -> Accepted:
        """Publish `draft` and return the hub's answer; see `tidings.client.client.Client.publish`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._allowance.take(len(draft.data))
                return await self._submit(draft)
        except TimeoutError:
            raise PublishTimeout(
                f"no answer within {timeout_s:g} s: {draft.type} may or may not be in the log",
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

    def _settle(self, items: Sequence[Item | Settled]) -> None:
        for item in items:
            if isinstance(item, Settled) and (answer := self._answers.get(item.id)) is not None and not answer.done():
                if isinstance(item.result, CommandRefused):
                    answer.set_exception(item.result)
                else:
                    answer.set_result(item.result)

    def _ended(self, failure: BaseException | None) -> None:
        for answer in list(self._answers.values()):
            if not answer.done():
                answer.set_exception(self._failure())

    def _failure(self) -> BaseException:
        return self.link.failure or ConnectionLost(
            "the client was closed before the hub's answer: the event may or may not be in the log",
            hint="Publish it again with the same event_id: it is stored once.",
        )
