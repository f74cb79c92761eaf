"""Recording what a plain connection sees: a browser's, or a client's of a service that is no hub."""

import asyncio
import secrets
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from tidings.cli.record.session import FLUSH_S, Recorder, now_text
from tidings.exceptions import ContractError, HubUnreachable
from tidings.protocol import messages
from tidings.protocol.codes import error_data
from tidings.protocol.envelope import Envelope, decode_envelope, encode_message
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import ConnectionEstablished, ContractIdentity
from tidings.relay.source import PlainSource, SourceStatus, bodies_in
from tidings.relay.warnings import Remarks

_DISCONNECTED = "disconnected"
"""The reason of the gaps that a plain connection has: it cannot resume."""


class PlainRecording:
    """One plain recording.

    Args:
        recorder: Writes it.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._remarks = Remarks(recorder.say)
        self._begun = False
        request = recorder.request
        query = [("channel", path) for path in request.paths]
        if request.since:
            query.append(("since", request.since))
        self._source = PlainSource(
            _with_parameters(request.url, query),
            self._received,
            on_change=self._changed,
            headers=[] if request.link.token is None else [("Authorization", f"Bearer {request.link.token}")],
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop`.

        Raises:
            HubUnreachable: Nothing is there, and it is not to be waited for.
            SinkFailed: It cannot be written.
        """
        reading = asyncio.create_task(self._source.run(), name="tidings recorder")
        stopping = asyncio.create_task(stop.wait())
        try:
            while not reading.done() and not stopping.done():
                await asyncio.wait([reading, stopping], timeout=FLUSH_S, return_when=asyncio.FIRST_COMPLETED)
                self._recorder.sink.flush()
        finally:
            for task in (reading, stopping):
                task.cancel()
            await asyncio.wait([reading, stopping])
        if not reading.cancelled() and (failure := reading.exception()) is not None:
            raise failure
        self._begin(None)

    def _received(self, message: bytes) -> None:
        good = []
        for body in bodies_in(message):
            try:
                envelope = decode_envelope(body)
            except ContractError as error:
                self._recorder.invalid += 1
                hint = error_data(error).hint or ""
                self._remarks.once(error.code, f"no envelope, left out: {error} ({error.code})", hint)
                continue
            self._begin(envelope)
            self._recorder.events += envelope.type.partition(":")[0] not in ("connection", "channel", "auth")
            good.append(body)
        self._recorder.write(good)

    def _begin(self, first: Envelope | None) -> None:
        """Write the header, before the first envelope or at the end."""
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
            recorder.say(f"{status.error}; recording goes on when it is there again", "")
        recorder.state = "connecting"

    def _note_gap(self) -> None:
        recorder = self._recorder
        recorder.gaps += 1
        recorder.say("gap: what was sent while there was no connection is missing", "")
        gap = messages.Gap(after="", until="", reason=_DISCONNECTED)
        trace_id = secrets.token_hex(16)
        recorder.write([encode_message("channel:gap", gap, timestamp=now_text(), trace_id=trace_id)])


def _contract_in(envelope: Envelope | None) -> ContractIdentity | None:
    """Return the contract that a hub's greeting names; other services have none."""
    if envelope is None or envelope.type != MessageType.CONNECTION_ESTABLISHED:
        return None
    try:
        return msgspec.json.decode(envelope.data, type=ConnectionEstablished).contract
    except msgspec.DecodeError:
        return None


def _with_parameters(url: str, parameters: list[tuple[str, str]]) -> str:
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode(parameters)) if part)
    return urlunsplit(parts._replace(query=query))
