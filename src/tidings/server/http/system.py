"""`GET /v1/system`: the state of the hub, its log, its clients and producers, for people who look after it."""

import asyncio
import os
from collections.abc import Sequence
from typing import Final, Literal, TypeVar

import msgspec
from msgspec import Struct, structs
from starlette.requests import Request
from starlette.responses import Response

from tidings.access.subjects import Subject
from tidings.exceptions import InvalidParameter, LogError, TidingsError
from tidings.hub.connection_query import read_values
from tidings.hub.hub import Hub
from tidings.hub.operations.leases import ProducerState
from tidings.hub.system_samples import MAX_SAMPLES, SystemSamples
from tidings.log.base import Query
from tidings.log.newest import SEPARATOR
from tidings.operations.lifecycle import OperationState
from tidings.protocol.codes import error_data
from tidings.protocol.message_types import ChannelType
from tidings.protocol.paths import Path, PathSet, parse_query
from tidings.protocol.payloads import ContractIdentity, ErrorData, Timestamp
from tidings.protocol.timestamps import from_nanoseconds
from tidings.server.asgi.scope import query_of
from tidings.server.http.access import subject_of
from tidings.server.http.connected_clients import MAX_CLIENTS, ClientView, list_clients
from tidings.server.http.events import read_page
from tidings.server.http.health import check_ready
from tidings.server.http.limits import client_of
from tidings.server.http.responses import Answer, to_response
from tidings.server.http.system_nodes import NodeView, list_nodes
from tidings.server.http.whoami import started_at
from tidings.server.running_hub import HubHost, RunningHub
from tidings.server.workers.link import name_of
from tidings.version import __version__

SYSTEM: Final = "/v1/system"
DEFAULT_SAMPLES: Final = 60
MAX_PRODUCERS_SHOWN: Final = 1_000
_PER_TURN: Final = 500
_QUESTION: Final = "system"
_SYSTEM: Final = PathSet.of([Path(ChannelType.SYSTEM)], with_global=False)


class RetentionView(Struct, frozen=True, kw_only=True):
    """How much the log keeps."""

    events: int
    bytes: int
    age_s: float


class LogView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The log."""

    kind: Literal["memory", "sqlite"]
    epoch: str
    events: int
    """Durable events in the range."""
    bytes: int
    """Size of their data."""
    superseded_events: int
    head: str
    """Position of the newest event."""
    first: str
    """Position from which on all durable events are kept."""
    first_at: Timestamp | None = None
    """When the oldest of them was received."""
    trimmed_events: int
    """Durable events that were trimmed since the start."""
    disk_bytes: int | None = None
    """Size of its files."""
    disk_free_bytes: int | None = None
    """Free space on their disk."""
    retention: RetentionView


class ConnectionsView(Struct, frozen=True, kw_only=True):
    """The connections by kind, and the subscribers by state."""

    open: int
    websockets: int
    streams: int
    opened: int
    """Connections opened since the start."""
    live: int
    catching_up: int
    waiting: int
    """Subscribers that wait for their socket, or have no paths."""
    lanes: int
    waiting_bytes: int
    """Bytes that wait for slow clients."""


class EventCountsView(Struct, frozen=True, kw_only=True):
    """Events since the start."""

    accepted: int
    refused: int
    """Events that the log refused, or that were beyond a client's rate."""
    staged: int
    """Events that wait for the log."""


class ProducerView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A producer that is connected, or holds operations."""

    producer_id: str
    presence: Literal["attached", "away"]
    since: Timestamp | None = None
    """Last sign of life of one that is away."""
    lease_s: float
    """Its default lease."""
    operations: int
    """Live operations that it holds."""


class OperationCountsView(Struct, frozen=True, kw_only=True):
    """The operations that the hub remembers."""

    live: int
    queued: int
    running: int
    ended: int


class SamplesView(Struct, frozen=True, kw_only=True):
    """Figures of the last hours, one column for each, oldest first."""

    interval_s: float
    until: Timestamp
    """Time of the newest sample."""
    events_per_s: list[float]
    writes_per_s: list[float]
    bytes_per_s: list[float]
    connections: list[int]
    catching_up: list[int]
    live_operations: list[int]
    log_bytes: list[int]
    refused_per_s: list[float]
    waiting_bytes: list[int]
    loop_delay_ms: list[float]


class WorkerView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One process of a hub of several. One that did not answer in time has no more than a name."""

    source: str
    """Its name, such as `worker-1`."""
    ready: bool
    code: str = ""
    """Code of the error for which it is not ready."""
    pid: int | None = None
    uptime_s: float | None = None
    connections: int | None = None
    behind_events: int | None = None
    """Events that another worker has in its log, and this one not yet."""


class SystemView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Response of `GET /v1/system`."""

    version: str
    build: str | None = None
    """Id of the dashboard's build."""
    contract: ContractIdentity
    started_at: Timestamp
    uptime_s: float
    now: Timestamp
    """The hub's clock."""
    ready: bool
    error: ErrorData | None = None
    """Why the hub does not accept events; for administrators."""
    log: LogView
    connections: ConnectionsView
    events: EventCountsView
    clients: list[ClientView] | None = None
    """Up to 100 connections, the furthest behind first, then the newest; for administrators."""
    producers: list[ProducerView]
    """The producers; the reader's own, for one who is not an administrator."""
    operations: OperationCountsView
    samples: SamplesView | None = None
    workers: list[WorkerView] | None = None
    """The processes of a hub of several, whose connections, clients, events and samples are counted together."""
    nodes: list[NodeView] | None = None
    """The machines of a hub of several. All other figures are those of the one that answers."""


class _WorkerShare(Struct, frozen=True):
    """The figures of one worker, from which the view of the whole hub is made."""

    worker: WorkerView
    head: int
    """Offset of the newest event in its log."""
    connections: ConnectionsView
    events: EventCountsView
    clients: list[ClientView]
    samples: SamplesView | None


_Counts = TypeVar("_Counts", ConnectionsView, EventCountsView)
_decode_share = msgspec.json.Decoder(_WorkerShare).decode
_decode_count = msgspec.json.Decoder(int).decode


class SystemRoute:
    """The route.

    Args:
        host: The owner of the hub.
        build: Id of the dashboard's build, or None.
        turns: Lets a few requests work at a time.
    """

    def __init__(self, host: HubHost, build: str | None, turns: asyncio.Semaphore) -> None:
        self._host = host
        self._build = build
        self._turns = turns
        if host.siblings is not None:
            host.siblings.responders[_QUESTION] = self._answer_sibling

    async def _answer_sibling(self, question: bytes) -> bytes:
        return msgspec.json.encode(await self._count_own(self._host.running(), _decode_count(question)))

    async def _count_own(self, running: RunningHub, samples: int) -> _WorkerShare:
        """Return the figures of this process."""
        hub, siblings = running.hub, self._host.siblings
        source = "" if siblings is None else siblings.source
        websockets, clients = await list_clients(running, self._turns)
        error = _readiness_error(hub)
        return _WorkerShare(
            WorkerView(
                source=source,
                ready=error is None,
                code="" if error is None else error.code,
                pid=os.getpid(),
                uptime_s=hub.clock.monotonic() - hub.started,
                connections=len(running.connections),
            ),
            hub.log.statistics().head,
            _connections_view(running, websockets),
            EventCountsView(
                accepted=hub.counters.accepted,
                refused=hub.counters.refused + hub.rates.refused_events,
                staged=hub.staged,
            ),
            [structs.replace(client, source=source) for client in clients],
            _samples_view(running.samples, samples),
        )

    async def _count_all(self, running: RunningHub, samples: int) -> list[_WorkerShare]:
        """Return the figures of each process of the hub, those of this one first."""
        shares = [await self._count_own(running, samples)]
        if self._host.siblings is not None:
            answers = await self._host.siblings.ask(_QUESTION, msgspec.json.encode(samples))
            shares += [_decode_share(body) for body in answers.values()]
        return shares

    async def answer(self, request: Request) -> Response:
        """Answer `GET /v1/system`.

        Raises:
            Forbidden: The sender may not read the channel `system`.
            InvalidParameter: The query is not valid.
        """
        running = self._host.running()
        hub, subject = running.hub, subject_of(request.scope)
        count = _read_count(query_of(request.scope))
        if subject is not None:
            subject.grants.check_read(_SYSTEM)
        is_admin = subject is None or subject.grants.admin
        with running.limits.reads.taken(client_of(request.scope)):
            shares = await self._count_all(running, count)
            first_at = await self._find_first(hub)
            running_count = await self._count_running(hub)
            producers = await self._list_producers(hub, subject)
        error = _readiness_error(hub)
        view = SystemView(
            version=__version__,
            build=self._build,
            contract=hub.contract.identity,
            started_at=started_at(hub),
            uptime_s=hub.clock.monotonic() - hub.started,
            now=hub.timestamp(),
            ready=error is None,
            error=None if error is None or not is_admin else error_data(error),
            log=_log_view(hub, first_at),
            connections=_add_up([share.connections for share in shares]),
            events=_add_up([share.events for share in shares]),
            clients=_furthest_behind(shares) if is_admin else None,
            producers=producers,
            operations=OperationCountsView(
                live=len(hub.operations),
                queued=len(hub.operations) - running_count,
                running=running_count,
                ended=hub.operations.known - len(hub.operations),
            ),
            samples=_add_samples([share.samples for share in shares if share.samples is not None]),
            workers=None if self._host.siblings is None else _list_workers(shares, self._host.siblings.role.workers),
            nodes=list_nodes(running, ready=error is None) if self._host.siblings is None else None,
        )
        return to_response(Answer(200, msgspec.json.encode(view)))

    async def _find_first(self, hub: Hub) -> Timestamp | None:
        """Return when the oldest event of the range was received; None in an empty log, or if it cannot be read."""
        statistics = hub.log.statistics()
        everything = parse_query([], hub.contract.channels)
        query = Query(after=statistics.first, until=statistics.head, paths=everything, conflate=False, limit=1)
        async with self._turns:
            try:
                page = await read_page(hub.log, query)
            except LogError:
                return None
        if not page.records:
            return None
        record = page.records[0]
        return from_nanoseconds(hub.log.received_ns(record.offset, record.received_ns))

    async def _count_running(self, hub: Hub) -> int:
        count = 0
        live = list(hub.operations.live)
        for start in range(0, len(live), _PER_TURN):
            async with self._turns:
                count += sum(status.state is OperationState.RUNNING for status in live[start : start + _PER_TURN])
                await asyncio.sleep(0)
        return count

    async def _list_producers(self, hub: Hub, subject: Subject | None) -> list[ProducerView]:
        shown: list[ProducerView] = []
        producers = list(hub.leases.producers())
        for start in range(0, len(producers), _PER_TURN):
            async with self._turns:
                for producer in producers[start : start + _PER_TURN]:
                    name = _producer_name(producer.producer_id, subject)
                    if name is not None and len(shown) < MAX_PRODUCERS_SHOWN:
                        shown.append(_producer_view(producer, name))
                await asyncio.sleep(0)
        return sorted(shown, key=lambda producer: (producer.presence == "attached", producer.producer_id))


def _add_up(views: Sequence[_Counts]) -> _Counts:
    """Return the sums of the figures of several processes."""
    first = views[0]
    sums = {name: sum(getattr(view, name) for view in views) for name in first.__struct_fields__}
    return structs.replace(first, **sums)


def _list_workers(shares: Sequence[_WorkerShare], workers: int) -> list[WorkerView]:
    """Return all workers of a hub, with what those that answered are."""
    newest = max(share.head for share in shares)
    answers = {
        share.worker.source: structs.replace(share.worker, behind_events=newest - share.head) for share in shares
    }
    names = [name_of(str(number)) for number in range(1, workers + 1)]
    return [answers.get(name) or WorkerView(source=name, ready=False) for name in names]


def _furthest_behind(shares: Sequence[_WorkerShare]) -> list[ClientView]:
    if len(shares) == 1:
        return shares[0].clients
    clients = [client for share in shares for client in share.clients]
    return sorted(clients, key=lambda client: (-client.behind_events, client.state != "slow"))[:MAX_CLIENTS]


def _add_samples(views: Sequence[SamplesView]) -> SamplesView | None:
    """Return the sums of the samples of several processes, from the newest back as far as all of them reach.

    All processes have the same operations and, but for their own files, the same log; the longest delay of any loop
    counts.
    """
    if len(views) < 2:
        return views[0] if views else None
    length = min(len(view.events_per_s) for view in views)
    columns: dict[str, list[float]] = {}
    for name in SamplesView.__struct_fields__:
        if name in ("interval_s", "until"):
            continue
        rows = zip(*(getattr(view, name)[-length:] for view in views), strict=True)
        add = max if name in ("live_operations", "log_bytes", "loop_delay_ms") else sum
        columns[name] = [round(add(row), 3) for row in rows]
    return structs.replace(views[0], **columns)


def _read_count(query: str) -> int:
    values = read_values(query, ("samples",))
    text = values["samples"][-1] if "samples" in values else str(DEFAULT_SAMPLES)
    count = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_SAMPLES)) else -1
    if not 0 <= count <= MAX_SAMPLES:
        raise InvalidParameter(f"invalid samples={text[:40]!r}: expected 0–{MAX_SAMPLES}")
    return count


def _readiness_error(hub: Hub) -> TidingsError | None:
    try:
        check_ready(hub)
    except TidingsError as error:
        return error
    return None


def _log_view(hub: Hub, first_at: Timestamp | None) -> LogView:
    statistics = hub.log.statistics()
    limits = statistics.limits
    return LogView(
        kind="sqlite" if statistics.disk_bytes else "memory",
        epoch=statistics.epoch,
        events=statistics.durable_events,
        bytes=statistics.durable_bytes,
        superseded_events=statistics.superseded_events,
        head=str(hub.log.position(statistics.head)),
        first=str(hub.log.position(statistics.first)),
        first_at=first_at,
        trimmed_events=statistics.trimmed_events,
        disk_bytes=statistics.disk_bytes or None,
        disk_free_bytes=statistics.disk_free_bytes,
        retention=RetentionView(events=limits.events, bytes=limits.bytes, age_s=limits.age_s),
    )


def _connections_view(running: RunningHub, websockets: int) -> ConnectionsView:
    delivery = running.hub.delivery
    live = sum(len(lane.members) for lane in delivery.lanes)
    catching_up = len(delivery.catchup)
    return ConnectionsView(
        open=len(running.connections),
        websockets=websockets,
        streams=max(0, len(running.connections) - websockets),
        opened=running.connections.opened,
        live=live,
        catching_up=catching_up,
        waiting=max(0, delivery.subscribers - live - catching_up),
        lanes=len(delivery.lanes),
        waiting_bytes=delivery.outbound.waiting_bytes,
    )


def _producer_name(producer_id: str, subject: Subject | None) -> str | None:
    """Return the id of a producer as a reader sees it; None for one that they may not see."""
    if subject is None:
        return producer_id
    own = subject.unqualify(producer_id)
    return producer_id.replace(SEPARATOR, "/") if own is None and subject.grants.admin else own


def _producer_view(producer: ProducerState, name: str) -> ProducerView:
    return ProducerView(
        producer_id=name,
        presence=producer.presence,
        since=None if producer.last_seen_ns is None else from_nanoseconds(producer.last_seen_ns),
        lease_s=producer.lease_s,
        operations=producer.operations,
    )


def _samples_view(samples: SystemSamples, count: int) -> SamplesView | None:
    newest = samples.newest(count)
    if not newest:
        return None
    return SamplesView(
        interval_s=samples.interval_s,
        until=from_nanoseconds(newest[-1].taken_ns),
        events_per_s=[round(sample.events_per_s, 3) for sample in newest],
        writes_per_s=[round(sample.writes_per_s, 3) for sample in newest],
        bytes_per_s=[round(sample.bytes_per_s, 1) for sample in newest],
        connections=[sample.connections for sample in newest],
        catching_up=[sample.catching_up for sample in newest],
        live_operations=[sample.live_operations for sample in newest],
        log_bytes=[sample.log_bytes for sample in newest],
        refused_per_s=[round(sample.refused_per_s, 3) for sample in newest],
        waiting_bytes=[sample.waiting_bytes for sample in newest],
        loop_delay_ms=[round(sample.loop_delay_ms, 1) for sample in newest],
    )
