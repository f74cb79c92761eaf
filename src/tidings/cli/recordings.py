"""Reading recordings: NDJSON of envelopes, compressed or not, ours or of `tidings watch --json`.

The lines of a recording: a header, then envelopes, each with the time of its receipt.

NDJSON, so that every reader of envelopes reads it: the header is an envelope, too, of a type that no contract has, and
`received` is one field more, which readers ignore.

Recorded traffic, wherever it is: a file, a pipe, a log's folder, or a hub; read as it comes, never as a whole.
"""

import gzip
import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from tidings.cli.contract.sources import STDIN, is_url
from tidings.client.http import HTTPClient
from tidings.exceptions import ConfigError, ContractError, InvalidTimestamp
from tidings.log.sqlite.database import FILE
from tidings.log.sqlite.inspect import stored_envelopes
from tidings.protocol.envelope import MAX_BODY_BYTES, Envelope, check_body, encode_message, to_single_line
from tidings.protocol.payloads import ContractIdentity
from tidings.protocol.timestamps import to_nanoseconds

HEADER_TYPE: Final = "tidings:recording"
FORMAT: Final = 1
"""Of the header's data; a reader refuses a later one."""


class RecordingHeader(Struct, frozen=True, kw_only=True):
    """What a recording is of: the data of its first line. Another one follows where the hub's contract changes."""

    format: Literal[1] = FORMAT
    program: str
    """Which version wrote it."""
    url: str
    """Of the connection, without a password."""
    contract: ContractIdentity | None = None
    """The hub's; None where it did not say."""
    paths: list[str]
    since: str
    plain: bool = False
    """Whether it is what a connection without `tidings.v1` sees: no positions, no event ids."""


class RecordedEnvelope(Envelope, frozen=True, gc=False):
    """An envelope of a recording."""

    received: str | None = None
    """When it came: RFC 3339 in UTC. None in files that were not written by `tidings record`."""


def header_line(header: RecordingHeader, *, timestamp: str, trace_id: str) -> bytes:
    """Return the line of a header.

    Args:
        header: It.
        timestamp: When the recording began.
        trace_id: Any: an envelope has one.
    """
    return encode_message(HEADER_TYPE, header, timestamp=timestamp, trace_id=trace_id) + b"\n"


def envelope_line(envelope: bytes, received: str) -> bytes:
    """Return the line of an envelope, which is a JSON object with members, received at `received`."""
    return b'%b,"received":"%b"}\n' % (to_single_line(envelope).rstrip()[:-1].rstrip(), received.encode())


def shown_url(url: str) -> str:
    """Return `url` without user, password and query values, which may be secrets."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_CHUNK = 1 << 16
_MAX_LINE = 2 * MAX_BODY_BYTES
"""Bytes of a line: an envelope and what a recording adds; of a file that is none, no more than this is in memory."""
_HINT = "A recording is what `tidings record` or `tidings watch --json` writes: one envelope a line."

_decode = msgspec.json.Decoder(RecordedEnvelope).decode
_decode_header = msgspec.json.Decoder(RecordingHeader).decode


class RecordedLine(Struct, frozen=True):
    """One envelope of a recording."""

    number: int
    """Of its line, from 1."""
    envelope: RecordedEnvelope


class BrokenLine(Struct, frozen=True):
    """A line that is no envelope."""

    number: int
    fault: str
    last: bool
    """Whether it ends the file without a newline: what recorded it was killed, or is still at it."""


class TruncatedRecording(Exception):
    """A compressed file ends before its end."""


def open_recording(file: str) -> BinaryIO:
    """Return a recording as a file that can be read more than once; what comes through a pipe is kept on disk.

    Args:
        file: A path; `-` is stdin.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        if file != STDIN:
            return Path(file).expanduser().open("rb")
        kept: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 -- the caller closes it
        shutil.copyfileobj(sys.stdin.buffer, kept)
        return kept
    except OSError as cause:
        raise ConfigError(
            f"cannot read {file!r}: {cause.strerror}", option="FILE", source="argument", hint=_HINT
        ) from cause


def read_lines(recording: BinaryIO) -> Iterator[RecordedLine | BrokenLine]:
    """Return the lines of a recording from its beginning; empty ones are left out.

    A compressed file that ends too early, because what recorded it was killed, is read as far as it goes: the last
    item is then a `BrokenLine` that says so.

    Raises:
        ConfigError: It is no recording, but something else, or of a later form.
    """
    number = 0
    for number, (text, whole) in enumerate(_split(recording), 1):
        if not text.strip():
            continue
        try:
            check_body(text)
            envelope = _decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, ContractError) as error:
            if number == 1 and whole:
                raise ConfigError(
                    f"this is no recording: its first line is no envelope ({error})",
                    option="FILE",
                    source="argument",
                    hint=_HINT,
                ) from error
            yield BrokenLine(number, str(error), not whole)
            continue
        if envelope.type == HEADER_TYPE:
            _check_header(envelope)
        yield RecordedLine(number, envelope)


def _check_header(envelope: RecordedEnvelope) -> None:
    try:
        _decode_header(envelope.data)
    except msgspec.DecodeError as cause:
        raise ConfigError(
            f"this recording is not of form {FORMAT}: {cause}",
            option="FILE",
            source="argument",
            hint="Play it with the version of tidings that wrote it, or a newer one.",
        ) from cause


def _split(recording: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    """Return each line, and whether it ended with a newline; one that is too long comes in pieces."""
    rest = b""
    try:
        for chunk in _chunks(recording):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                yield line, True
            if len(rest) > _MAX_LINE:
                yield rest, True
                rest = b""
    except TruncatedRecording:
        yield rest or b"(cut)", False
        return
    if rest:
        yield rest, False


def _chunks(recording: BinaryIO) -> Iterator[bytes]:
    recording.seek(0)
    compressed = recording.read(2) == _GZIP_MAGIC
    recording.seek(0)
    read: Callable[[], bytes] = lambda: recording.read(_CHUNK)  # noqa: E731
    if not compressed:
        yield from iter(read, b"")
        return
    expander = zlib.decompressobj(_GZIP)
    try:
        for chunk in iter(read, b""):
            rest = chunk
            while rest:
                if expander.eof:  # another member: two recordings in one file
                    expander = zlib.decompressobj(_GZIP)
                # Bounded, or a small file could become a large piece of memory.
                yield expander.decompress(rest, _CHUNK)
                rest = expander.unconsumed_tail or expander.unused_data
    except zlib.error as cause:
        raise TruncatedRecording from cause
    while not expander.eof and (more := expander.decompress(b"", _CHUNK)):
        yield more
    if not expander.eof:
        raise TruncatedRecording


def moment_of(envelope: RecordedEnvelope, *, by_timestamp: bool) -> int | None:
    """Return when an envelope happened in its recording, in nanoseconds since 1970; None where it does not say.

    Args:
        envelope: It.
        by_timestamp: Whether its own timestamp counts rather than the time of its receipt.
    """
    order = (envelope.timestamp, envelope.received) if by_timestamp else (envelope.received, envelope.timestamp)
    for text in order:
        if text:
            try:
                return to_nanoseconds(text)
            except InvalidTimestamp:
                continue
    return None


_SQLITE = b"SQLite format 3\x00"
_GZIP_START = b"\x1f\x8b"
Item = tuple[bytes | Envelope, str]
"""A message, and where it stands."""


@dataclass(slots=True)
class Recording:
    """Messages that can be read once."""

    name: str
    items: Iterator[Item]
    size: int | None = None
    """Bytes of the file; None where nobody knows."""
    consumed: int = 0
    """How many of them were read."""
    cut_off: bool = False
    """Whether it ends in the middle of what it was to hold; known at its end."""


def open_traffic(spec: str) -> Recording:
    """Return the recording that `spec` names.

    Args:
        spec: A file of envelopes, one a line, compressed with gzip or not; ``-`` for stdin; a hub's data folder, or a
            copy of its log; or a hub's URL.

    Raises:
        ConfigError: There is none.
    """
    if spec == STDIN:
        recording = Recording("stdin", iter(()))
        recording.items = _of_stream(sys.stdin.buffer, recording)
        return recording
    if is_url(spec):
        return Recording(spec, _of_hub(spec))
    path = Path(spec)
    if path.is_dir():
        if not (path / FILE).is_file():
            hint = "Name a hub's data folder, a file of envelopes, a hub's URL, or - for stdin."
            raise ConfigError(f"{spec} is a folder without a log", option="RECORDING", hint=hint)
        return Recording(spec, _of_log(path))
    try:
        stream = path.open("rb")
    except OSError as cause:
        raise ConfigError(
            f"cannot read {spec!r}: {cause.strerror or cause}", option="RECORDING", hint="Check the path."
        ) from cause
    if stream.peek(len(_SQLITE)).startswith(_SQLITE):
        stream.close()
        return Recording(spec, _of_log(path))
    recording = Recording(spec, iter(()), path.stat().st_size if path.is_file() else None)
    recording.items = _of_stream(stream, recording)
    return recording


def _of_stream(stream: BinaryIO, recording: Recording) -> Iterator[Item]:
    peek = getattr(stream, "peek", None)
    compressed = peek is not None and peek(len(_GZIP_START)).startswith(_GZIP_START)
    with stream:
        lines = gzip.GzipFile(fileobj=stream) if compressed else stream
        try:
            for number, line in enumerate(_lines(lines), 1):
                recording.consumed = recording.consumed + len(line) if not compressed else stream.tell()
                body = line.strip()
                if body:
                    yield body, f"line {number}"
        except (EOFError, gzip.BadGzipFile, zlib.error):
            recording.cut_off = True  # whoever wrote it was killed: all lines up to here are whole


def _lines(stream: BinaryIO | gzip.GzipFile) -> Iterator[bytes]:
    """Yield lines, of those that are too long for any message only as much as shows it."""
    while line := stream.readline(MAX_BODY_BYTES + 2):
        part = line
        while part and not part.endswith(b"\n"):
            part = stream.readline(MAX_BODY_BYTES)
            if not part:
                break
        yield line


def _of_log(path: Path) -> Iterator[Item]:
    for envelope in stored_envelopes(path):
        yield envelope, f"position {envelope.position}"


def _of_hub(url: str) -> Iterator[Item]:
    with HTTPClient(url) as hub:
        for number, envelope in enumerate(hub.history(), 1):
            yield b"" + envelope, f"event {number:,}"
