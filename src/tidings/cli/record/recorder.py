"""Records one connection over its reconnects: `tidings.v1`, or plain, as a browser or another service uses it."""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec
from msgspec import Struct

from tidings.cli.options import resolve_since
from tidings.cli.record.output_file import Sink
from tidings.cli.recordings import RecordingHeader, envelope_line, header_line, shown_url
from tidings.cli.watch.pipe import v1_envelope
from tidings.client.client import connect
from tidings.client.events import Gap, Item, LicenseEnded, PathsRemoved, ReceivedEvent
from tidings.client.options import LinkOptions
from tidings.client.status import State, Status
from tidings.client.tokens import find_token_source
from tidings.client.watch import Watch
from tidings.exceptions import ContractError, HubUnreachable
from tidings.protocol import messages
from tidings.protocol.codes import error_data
from tidings.protocol.envelope import Envelope, decode_envelope
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import ConnectionEstablished, ContractIdentity
from tidings.protocol.timestamps import from_nanoseconds
from tidings.relay.source import PlainSource, SourceStatus, bodies_in
from tidings.relay.warnings import RelayWarnings
from tidings.version import __version__

FLUSH_INTERVAL_S = 1.0

Report = Callable[[str, str], None]


class RecordRequest(Struct, frozen=True, kw_only=True):
    """Options of a recording."""

    url: str
    """Full URL."""
    link: LinkOptions
    paths: tuple[str, ...]
    since: str | float
    """Where to start: as the hub reads it, or the age of the first events in seconds."""
    plain: bool


class Recorder:
    """Writes envelopes, and counts them.

    Args:
        request: Options of the recording.
        sink: Output.
        report: Prints a sentence about the connection, and a hint.
    """

    def __init__(self, request: RecordRequest, sink: Sink, report: Report) -> None:
        self.events = 0
        self.gaps = 0
        self.invalid = 0
        """Messages that are not envelopes; of plain connections only."""
        self.state = "connecting"
        self.sink = sink
        self.request = request
        self.since = resolve_since(request.since, time.time())
        """Where to start, as the hub reads it; an age counts by this machine's clock until the hub's is known."""
        self.report = report

    def write_header(self, contract: ContractIdentity | None) -> None:
        """Write a header: of a new recording, or for another contract."""
        request = self.request
        header = RecordingHeader(
            program=f"tidings {__version__}",
            url=shown_url(request.url),
            contract=contract,
            paths=list(request.paths) or ["*"],
            since=self.since,
            plain=request.plain,
        )
        self.sink.write([header_line(header, timestamp=now_text(), trace_id=secrets.token_hex(16))])

    def write(self, envelopes: Iterable[bytes]) -> None:
        """Write envelopes with the current time as their receipt."""
        received = now_text()
        self.sink.write([envelope_line(envelope, received) for envelope in envelopes])


async def record_v1(recorder: Recorder, stop: asyncio.Event) -> None:
    """Record a `tidings.v1` connection, over reconnects, until `stop` is set.

    Raises:
        ClientError: The hub is unreachable, or ended the watch permanently.
        ContractError: The hub refuses a path or `since`.
        SinkFailed: The output cannot be written.
    """
    request = recorder.request
    async with connect(request.url, options=request.link) as client:
        recorder.since = resolve_since(request.since, client.hub_time_s() or time.time())
        watch = client.watch(
            *request.paths, since=recorder.since, notices=True, on_change=lambda status: _changed(recorder, status)
        )
        link = watch.link
        stopping = asyncio.create_task(_stop(stop, link.cancel))
        try:
            contract: ContractIdentity | None = None
            while batch := await _with_flushes(recorder.sink, watch.take_batch()):
                established = link.session.established
                if established is not None and established.contract != contract:
                    contract = established.contract
                    recorder.write_header(contract)
                _write_batch(recorder, watch, batch)
            if contract is None and (established := link.session.established) is not None:
                recorder.write_header(established.contract)  # for a recording without events
        finally:
            stopping.cancel()


async def _stop(stop: asyncio.Event, end: Callable[[], None]) -> None:
    await stop.wait()
    end()


async def _with_flushes(sink: Sink, taking: "Awaitable[list[Item]]") -> list[Item]:
    """Return the next batch; flush the output while none arrives."""
    task = asyncio.ensure_future(taking)
    try:
        while True:
            done, _ = await asyncio.wait([task], timeout=FLUSH_INTERVAL_S)
            if done:
                return task.result()
            sink.flush()
    finally:
        task.cancel()


def _write_batch(recorder: Recorder, watch: Watch[Item], batch: list[Item]) -> None:
    timestamp, trace_id = now_text(), secrets.token_hex(16)
    recorder.write(v1_envelope(item, timestamp=timestamp, trace_id=trace_id) for item in batch)
    for item in batch:
        if isinstance(item, ReceivedEvent):
            recorder.events += 1
        elif isinstance(item, Gap):
            recorder.gaps += 1
            until = item.until or "an unknown position"
            recorder.report(f"gap: events between {item.after} and {until} are missing ({item.reason})", "")
        elif isinstance(item, PathsRemoved):
            recorder.report(f"no longer allowed to read {', '.join(item.paths[:10])}", "")
        elif isinstance(item, LicenseEnded):
            recorder.report(f"the license of the hub has expired: {item.data.message or item.data.expired_at}", "")


def _changed(recorder: Recorder, status: Status) -> None:
    before, recorder.state = recorder.state, str(status.state)
    if status.state is State.CONNECTING and status.error is not None and before != State.CONNECTING:
        recorder.report(f"{status.error}; recording continues after a reconnect", "")


def now_text() -> str:
    """Return the current time as a canonical timestamp."""
    return from_nanoseconds(time.time_ns())


_DISCONNECTED = "disconnected"
"""Reason of a gap of a plain connection, which cannot resume."""


class PlainRecording:
    """Records a plain connection.

    Args:
        recorder: Writes the recording.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._remarks = RelayWarnings(recorder.report)
        self._begun = False
        request = recorder.request
        query = [("channel", path) for path in request.paths]
        if recorder.since:
            query.append(("since", recorder.since))
        self._source = PlainSource(
            _with_parameters(request.url, query),
            self._received,
            on_change=self._changed,
            is_hub=True,
            tokens=find_token_source(
                request.link.token, request.url, allow_plaintext=request.link.allow_plaintext_token
            ),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop` is set.

        Raises:
            HubUnreachable: The server is unreachable, and the options do not wait for it.
            SinkFailed: The output cannot be written.
        """
        reading = asyncio.create_task(self._source.run(), name="tidings recorder")
        stopping = asyncio.create_task(stop.wait())
        try:
            while not reading.done() and not stopping.done():
                await asyncio.wait([reading, stopping], timeout=FLUSH_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED)
                self._recorder.sink.flush()
        finally:
            for task in (reading, stopping):
                task.cancel()
            await asyncio.wait([reading, stopping])
        if not reading.cancelled() and (failure := reading.exception()) is not None:
            raise failure
        self._begin(None)

    def _received(self, message: bytes) -> None:
        valid = []
        for body in bodies_in(message):
            try:
                envelope = decode_envelope(body)
            except ContractError as error:
                self._recorder.invalid += 1
                hint = error_data(error).hint or ""
                self._remarks.once(error.code, f"skipped an invalid envelope: {error} ({error.code})", hint)
                continue
            self._begin(envelope)
            self._recorder.events += envelope.type.partition(":")[0] not in ("connection", "channel", "auth")
            valid.append(body)
        self._recorder.write(valid)

    def _begin(self, first: Envelope | None) -> None:
        """Write the header once: before the first envelope, or at the end."""
        if not self._begun:
            self._begun = True
            self._recorder.write_header(_contract_in(first))

    def _changed(self, status: SourceStatus) -> None:
        recorder = self._recorder
        if status.connected:
            recorder.state = "live"
            if self._source.connections > 1:
                self._begin(None)
                self._note_gap()
            return
        if not self._source.connections and not recorder.request.link.wait_for_hub:
            raise HubUnreachable(status.error)
        if recorder.state != "connecting":
            recorder.report(f"{status.error}; recording continues after a reconnect", "")
        recorder.state = "connecting"

    def _note_gap(self) -> None:
        recorder = self._recorder
        recorder.gaps += 1
        recorder.report("gap: events during the disconnection are missing", "")
        gap = messages.Gap(after="", until="", reason=_DISCONNECTED)
        trace_id = secrets.token_hex(16)
        recorder.write([messages.encode_hub_message(gap, timestamp=now_text(), trace_id=trace_id)])


def _contract_in(envelope: Envelope | None) -> ContractIdentity | None:
    """Return the contract in the greeting of a hub; other services name none."""
    if envelope is None or envelope.type != MessageType.CONNECTION_ESTABLISHED:
        return None
    try:
        return msgspec.json.decode(envelope.data, type=ConnectionEstablished).contract
    except (msgspec.DecodeError, RecursionError):
        return None


def _with_parameters(url: str, parameters: list[tuple[str, str]]) -> str:
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(parameters)) if part)
    return urlunsplit(parts._replace(query=query))
