"""A real hub in memory for real clients, on a clock that the test moves.

The environment in which a hub in memory is the one that nobody has to name.

A hub in a test does not write its log lines into the test's own output.
"""

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

from tidings.client.drafts import PayloadLike, encode_data
from tidings.client.events import ReceivedEvent
from tidings.client.runtime import add_route
from tidings.client.url import VARIABLE as URL_VARIABLE
from tidings.contract.contract import Contract
from tidings.exceptions import HubUnreachable, TidingsError
from tidings.hub.config import HubConfig
from tidings.hub.hub import Hub
from tidings.hub.staging import PublishResult
from tidings.log.base import Record
from tidings.operations.status import OperationStatus
from tidings.protocol.envelope import Envelope
from tidings.protocol.messages import Cancel, CancelOutcome
from tidings.protocol.paths import parse_paths
from tidings.testing.faults import Fault, Injected
from tidings.testing.manual_time import ManualTime
from tidings.testing.producers import producers
from tidings.testing.transport import MemoryRuntime
from tidings.testing.world import World

_UNSET = ("TIDINGS_TOKEN", "TIDINGS_DISABLED", "TRACEPARENT")
"""What the developer's own shell may say, and a test must not depend on."""
_SPOOL = "TIDINGS_SPOOL"
"""Where producers keep what could not be sent: what is there already is none of a test's business."""


@contextmanager
def default_hub(url: str) -> Iterator[None]:
    """Let `url` be the address of clients and producers that name none, for the length of a block.

    At its end this process's producers send what they have, and let go of their connections.
    """
    with TemporaryDirectory(prefix="tidings-") as spool:
        wanted = {URL_VARIABLE: url, _SPOOL: spool, **dict.fromkeys(_UNSET)}
        before = {name: os.environ.get(name) for name in wanted}
        _set_variables(wanted)
        try:
            yield
        finally:
            process = producers()
            if process is not None:
                process.close()
            _set_variables(before)


def _set_variables(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


_lock = threading.Lock()
_blocks = 0


class _Mute:
    """A logger that writes nothing."""

    def msg(self, message: str) -> None:
        """Write nothing."""

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


def _mute_ours(*names: Any) -> WrappedLogger:
    if names and str(names[0]).startswith("tidings."):
        return _Mute()
    return structlog.PrintLogger()


@contextmanager
def silenced() -> Iterator[None]:
    """Keep the hub quiet for the length of a block, where nobody has said what becomes of structlog's log lines.

    An application that has configured structlog decides itself.
    """
    global _blocks
    with _lock:
        _blocks += 1
        if _blocks == 1 and not structlog.is_configured():
            structlog.configure(logger_factory=_mute_ours)
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if _blocks == 0 and structlog.get_config()["logger_factory"] is _mute_ours:
                structlog.reset_defaults()


QUIET = HubConfig(status_s=0, metrics_s=0, maintain_s=5.0)
"""A hub that publishes nothing about itself, and looks for what to trim every five seconds."""

_numbers = count(1)


@cache
def _own_contract() -> Contract:
    # Ten milliseconds of schemas: more than all the rest of a hub.
    return Contract()


class CancelRequest:
    """A request to end an operation, made by the test."""

    def __init__(self, outcomes: list[CancelOutcome]) -> None:
        self._outcomes = outcomes

    @property
    def outcome(self) -> CancelOutcome | None:
        """What came of it; None while that is open."""
        return self._outcomes[0] if self._outcomes else None


class ManualHub(ManualTime):
    """A hub in memory, at an address that `tidings.connect` and every other client in this process can be given.

    The hub is the real one, and so are its clients; only the socket between them, the clock and chance are replaced.
    Time stands still until `advance`: heartbeats, leases, retention and estimates are the hub's clock, staleness and
    reconnecting are the clients'. Methods may be called from any thread; none sleeps.

    Args:
        config: Limits and rhythms; `QUIET` by default.
        contract: What may be published, where an application has event types of its own.
    """

    def __init__(self, config: HubConfig | None = None, *, contract: Contract | None = None) -> None:
        self.url = f"ws://hub-{next(_numbers)}.tidings.test/ws"
        """Where clients of this process find the hub. There is no such host in the network."""
        super().__init__(World(config or QUIET, contract or _own_contract()))
        self._silence = silenced()
        self._silence.__enter__()
        add_route(self.url, self._transport)
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the hub for good: its clients find nobody at its address any more."""
        stage = self._stage
        if stage.gone:
            return
        with stage.entered():
            stage.faults.clear()
            stage.stop()
            stage.gone = True
        self._silence.__exit__(None, None, None)

    @contextmanager
    def as_default(self) -> Iterator[None]:
        """Let clients and producers that name no address use this hub, for the length of a block.

        At its end faults are removed and the hub is started, so that operations can say what they have left to say.
        """
        with default_hub(self.url):
            try:
                yield
            finally:
                self.clear_faults()
                self.start()

    # What happened.

    def events(self, *paths: str) -> list[ReceivedEvent]:
        """Return every event that the hub ever accepted, in the order of its log, trimmed ones included.

        Args:
            paths: Channels or keys, as in `Client.watch`; without any, everything.

        Raises:
            InvalidPath: A path cannot be read.
            UnknownChannel: It names a channel that there is not.
        """
        stage = self._stage
        wanted = parse_paths(paths or ("*",), stage.contract.channels).matcher()
        with stage.entered():
            records = list(stage.log.records)
        return [self._event(record) for record in records if wanted(record.event.channel, record.event.key)]

    def _event(self, record: Record) -> ReceivedEvent:
        event = record.event
        return ReceivedEvent(
            type=event.type,
            timestamp=event.timestamp,
            trace_id=event.trace_id,
            channel=event.channel,
            key=event.key,
            payload=self._stage.contract.decode(event.type, event.data),
            data=event.data,
            position=str(self._stage.log.position(record.offset)),
            event_id=event.event_id,
        )

    @property
    def links(self) -> list[str]:
        """The names of the clients' connections that are open now, the oldest first."""
        with self._stage.entered():
            return [line.link for line in self._stage.lines]

    @property
    def running(self) -> bool:
        """Whether the hub is there."""
        return self._stage.hub is not None

    # What the test does.

    def publish(
        self,
        type: str,
        payload: PayloadLike = None,
        *,
        trace_id: str | None = None,
        channel: str | None = None,
        event_id: str | None = None,
    ) -> str:
        """Publish an event as somebody else would, and return its position.

        Args:
            type: An event type.
            payload: Its struct, a mapping, or bytes of JSON.
            trace_id: What it belongs to.
            channel: `global`, or the type's own, which is what it means to leave it out.
            event_id: Makes publishing idempotent.

        Raises:
            TidingsError: The hub refuses it, as it would refuse a client.
            HubUnreachable: The hub is stopped.
        """
        envelope = Envelope(
            type=str(type), trace_id=trace_id, data=Raw(encode_data(payload)), channel=channel, event_id=event_id
        )
        settled: list[PublishResult | TidingsError] = []
        with self._stage.entered():
            self._running_hub().publish(envelope, settled.append)
        [result] = settled
        if isinstance(result, TidingsError):
            raise result
        return str(self._stage.log.position(result.offset))

    def cancel(self, operation_id: str, *, reason: str | None = None, timeout_s: float = 10.0) -> "CancelRequest":
        """Ask for an operation's end, as somebody at a screen does; its producer learns of it when it gets to run.

        Args:
            operation_id: Which.
            reason: Why.
            timeout_s: Seconds, by the hub's clock, within which the outcome is known.

        Raises:
            OperationUnknown: The hub knows no such operation.
            HubUnreachable: The hub is stopped.
        """
        outcomes: list[CancelOutcome] = []
        with self._stage.entered():
            wish = Cancel(operation_id=operation_id, reason=reason, timeout_s=timeout_s)
            self._running_hub().cancellations.request(wish, outcomes.append)
        return CancelRequest(outcomes)

    def operation(self, operation_id: str) -> OperationStatus | None:
        """Return what the hub knows of an operation now; None where it knows none, or is stopped."""
        with self._stage.entered():
            hub = self._stage.hub
            status = None if hub is None else hub.hub.operations.get(operation_id)
            return None if status is None else msgspec.structs.replace(status)

    def _running_hub(self) -> Hub:
        if self._stage.hub is None:
            raise HubUnreachable("the hub in memory is stopped")
        return self._stage.hub.hub

    def inject(self, fault: Fault) -> Injected:
        """Let something go wrong from now on; see `tidings.testing.faults`."""

        def remove(injected: Injected) -> None:
            with self._stage.entered():
                self._stage.faults.remove(injected)
                self._relieve()

        injected = Injected(fault, remove)
        with self._stage.entered():
            self._stage.faults.add(injected)
        return injected

    def clear_faults(self) -> None:
        """Let nothing go wrong any more."""
        with self._stage.entered():
            self._stage.faults.clear()
            self._relieve()

    def _relieve(self) -> None:
        """Let happen what faults that are gone held up."""
        for line in list(self._stage.lines):
            line.flush()
        self._stage.call_back()

    def cut(self, link: str = "") -> int:
        """End connections without a word, and return how many; their clients come back at once.

        Args:
            link: Part of the names of the links that this happens to; every link by default.
        """
        with self._stage.entered():
            lines = [line for line in self._stage.lines if link in line.link]
            for line in lines:
                line.cut()
        return len(lines)

    def stop(self) -> None:
        """Stop the hub, as a deployment does: clients are told, and find nobody until `start`. The log stays."""
        with self._stage.entered():
            self._stage.stop()

    def start(self) -> None:
        """Start the hub again over its log; clients come back at once."""
        with self._stage.entered():
            self._stage.start()

    def restart(self) -> None:
        """Stop the hub and start it again over its log."""
        self.stop()
        self.start()

    def _transport(self, link: str) -> MemoryRuntime:
        transport = MemoryRuntime(self._stage, link)
        self._joined(transport.loop)
        return transport
