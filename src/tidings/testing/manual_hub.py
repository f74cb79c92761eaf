"""`ManualHub`: a real hub in memory for real clients, on a clock that the test advances."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import count
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import msgspec
import structlog
from msgspec import Raw
from structlog.typing import WrappedLogger

from tidings.access.control import AccessOptions
from tidings.client.drafts import PayloadLike, encode_data
from tidings.client.events import ReceivedEvent
from tidings.client.runtime import add_route
from tidings.client.url import URL_VARIABLE as URL_VARIABLE
from tidings.contract.contract import Contract
from tidings.exceptions import HubUnreachable, TidingsError
from tidings.hub.config import HubConfig
from tidings.hub.hub import Hub
from tidings.log.base import Outcome, Record
from tidings.operations.status import OperationStatus
from tidings.protocol.envelope import Envelope
from tidings.protocol.messages import Cancel, CancelOutcome
from tidings.protocol.paths import parse_paths
from tidings.testing.faults import Fault, Injected
from tidings.testing.manual_time import ManualTime, producer_runtime
from tidings.testing.memory_connection import MemoryRuntime
from tidings.testing.world import World

QUIET = HubConfig(status_s=0, metrics_s=0, maintain_s=5.0)
"""A hub that publishes nothing about itself and runs retention every five seconds."""

_numbers = count(1)


@cache
def _default_contract() -> Contract:
    # Building its schemas takes ten milliseconds: more than the rest of a hub.
    return Contract()


class CancelRequest:
    """A request to cancel an operation, made by the test."""

    def __init__(self, outcomes: list[CancelOutcome]) -> None:
        self._outcomes = outcomes

    @property
    def outcome(self) -> CancelOutcome | None:
        """The outcome of the request; None while it is open."""
        return self._outcomes[0] if self._outcomes else None


class ManualHub(ManualTime):
    """A hub in memory, at an address that `tidings.connect` and every other client in this process accepts.

    The hub and its clients are the real ones; only the socket between them, the clock and random numbers are replaced.
    Time stands still until `advance`: heartbeats, leases, retention and estimates follow it in the hub, staleness and
    reconnects in the clients. Methods may be called from any thread; none sleeps.

    Args:
        config: Limits and intervals. Default: `QUIET`.
        contract: The event types that may be published. Default: the built-in catalogue.
        access: How clients are identified. Default: not at all.
    """

    def __init__(
        self,
        config: HubConfig | None = None,
        *,
        contract: Contract | None = None,
        access: AccessOptions | None = None,
    ) -> None:
        self.url = f"ws://hub-{next(_numbers)}.tidings.test/ws"
        """The address of the hub for clients of this process. The host does not exist in the network."""
        super().__init__(World(config or QUIET, contract or _default_contract(), access))
        self._silence = silenced()
        self._silence.__enter__()
        add_route(self.url, self._make_runtime)
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the hub for good: its address is unreachable from now on."""
        world = self._world
        if world.closed:
            return
        with world.entered():
            world.faults.clear()
            world.stop()
            world.closed = True
        self._silence.__exit__(None, None, None)

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Make this hub the default for clients and producers without an address, for the length of a block.

        At its end faults are removed and the hub is started, so that operations can send their last events.
        """
        with default_hub(self.url):
            try:
                yield
            finally:
                self.clear_faults()
                self.start()

    # Looking at the hub.

    def events(self, *paths: str) -> list[ReceivedEvent]:
        """Return every event that the hub ever accepted, in log order, including trimmed ones.

        Args:
            paths: Channels or keys, as in `Client.watch`. Default: everything.

        Raises:
            InvalidPath: A path is malformed.
            UnknownChannel: A path names a channel that does not exist.
        """
        world = self._world
        is_selected = parse_paths(paths or ("*",), world.contract.channels).matcher()
        with world.entered():
            records = list(world.log.records)
        return [self._event(record) for record in records if is_selected(record.event.channel, record.event.key)]

    def _event(self, record: Record) -> ReceivedEvent:
        event = record.event
        return ReceivedEvent(
            type=event.type,
            timestamp=event.timestamp,
            trace_id=event.trace_id,
            channel=event.channel,
            key=event.key,
            payload=self._world.contract.decode(event.type, event.data),
            data=event.data,
            position=str(self._world.log.position(record.offset)),
            event_id=event.event_id,
        )

    @property
    def links(self) -> list[str]:
        """The names of the open connections of clients, the oldest first."""
        with self._world.entered():
            return [connection.link for connection in self._world.connections]

    @property
    def running(self) -> bool:
        """Whether the hub is started."""
        return self._world.hub is not None

    def operation(self, operation_id: str) -> OperationStatus | None:
        """Return the hub's status of an operation; None if it has none, or is stopped."""
        with self._world.entered():
            hub = self._world.hub
            status = None if hub is None else hub.hub.operations.get(operation_id)
            return None if status is None else msgspec.structs.replace(status)

    # Acting as another client.

    def publish(
        self,
        type: str,
        payload: PayloadLike = None,
        *,
        trace_id: str | None = None,
        channel: str | None = None,
        event_id: str | None = None,
    ) -> str:
        """Publish an event as another client would, and return its position.

        Args:
            type: An event type.
            payload: Its struct, a mapping, or bytes of JSON.
            trace_id: The trace of the event.
            channel: `global`, or the type's own channel. Default: the type's own.
            event_id: Makes publishing idempotent.

        Raises:
            TidingsError: The hub rejects the event, as it would reject it from a client.
            HubUnreachable: The hub is stopped.
        """
        envelope = Envelope(
            type=str(type), trace_id=trace_id, data=Raw(encode_data(payload)), channel=channel, event_id=event_id
        )
        results: list[Outcome] = []
        with self._world.entered():
            self._running_hub().publish(envelope, results.append)
        [result] = results
        if isinstance(result, TidingsError):
            raise result
        return str(self._world.log.position(result.offset))

    def cancel(self, operation_id: str, *, reason: str | None = None, timeout_s: float = 10.0) -> CancelRequest:
        """Request the end of an operation, as a user would; its producer receives the request when it runs next.

        Args:
            operation_id: The operation id.
            reason: The reason, shown to the producer.
            timeout_s: Seconds, by the hub's clock, within which the outcome is decided.

        Raises:
            OperationUnknown: The hub has no such operation.
            HubUnreachable: The hub is stopped.
        """
        outcomes: list[CancelOutcome] = []
        with self._world.entered():
            command = Cancel(operation_id=operation_id, reason=reason, timeout_s=timeout_s)
            self._running_hub().cancellations.request(command, outcomes.append)
        return CancelRequest(outcomes)

    def _running_hub(self) -> Hub:
        if self._world.hub is None:
            raise HubUnreachable("the hub in memory is stopped")
        return self._world.hub.hub

    # Faults and outages.

    def inject(self, fault: Fault) -> Injected:
        """Put a fault in force; see `tidings.testing.faults`."""

        def remove(injected: Injected) -> None:
            with self._world.entered():
                self._world.faults.remove(injected)
                self._deliver_held()

        injected = Injected(fault, remove)
        with self._world.entered():
            self._world.faults.add(injected)
        return injected

    def clear_faults(self) -> None:
        """Remove all faults."""
        with self._world.entered():
            self._world.faults.clear()
            self._deliver_held()

    def _deliver_held(self) -> None:
        """Deliver the messages, and wake the clients, that removed faults held up."""
        for connection in list(self._world.connections):
            connection.flush()
        self._world.wake_waiting()

    def cut(self, link: str = "") -> int:
        """End connections without a close, and return their number; the clients reconnect immediately.

        Args:
            link: Part of the names of the links to cut. Default: every link.
        """
        with self._world.entered():
            connections = [connection for connection in self._world.connections if link in connection.link]
            for connection in connections:
                connection.cut()
        return len(connections)

    def stop(self) -> None:
        """Stop the hub as a deployment does: clients are disconnected until `start`. The log stays."""
        with self._world.entered():
            self._world.stop()

    def start(self) -> None:
        """Start the hub again over its log; clients reconnect immediately."""
        with self._world.entered():
            self._world.start()

    def restart(self) -> None:
        """Stop the hub and start it again over its log."""
        self.stop()
        self.start()

    def _make_runtime(self, link: str) -> MemoryRuntime:
        runtime = MemoryRuntime(self._world, link)
        self._add_loop(runtime.loop)
        return runtime


# The environment of the default hub.

_UNSET = ("TIDINGS_TOKEN", "TIDINGS_TOKEN_FILE", "TIDINGS_DISABLED", "TRACEPARENT")
"""Variables of the developer's shell that a test must not depend on."""
_SPOOL = "TIDINGS_SPOOL"
"""Where producers keep unsent events; those that are already there do not belong to the test."""
_CLOSE_S = 30.0
"""Time for the last events of a block, on a machine however busy: what is left after it is lost with the spool."""


@contextmanager
def default_hub(url: str) -> Iterator[None]:
    """Make `url` the address of clients and producers without one, for the length of a block.

    At its end this process's producers send their events and close their connections.
    """
    with TemporaryDirectory(prefix="tidings-") as spool:
        variables = {URL_VARIABLE: url, _SPOOL: spool, **dict.fromkeys(_UNSET)}
        before = {name: os.environ.get(name) for name in variables}
        _set_variables(variables)
        try:
            yield
        finally:
            runtime = producer_runtime()
            if runtime is not None:
                runtime.close(_CLOSE_S, patient=True)
            _set_variables(before)


def _set_variables(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


# The hub's own log lines.

_lock = threading.Lock()
_blocks = 0


class _SilentLogger:
    """A logger that writes nothing."""

    def msg(self, message: str) -> None:
        """Write nothing."""

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


def _silence_tidings(*names: Any) -> WrappedLogger:
    if names and str(names[0]).startswith("tidings."):
        return _SilentLogger()
    return structlog.PrintLogger()


@contextmanager
def silenced() -> Iterator[None]:
    """Keep the hub's log lines out of the test's output for the length of a block, unless structlog is configured.

    An application that has configured structlog decides by itself.
    """
    global _blocks
    with _lock:
        _blocks += 1
        if _blocks == 1 and not structlog.is_configured():
            structlog.configure(logger_factory=_silence_tidings)
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if _blocks == 0 and structlog.get_config()["logger_factory"] is _silence_tidings:
                structlog.reset_defaults()
