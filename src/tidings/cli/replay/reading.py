"""Reading recordings: NDJSON of envelopes, compressed or not, ours or of `tidings watch --json`."""

import shutil
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from tidings.cli.record.lines import FORMAT, HEADER_TYPE, Header, RecordedEnvelope
from tidings.exceptions import ConfigError, ContractError, InvalidTimestamp
from tidings.protocol.envelope import MAX_BODY_BYTES, check_body
from tidings.protocol.timestamps import nanoseconds

STDIN = "-"
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = 16 + zlib.MAX_WBITS
_CHUNK = 1 << 16
_MAX_LINE = 2 * MAX_BODY_BYTES
"""Bytes of a line: an envelope and what a recording adds; of a file that is none, no more than this is in memory."""
_HINT = "A recording is what `tidings record` or `tidings watch --json` writes: one envelope a line."

_decode = msgspec.json.Decoder(RecordedEnvelope).decode
_decode_header = msgspec.json.Decoder(Header).decode


class Line(Struct, frozen=True):
    """One envelope of a recording."""

    number: int
    """Of its line, from 1."""
    envelope: RecordedEnvelope


class Broken(Struct, frozen=True):
    """A line that is no envelope."""

    number: int
    fault: str
    last: bool
    """Whether it ends the file without a newline: what recorded it was killed, or is still at it."""


class Cut(Exception):
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


def read_lines(recording: BinaryIO) -> Iterator[Line | Broken]:
    """Return the lines of a recording from its beginning; empty ones are left out.

    A compressed file that ends too early, because what recorded it was killed, is read as far as it goes: the last
    item is then a `Broken` that says so.

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
            yield Broken(number, str(error), not whole)
            continue
        if envelope.type == HEADER_TYPE:
            _check_header(envelope)
        yield Line(number, envelope)


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
    except Cut:
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
        raise Cut from cause
    while not expander.eof and (more := expander.decompress(b"", _CHUNK)):
        yield more
    if not expander.eof:
        raise Cut


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
                return nanoseconds(text)
            except InvalidTimestamp:
                continue
    return None
