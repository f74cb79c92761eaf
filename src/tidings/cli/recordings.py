"""Recordings: the lines that `tidings record` writes, and one reader for `tidings replay` and `tidings contract check`.

A recording is NDJSON, so that every reader of envelopes reads it: its header is an envelope too, of a type that no
contract has, and `received` is one more field, which readers ignore. It may be compressed with gzip. Recordings are
read as they come, never as a whole, and with bounded memory.
"""

import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from tidings.cli.contract.sources import STDIN, is_url
from tidings.cli.errors import path_hint
from tidings.client.http import HTTPClient
from tidings.client.url import hide_password
from tidings.exceptions import ConfigError, ContractError, InvalidTimestamp
from tidings.log.journal.shared_folder import find_log_folder
from tidings.log.sqlite.database import FILE
from tidings.log.sqlite.inspect import stored_envelopes
from tidings.protocol.envelope import MAX_BODY_BYTES, Envelope, check_body, encode_message, to_single_line
from tidings.protocol.payloads import ContractIdentity
from tidings.protocol.strict_json import check_members, declared_members
from tidings.protocol.timestamps import to_nanoseconds

# Lines.

HEADER_TYPE: Final = "tidings:recording"
FORMAT: Final = 1
"""Version of the header's data; a reader refuses a later one."""


class RecordingHeader(Struct, frozen=True, kw_only=True):
    """The data of a recording's first line. Another header follows where the contract of the hub changes."""

    format: Literal[1] = FORMAT
    program: str
    """Name and version of the program that wrote the recording."""
    url: str
    """URL of the connection, without user, password and query."""
    contract: ContractIdentity | None = None
    """Contract of the hub; None if the server named none."""
    paths: list[str]
    since: str
    plain: bool = False
    """Whether the connection was one without `tidings.v1`: no positions, no event ids."""


class RecordedEnvelope(Envelope, frozen=True, gc=False):
    """An envelope of a recording."""

    received: str | None = None
    """Time of receipt, RFC 3339 in UTC. None in files that `tidings record` did not write."""


def header_line(header: RecordingHeader, *, timestamp: str, trace_id: str) -> bytes:
    """Return the line of a header.

    Args:
        header: The header.
        timestamp: Start of the recording.
        trace_id: Any trace id: an envelope has one.
    """
    return encode_message(HEADER_TYPE, header, timestamp=timestamp, trace_id=trace_id) + b"\n"


def envelope_line(envelope: bytes, received: str) -> bytes:
    """Return the line of an envelope (a JSON object with members) that was received at `received`."""
    return b'%b,"received":"%b"}\n' % (to_single_line(envelope).rstrip()[:-1].rstrip(), received.encode())


def shown_url(url: str) -> str:
    """Return `url` without user, password and query values, which may be secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def moment_of(envelope: RecordedEnvelope, *, by_timestamp: bool) -> int | None:
    """Return the moment of an envelope in its recording, in nanoseconds since 1970; None if it has none.

    Args:
        envelope: The envelope.
        by_timestamp: Whether its own timestamp takes precedence over the time of its receipt.
    """
    order = (envelope.timestamp, envelope.received) if by_timestamp else (envelope.received, envelope.timestamp)
    for text in order:
        if text:
            try:
                return to_nanoseconds(text)
            except InvalidTimestamp:
                continue
    return None


# Reading.

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_CHUNK_BYTES = 1 << 14
_MAX_LINE_BYTES = 2 * MAX_BODY_BYTES
"""Maximum length of a line: an envelope and what a recording adds. Bounds the memory for a file of another kind."""


class LineReader:
    """Splits a stream, compressed with gzip or not, into lines.

    Args:
        stream: The stream, at its beginning. A pipe is read as far as it has come.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._read1 = getattr(stream, "read1", stream.read)
        self.consumed = 0
        """Bytes of the stream that were read."""
        self.truncated = False
        """Whether compressed data ends in the middle: the program that wrote it was killed, or still writes."""

    def __iter__(self) -> Iterator[tuple[bytes, bool]]:
        """Yield each line without its newline, and whether it is complete: only the last may be incomplete.

        A line that is too long is cut, and counts as one. The incomplete last line of truncated data may be empty.
        """
        rest = b""
        too_long = False
        for chunk in self._chunks():
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if not too_long:
                    yield line, True
                too_long = False
            if len(rest) > _MAX_LINE_BYTES:
                if not too_long:
                    yield rest, True
                rest, too_long = b"", True
        if (rest and not too_long) or self.truncated:
            yield rest, False

    def _chunks(self) -> Iterator[bytes]:
        first = self._read()
        if len(first) == 1:
            first += self._read()
        compressed = first.startswith(_GZIP_MAGIC)
        if compressed:
            yield from self._decompressed(first)
            return
        while first:
            yield first
            first = self._read()

    def _read(self) -> bytes:
        chunk: bytes = self._read1(_CHUNK_BYTES)
        self.consumed += len(chunk)
        return chunk

    def _decompressed(self, chunk: bytes) -> Iterator[bytes]:
        expander = zlib.decompressobj(_GZIP)
        try:
            while chunk:
                rest = chunk
                while rest:
                    if expander.eof:  # another member: two recordings in one file
                        expander = zlib.decompressobj(_GZIP)
                    # Bounded, because a small file could become a large piece of memory.
                    yield expander.decompress(rest, _CHUNK_BYTES)
                    rest = expander.unconsumed_tail or expander.unused_data
                chunk = self._read()
            while not expander.eof and (more := expander.decompress(b"", _CHUNK_BYTES)):
                yield more
            self.truncated = not expander.eof
        except zlib.error:
            self.truncated = True


# Recordings that are replayed: files, read twice.

RECORDING_HINT = "Name a file that `tidings record` or `tidings watch --json` wrote: one envelope a line."
_decode = msgspec.json.Decoder(RecordedEnvelope).decode
_decode_header = msgspec.json.Decoder(RecordingHeader).decode


class RecordedLine(Struct, frozen=True):
    """One envelope of a recording."""

    number: int
    """Number of its line, from 1."""
    envelope: RecordedEnvelope


class BrokenLine(Struct, frozen=True):
    """A line that is not an envelope."""

    number: int
    fault: str
    last: bool
    """Whether it ends the file without a newline: the program that wrote it was killed, or still writes."""


def open_recording(file: str) -> BinaryIO:
    """Return a recording as a file that can be read more than once; data from a pipe is kept on disk.

    Args:
        file: A path; `-` is stdin.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        if file != STDIN:
            return Path(file).expanduser().open("rb")
        kept: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 -- the caller closes it
        shutil.copyfileobj(sys.stdin.buffer, kept)
        return kept
    except OSError as cause:
        hint = RECORDING_HINT if isinstance(cause, FileNotFoundError | IsADirectoryError) else path_hint(file)
        raise ConfigError(
            f"cannot read {file!r}: {cause.strerror}", option="FILE", source="argument", hint=hint
        ) from cause


def read_lines(recording: BinaryIO) -> Iterator[RecordedLine | BrokenLine]:
    """Yield the lines of a recording from its beginning, without empty ones.

    A compressed file that ends too early is read as far as it goes: the last item is then a `BrokenLine`.

    Raises:
        ConfigError: The file is not a recording, or one in a later format.
    """
    recording.seek(0)
    for number, (text, complete) in enumerate(LineReader(recording), 1):
        if complete and not text.strip():
            continue
        try:
            check_body(text)
            envelope = _decode(text)
            check_members(text, declared_members(RecordedEnvelope))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ContractError) as error:
            if number == 1 and complete:
                raise ConfigError(
                    f"not a recording: the first line is not an envelope ({error})",
                    option="FILE",
                    source="argument",
                    hint=RECORDING_HINT,
                ) from error
            yield BrokenLine(number, str(error), not complete)
            continue
        if envelope.type == HEADER_TYPE:
            _check_header(envelope)
        yield RecordedLine(number, envelope)


def _check_header(envelope: RecordedEnvelope) -> None:
    try:
        _decode_header(envelope.data)
    except (msgspec.DecodeError, RecursionError) as cause:
        raise ConfigError(
            f"unsupported recording: expected format {FORMAT} ({cause})",
            option="FILE",
            source="argument",
            hint="Play it with the version of tidings that wrote it, or a newer one.",
        ) from cause


# Traffic that is checked: also pipes, logs and hubs, read once.

_SQLITE_MAGIC = b"SQLite format 3\x00"
Message = tuple[bytes | Envelope, str]
"""A message, and its place in the traffic."""


@dataclass(slots=True)
class Traffic:
    """Messages from a file, a pipe, a log or a hub, which can be read once."""

    name: str
    messages: Iterator[Message]
    size: int | None = None
    """Size of the file, in bytes; None if unknown."""
    consumed: int = 0
    """Bytes of the file that were read."""
    cut_off: bool = False
    """Whether compressed data ends in the middle; known at its end."""


def open_traffic(spec: str) -> Traffic:
    """Return the traffic that `spec` names.

    Args:
        spec: A file of envelopes, one a line, compressed with gzip or not; ``-`` for stdin; the data folder of a hub,
            or a copy of its log; or the URL of a hub.

    Raises:
        ConfigError: `spec` names none of these, or the file cannot be read.
    """
    if is_url(spec):
        return Traffic(hide_password(spec), _hub_messages(spec))
    path = Path(spec)
    if spec == STDIN:
        stream, traffic = sys.stdin.buffer, Traffic("stdin", iter(()))
    elif path.is_dir():
        if not (find_log_folder(path) / FILE).is_file():
            hint = "Name the data folder of a hub, a file of envelopes, the URL of a hub, or - for stdin."
            raise ConfigError(f"{spec} is a folder without a log", option="RECORDING", hint=hint)
        return Traffic(spec, _log_messages(path))
    else:
        try:
            stream = path.open("rb")
        except OSError as cause:
            raise ConfigError(
                f"cannot read {spec!r}: {cause.strerror or cause}", option="RECORDING", hint=path_hint(path)
            ) from cause
        if stream.peek(len(_SQLITE_MAGIC)).startswith(_SQLITE_MAGIC):
            stream.close()
            return Traffic(spec, _log_messages(path))
        traffic = Traffic(spec, iter(()), path.stat().st_size if path.is_file() else None)
    traffic.messages = _stream_messages(stream, traffic)
    return traffic


def _stream_messages(stream: BinaryIO, traffic: Traffic) -> Iterator[Message]:
    with stream:
        reader = LineReader(stream)
        for number, (line, complete) in enumerate(reader, 1):
            traffic.consumed = reader.consumed
            if reader.truncated and not complete:
                break
            body = line.strip()
            if body:
                yield body, f"line {number}"
        traffic.cut_off = reader.truncated


def _log_messages(path: Path) -> Iterator[Message]:
    for envelope in stored_envelopes(path):
        yield envelope, f"position {envelope.position}"


def _hub_messages(url: str) -> Iterator[Message]:
    with HTTPClient(url) as hub:
        for number, envelope in enumerate(hub.history(), 1):
            yield b"" + envelope, f"event {number:,}"
