"""Republishing what another service says."""

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence

from msgspec import Struct

from tidings.client.options import LinkOptions
from tidings.client.publish_queue import PublishQueue, QueuedEvent, QueueLimits
from tidings.client.reconnect import Reconnect
from tidings.client.reliable_publisher import ReliablePublisher
from tidings.client.status import State, Status
from tidings.client.url import authority
from tidings.contract.contract import Contract
from tidings.exceptions import ClientError, CommandRefused
from tidings.protocol.codes import error_data
from tidings.protocol.messages import Accepted
from tidings.relay.source import PlainSource, SourceStatus
from tidings.relay.translate import Intake, Recent
from tidings.relay.warnings import RelayWarnings, Say

DRAIN_S = 2.0
"""How long the end may wait for the hub to have everything that was read."""
_HUB_FIRST_S = 3.0
"""How long the service is not read because the hub is not there; longer, and too much would happen meanwhile."""
MOST = QueueLimits(events=100_000, bytes=64 << 20)
"""What waits for a hub that is away: a service's busy hour, with its progress conflated."""


class RelayOptions(Struct, frozen=True, kw_only=True):
    """What is relayed from where to where."""

    source: str
    """The service's URL."""
    hub: str
    """The hub's, in full."""
    link: LinkOptions
    """How to connect to the hub."""
    headers: Sequence[tuple[str, str]] = ()
    """For the service's handshake."""
    prefix: str = ""
    """What the ids of operations are to begin with."""
    limits: QueueLimits = MOST
    give_up_s: float | None = None
    """How long a service may be away; None is for ever."""
    reconnect: Reconnect = Reconnect()
    """How soon a service that is away is tried again."""


class RelayStatistics(Struct, frozen=True, kw_only=True):
    """A relay's figures."""

    messages: int
    """WebSocket messages that the service sent."""
    envelopes: int
    """What they held, valid or not."""
    published: int
    """Events that are in the hub's log and were not before."""
    known: int
    """Events that were there before: the service sent them again."""
    refused: int
    """Events that the hub does not take."""
    invalid: int
    """What was no envelope."""
    direct: int
    """What was said to our connection only, or is the hub's own to say."""
    unknown: int
    """Envelopes of types that the contract does not have, whatever became of them."""
    conflated: int
    """Events of class `latest` that a newer one replaced while the hub was away or slow."""
    shed: int
    """Events that were dropped because too much waited for the hub."""
    left: int
    """Events that are not in the hub's log yet."""
    source_connections: int
    hub_connections: int


class Relay:
    """One service's events, republished into one hub for as long as it runs.

    It holds no operation: it does not run them, and could not end them. See docs/relaying.md.

    Args:
        options: From where to where.
        contract: What event types are known here.
        say: Tells a person what is wrong, once a kind, and how the connections stand.
    """

    def __init__(self, options: RelayOptions, *, contract: Contract, say: Say) -> None:
        self.options = options
        self._say = say
        self._remarks = RelayWarnings(say)
        self._recent = Recent()
        self._intake = Intake(contract, self._remarks, prefix=options.prefix, recent=self._recent)
        self._source = PlainSource(
            options.source,
            self._received,
            on_change=self._source_changed,
            headers=options.headers,
            give_up_s=options.give_up_s,
            reconnect=options.reconnect,
        )
        self._publisher = ReliablePublisher(
            options.hub,
            options.link,
            PublishQueue(options.limits),
            contract=contract,
            on_settled=self._settled,
            on_retry=self._warn_retrying,
            on_change=self._hub_changed,
        )
        self._published = self._known = self._refused = 0
        self._hub_away = self._source_away = ""

    # Running.

    async def run(self, stop: asyncio.Event) -> None:
        """Relay until `stop`, then wait a moment for the hub to have what was read.

        Raises:
            SourceGone: The service was away for too long.
            ClientError: The hub ended the connection for good.
        """
        sending = asyncio.create_task(self._publisher.run(), name="tidings relay sender")
        reading = asyncio.create_task(self._read(), name="tidings relay reader")
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([sending, reading, stopping], return_when=asyncio.FIRST_COMPLETED)
            await _end(reading)
            if not sending.done():
                await self._drain(sending)
        finally:
            stopping.cancel()
            await _end(reading)
            await _end(sending)
            await self._publisher.aclose()
        for task in (sending, reading):
            if not task.cancelled() and (failure := task.exception()) is not None:
                raise failure

    async def _read(self) -> None:
        # What services send first, of what there was before, need not wait in its newest only.
        with contextlib.suppress(TimeoutError, ClientError):
            async with asyncio.timeout(_HUB_FIRST_S):
                await self._publisher.wait_live()
        await self._source.run()

    async def _drain(self, sending: "asyncio.Task[None]") -> None:
        drained = asyncio.ensure_future(self._publisher.wait_below(1))
        await asyncio.wait([drained, sending], timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
        await _end(drained)

    def statistics(self) -> RelayStatistics:
        """Return the relay's figures."""
        counts, queue = self._intake.counts, self._publisher.queue
        return RelayStatistics(
            messages=counts.messages,
            envelopes=counts.envelopes,
            published=self._published,
            known=self._known + counts.known,
            refused=self._refused,
            invalid=counts.invalid,
            direct=counts.direct,
            unknown=self._intake.unknown.total(),
            conflated=queue.conflated,
            shed=queue.shed,
            left=queue.left,
            source_connections=self._source.connections,
            hub_connections=self._publisher.link.connections,
        )

    @property
    def unknown(self) -> dict[str, int]:
        """Envelopes of types that the contract does not have, by type."""
        return dict(self._intake.unknown)

    @property
    def standing(self) -> str:
        """How the connections stand, in a word or two."""
        if not self._source.status.connected:
            return "waiting for the service"
        return "relaying" if self._publisher.link.state is State.LIVE else "waiting for the hub"

    # What comes in.

    def _received(self, message: bytes) -> Awaitable[None] | None:
        for taken in self._intake.read(message):
            if not self._publisher.put(taken.draft, taken.rank, taken.key):
                self._remarks.once("full", "too much waits for the hub: events are dropped, of the least worth first")
        # A hub that is only slower than a burst makes the service wait; one that is away must not.
        return self._publisher.wait_drained() if self._publisher.backed_up else None

    def _settled(self, entry: QueuedEvent, result: Accepted | CommandRefused) -> None:
        if isinstance(result, Accepted):
            self._recent.add(entry.draft.event_id)
            if result.duplicate:
                self._known += 1
            else:
                self._published += 1
            return
        self._refused += 1
        shown = entry.draft.type[:80]
        self._remarks.once(
            f"refused {result.refusal} {shown}",
            f"the hub refuses {shown}: {result} ({result.refusal})",
            error_data(result).hint or "",
        )

    def _warn_retrying(self, error: CommandRefused) -> None:
        self._remarks.once(f"held up {error.refusal}", f"the hub cannot take events now: {error}", error.hint)

    # How it stands.

    def _source_changed(self, status: SourceStatus) -> None:
        where = authority(self.options.source)
        if status.connected:
            self._source_away = ""
            self._say(f"connected to {where}", "")
        elif status.error != self._source_away:
            self._source_away = status.error
            self._say(f"{status.error}; trying again until it is there", "")

    def _hub_changed(self, status: Status) -> None:
        where = authority(self.options.hub)
        if status.state is State.LIVE and self._hub_away:
            self._hub_away = ""
            self._say(f"connected to the hub at {where} again", "")
        # A lost connection, and nobody there behind it, is one absence and not two.
        elif status.state is State.CONNECTING and status.error is not None and not self._hub_away:
            self._hub_away = str(status.error)
            self._say(f"{status.error}; what is read meanwhile waits", "")


async def _end(task: "asyncio.Future[None]") -> None:
    """Cancel a task and wait for its end, whatever it is."""
    task.cancel()
    await asyncio.wait([task])
