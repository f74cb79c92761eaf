"""`GET /metrics`: the hub's metrics for Prometheus, collected per request and at no cost per event."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from math import isfinite

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response

from tidings.server.http.access import require_admin
from tidings.server.operation_metrics import BUCKETS_S, Histogram, OperationMetrics
from tidings.server.running_hub import HubHost, RunningHub
from tidings.version import __version__

_QUESTION = "metrics"


class MetricsRoute:
    """The route `/metrics`, with a registry of its own, so that one process can have several hubs.

    In a hub of several workers, each answers for all of them: the label `source` names the worker of a sample.
    """

    def __init__(self, host: HubHost) -> None:
        self._host = host
        self._registry = CollectorRegistry()
        self._registry.register(HubCollector(host))
        ProcessCollector(registry=self._registry)
        if host.siblings is not None:
            host.siblings.responders[_QUESTION] = self._answer_sibling

    async def metrics(self, request: Request) -> Response:
        """Answer `GET /metrics` in the text format that the client prefers.

        Raises:
            Forbidden: The sender may not administer the hub: metrics name operations.
        """
        require_admin(self._host.running().hub, request.scope)
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        body: bytes = encode(await self._collect_all())
        return Response(body, headers={"content-type": content_type})

    async def _collect_all(self) -> "CollectorRegistry | _Collected":
        """Return the metrics of this process, or those of all workers."""
        siblings = self._host.siblings
        if siblings is None:
            return self._registry
        sources = {siblings.source: view_metrics(self._registry.collect())}
        for source, body in (await siblings.ask(_QUESTION)).items():
            sources[source] = _decode_views(body)
        return _Collected(merge_metrics(sources))

    async def _answer_sibling(self, question: bytes) -> bytes:
        return msgspec.json.encode(view_metrics(self._registry.collect()))


class MetricView(Struct, frozen=True, array_like=True):
    """A metric with its samples, as one worker passes it to another."""

    name: str
    help: str
    type: str
    unit: str
    samples: list[tuple[str, dict[str, str], float | str]]
    """Name, labels and value of each; a value that JSON lacks, such as infinity, as text."""


_decode_views = msgspec.json.Decoder(list[MetricView]).decode


def view_metrics(metrics: Iterable[Metric]) -> list[MetricView]:
    """Return metrics in a form that can be passed to another process."""
    return [
        MetricView(
            metric.name,
            metric.documentation,
            metric.type,
            metric.unit,
            [
                (sample.name, sample.labels, float(sample.value) if isfinite(sample.value) else str(sample.value))
                for sample in metric.samples
            ],
        )
        for metric in metrics
    ]


def merge_metrics(sources: Mapping[str, Iterable[MetricView]]) -> list[Metric]:
    """Return the metrics of several sources, each sample with the label `source`."""
    merged: dict[str, Metric] = {}
    for source, views in sorted(sources.items()):
        for view in views:
            metric = merged.get(view.name)
            if metric is None:
                metric = merged[view.name] = Metric(view.name, view.help, view.type, view.unit)
            for name, labels, value in view.samples:
                metric.add_sample(name, {**labels, "source": source}, float(value))
    return list(merged.values())


class _Collected:
    """Metrics that are collected already, in place of a registry."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class HubCollector:
    """Collects the metrics of a hub, its delivery and its log."""

    def __init__(self, host: HubHost) -> None:
        self._host = host

    def describe(self) -> Iterator[Metric]:
        """Describe nothing: otherwise the registry collects when it registers, before the hub has started."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the current metrics."""
        running = self._host.running()
        yield InfoMetricFamily(
            "tidings",
            "Version, contract and log epoch of the hub.",
            value={
                "version": __version__,
                "contract": running.hub.contract.identity.hash,
                "epoch": running.hub.log.epoch,
            },
        )
        yield from _publishing(running)
        yield from _operations(running.operation_metrics)
        yield from _delivery(running)
        yield from _refusals(running)
        yield from _jobs(running)
        yield from _log(running)


def _publishing(running: RunningHub) -> Iterator[Metric]:
    hub = running.hub
    yield _counter("tidings_events_accepted", "Events appended to the log.", hub.counters.accepted)
    yield _counter("tidings_events_refused", "Events that the log refused.", hub.counters.refused)
    yield _counter("tidings_ticks", "Batches passed to the log.", hub.counters.ticks)
    yield _gauge("tidings_events_staged", "Events that wait for the log.", hub.staged)
    yield _gauge("tidings_draining", "1 while the hub refuses new events.", hub.draining)
    if hub.license is not None:
        yield _gauge(
            "tidings_license_expiry_timestamp_seconds",
            "Unix time at which the license of the hub expires, in seconds.",
            hub.license.expires_ns / 1e9,
        )


def _operations(metrics: OperationMetrics) -> Iterator[Metric]:
    live = GaugeMetricFamily("tidings_operations_live", "Operations that have not ended.", labels=["state"])
    for state, count in metrics.live().items():
        live.add_metric([state], count)
    ended = CounterMetricFamily("tidings_operations_ended", "Attempts that have ended.", labels=["name", "state"])
    success = GaugeMetricFamily(
        "tidings_operation_last_success_timestamp_seconds",
        "Unix time of the last success of an operation of this name, in seconds.",
        labels=["name"],
    )
    duration = HistogramMetricFamily(
        "tidings_operation_duration_seconds", "Duration of successful attempts.", labels=["name"]
    )
    queued = HistogramMetricFamily(
        "tidings_operation_queued_seconds", "Time in the queue of attempts that have begun.", labels=["name"]
    )
    for name, of_name in metrics.by_name():
        for end, count in of_name.ended.items():
            ended.add_metric([name, end], count)
        if of_name.last_success_ns:
            success.add_metric([name], of_name.last_success_ns / 1e9)
        for family, histogram in ((duration, of_name.duration), (queued, of_name.queued)):
            if histogram.count:
                family.add_metric([name], _buckets(histogram), histogram.sum_s)
    yield from (live, ended, success, duration, queued)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    bounds = (*(str(bound) for bound in BUCKETS_S), "+Inf")
    return list(zip(bounds, accumulate(histogram.counts), strict=True))


def _delivery(running: RunningHub) -> Iterator[Metric]:
    delivery = running.hub.delivery
    counters = delivery.counters
    live = sum(len(lane.members) for lane in delivery.lanes)
    reading = len(delivery.catchup)
    yield _gauge("tidings_connections", "Open WebSockets and event streams.", len(running.connections))
    if running.hub.access is not None:
        outcomes = CounterMetricFamily(
            "tidings_authentications", "Credentials that were accepted, or refused with an error.", labels=["outcome"]
        )
        for outcome, count in running.hub.access.outcomes.items():
            outcomes.add_metric([outcome], count)
        yield outcomes
    yield _counter("tidings_connections_opened", "Connections opened so far.", running.connections.opened)
    subscribers = GaugeMetricFamily(
        "tidings_subscribers",
        "Subscribers by state: at the head, reading forward, or waiting (for their socket, or without any paths).",
        labels=["state"],
    )
    subscribers.add_metric(["live"], live)
    subscribers.add_metric(["catching_up"], reading)
    subscribers.add_metric(["waiting"], max(0, delivery.subscribers - live - reading))
    yield subscribers
    yield _gauge("tidings_lanes", "Sets of subscribers that receive identical bytes.", len(delivery.lanes))
    yield _counter("tidings_lane_writes", "Writes to live subscribers.", counters.lane_writes)
    yield _counter("tidings_lane_bytes", "Bytes written to live subscribers.", counters.lane_bytes)
    yield _counter("tidings_fell_behind", "Live subscribers whose socket stopped draining.", counters.fell_behind)
    yield _gauge(
        "tidings_outbound_bytes", "Bytes that wait for clients outside the kernel.", delivery.outbound.waiting_bytes
    )
    yield _counter(
        "tidings_clients_disconnected",
        "Clients disconnected because too many bytes waited and they read nothing.",
        delivery.outbound.disconnected,
    )
    yield _counter("tidings_joined", "Times that a subscriber reached the head.", counters.joined)
    yield _counter("tidings_gaps", "Gaps reported to subscribers that trimming has overtaken.", counters.gaps)
    yield _counter(
        "tidings_catchup_reads", "Reads of the log and the ring for subscribers that catch up.", delivery.catchup.reads
    )
    yield _counter("tidings_catchup_writes", "Chunks written to subscribers that catch up.", delivery.catchup.writes)
    yield _counter("tidings_encodes", "Frames encoded from events.", delivery.ring.encodes)


def _refusals(running: RunningHub) -> Iterator[Metric]:
    refused = CounterMetricFamily(
        "tidings_clients_refused", "Requests and connections beyond the share of one client.", labels=["limit"]
    )
    refused.add_metric(["reads_of_client"], running.limits.reads.refused)
    refused.add_metric(["waits_of_client"], running.limits.waits.refused)
    refused.add_metric(["connections_of_address"], running.connections.addresses.refused)
    rates = running.hub.rates
    refused.add_metric(["events_per_s"], rates.refused_events)
    refused.add_metric(["commands_per_s"], rates.refused_commands)
    access = running.hub.access
    if access is not None:
        refused.add_metric(["connections_of_subject"], access.subjects.refused)
        refused.add_metric(["failures_of_address"], access.failures.refused)
        yield _gauge("tidings_sessions", "Connections, streams and waits of identified subjects.", len(access))
        yield _gauge("tidings_revocations", "Credentials that no longer count.", len(running.hub.log.revocations))
    yield refused


def _jobs(running: RunningHub) -> Iterator[Metric]:
    overdue = GaugeMetricFamily(
        "tidings_job_overdue", "1 while a recurring job has not run for three of its intervals.", labels=["name"]
    )
    failures = CounterMetricFamily("tidings_job_failures", "Runs of recurring jobs that failed.", labels=["name"])
    names = {error.job for error in running.hub.jobs.overdue()}
    for job in running.hub.jobs:
        overdue.add_metric([job.name], job.name in names)
        failures.add_metric([job.name], job.failures)
    yield from (overdue, failures)


def _log(running: RunningHub) -> Iterator[Metric]:
    statistics = running.hub.log.statistics()
    failing = running.hub.log_failure is not None
    yield _gauge("tidings_log_failing", "1 while the log refuses events.", failing)
    yield _gauge("tidings_log_head", "Offset of the newest event.", statistics.head)
    yield _gauge("tidings_log_durable_events", "Durable events in the log.", statistics.durable_events)
    yield _gauge(
        "tidings_log_durable_bytes", "Bytes of data of the durable events in the log.", statistics.durable_bytes
    )
    yield _gauge(
        "tidings_log_latest_events", "Superseded events of class `latest` in the log.", statistics.superseded_events
    )
    yield _gauge("tidings_log_disk_bytes", "Size of the log's files.", statistics.disk_bytes)
    yield _gauge(
        "tidings_log_set_aside", "Rows that could not be read or written and were set aside.", statistics.set_aside
    )
    yield _gauge("tidings_log_newest", "Keys in the snapshot.", statistics.newest)
    yield _gauge("tidings_log_newest_bytes", "Size of the events kept for the snapshot only.", statistics.newest_bytes)
    yield _gauge("tidings_log_latest_bytes", "Bytes of data of the superseded events.", statistics.superseded_bytes)
    yield _gauge("tidings_log_operations_bytes", "Size of the ended operations.", running.hub.operations.ended_bytes)
    yield _counter("tidings_log_newest_evicted", "Keys evicted from the full snapshot.", statistics.newest_evicted)
    yield _counter("tidings_log_trimmed_events", "Durable events removed by retention.", statistics.trimmed_events)


def _counter(name: str, help: str, value: float) -> Metric:
    return CounterMetricFamily(name, help, value=value)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value=value)
