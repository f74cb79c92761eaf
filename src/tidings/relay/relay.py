"""Republishes the events of another service into a hub."""

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
from tidings.exceptions import AccessError, ClientError, CommandRefused, LicenseExpired
from tidings.protocol.codes import error_data
from tidings.protocol.messages import Accepted
from tidings.relay.source import PlainSource, SourceStatus
from tidings.relay.translate import RecentIds, Translator
from tidings.relay.warnings import RelayWarnings, Report

DRAIN_S = 2.0
"""Maximum seconds at the end for sending the events that were read."""
_HUB_FIRST_S = 3.0
"""Seconds to wait for the hub before reading the service; any longer, and too many events would be missed."""
DEFAULT_LIMITS = QueueLimits(events=100_000, bytes=64 << 20)
"""Default backlog while the hub is away: a service's busy hour, with its progress conflated."""


class RelayOptions(Struct, frozen=True, kw_only=True):
    """Options of a relay."""

    source: str
    """URL of the service."""
    hub: str
    """Full URL of the hub."""
    link: LinkOptions
    """How to connect to the hub."""
    headers: Sequence[tuple[str, str]] = ()
    """Headers of the handshake with the service."""
    prefix: str = ""
    """Prefix for the ids of operations."""
    limits: QueueLimits = DEFAULT_LIMITS
    give_up_s: float | None = None
    """Seconds that the service may be away; None means forever."""
    reconnect: Reconnect = Reconnect()
    """Delay before reconnecting to the service."""


class RelayStatistics(Struct, frozen=True, kw_only=True):
    """Figures of a relay."""

    messages: int
    """WebSocket messages from the service."""
    envelopes: int
    """Envelopes in these messages, valid or not."""
    published: int
    """Events stored in the hub's log for the first time."""
    known: int
    """Events that were in the log before: the service sent them again."""
    refused: int
    """Events that the hub refused."""
    invalid: int
    """Items that are not valid envelopes."""
    direct: int
    """Envelopes for the relay's own connection, or of types that only a hub publishes."""
    unknown: int
    """Envelopes of types that the contract does not have; they are published all the same."""
    conflated: int
    """Events of class `latest` that a newer event replaced while the hub was away or slow."""
    shed: int
    """Events that were dropped because the queue was full."""
    left: int
    """Events that are not in the hub's log yet."""
    source_connections: int
    hub_connections: int


class Relay:
    """Republishes the events of one service into one hub while it runs.

    It holds no operations, because it neither runs them nor could end them. See docs/relaying.md.

    Args:
        options: Source, target and limits.
        contract: Event types known here.
        report: Called with each kind of problem once, and with changes of the connections.
    """

    def __init__(self, options: RelayOptions, *, contract: Contract, report: Report) -> None:
        self.options = options
        self._report = report
        self._warnings = RelayWarnings(report)
        self._recent = RecentIds()
        self._translator = Translator(contract, self._warnings, prefix=options.prefix, recent=self._recent)
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
        """Relay until `stop`, then wait up to `DRAIN_S` until the hub has the events that were read.

        Raises:
            SourceGone: The service was away for longer than `options.give_up_s`.
            ClientError: The hub ended the connection for good.
        """
        sending = asyncio.create_task(self._publisher.run(), name="tidings relay sender")
        reading = asyncio.create_task(self._read(), name="tidings relay reader")
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([sending, reading, stopping], return_when=asyncio.FIRST_COMPLETED)
            await _cancel(reading)
            if not sending.done():
                await self._drain(sending)
        finally:
            stopping.cancel()
            await _cancel(reading)
            await _cancel(sending)
            await self._publisher.aclose()
        for task in (sending, reading):
            if not task.cancelled() and (failure := task.exception()) is not None:
                raise failure

    async def _read(self) -> None:
        # Services first send what happened before: with the hub connected, none of it is conflated.
        with contextlib.suppress(TimeoutError, ClientError):
            async with asyncio.timeout(_HUB_FIRST_S):
                await self._publisher.wait_live()
        await self._source.run()

    async def _drain(self, sending: "asyncio.Task[None]") -> None:
        drained = asyncio.ensure_future(self._publisher.wait_below(1))
        await asyncio.wait([drained, sending], timeout=DRAIN_S, return_when=asyncio.FIRST_COMPLETED)
        await _cancel(drained)

    def statistics(self) -> RelayStatistics:
        """Return the figures of the relay."""
        counts, queue = self._translator.counts, self._publisher.queue
        return RelayStatistics(
            messages=counts.messages,
            envelopes=counts.envelopes,
            published=self._published,
            known=self._known + counts.known,
            refused=self._refused,
            invalid=counts.invalid,
            direct=counts.direct,
            unknown=self._translator.unknown.total(),
            conflated=queue.conflated,
            shed=queue.shed,
            left=queue.left,
            source_connections=self._source.connections,
            hub_connections=self._publisher.link.connections,
        )

    @property
    def unknown(self) -> dict[str, int]:
        """Envelopes of types that the contract does not have, by type."""
        return dict(self._translator.unknown)

    @property
    def standing(self) -> str:
        """State of the connections, in a few words."""
        if not self._source.status.connected:
            return "waiting for the service"
        return "relaying" if self._publisher.link.state is State.LIVE else "waiting for the hub"

    # Events.

    def _received(self, message: bytes) -> Awaitable[None] | None:
        for taken in self._translator.read(message):
            if not self._publisher.put(taken.draft, taken.rank, taken.key):
                self._warnings.once(
                    "full", "the backlog for the hub is full: events are dropped, the least important first"
                )
        # A hub that is slower than a burst makes the service wait; a hub that is away must not.
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
        self._warnings.once(
            f"refused {result.refusal} {shown}",
            f"the hub refuses {shown}: {result} ({result.refusal})",
            error_data(result).hint or "",
        )

    def _warn_retrying(self, error: CommandRefused) -> None:
        self._warnings.once(f"held up {error.refusal}", f"the hub cannot store events now: {error}", error.hint)

    # Connections.

    def _source_changed(self, status: SourceStatus) -> None:
        where = authority(self.options.source)
        if status.connected:
            self._source_away = ""
            self._report(f"connected to {where}", "")
        elif status.error != self._source_away:
            self._source_away = status.error
            self._report(f"{status.error}; retrying until it answers", "")

    def _hub_changed(self, status: Status) -> None:
        where = authority(self.options.hub)
        if status.state is State.LIVE and self._hub_away:
            self._hub_away = ""
            self._report(f"connected to the hub at {where} again", "")
        # A lost connection followed by failed attempts is one absence: report it once.
        elif status.state is State.CONNECTING and status.error is not None and not self._hub_away:
            self._hub_away = str(status.error)
            needs_token = isinstance(status.error, AccessError) and not isinstance(status.error, LicenseExpired)
            until = "there is another token" if needs_token else "it answers"
            self._report(f"{status.error}; events wait until {until}", "")


async def _cancel(task: "asyncio.Future[None]") -> None:
    """Cancel a task and wait until it has ended, by any result."""
    task.cancel()
    await asyncio.wait([task])
