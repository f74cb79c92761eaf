"""Recorded traffic, wherever it is: a file, a pipe, a log's folder, or a hub; read as it comes, never as a whole."""

import gzip
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tidings.cli.contract.sources import STDIN, is_url
from tidings.exceptions import ConfigError
from tidings.log.sqlite.database import FILE
from tidings.log.sqlite.inspect import stored_envelopes
from tidings.protocol.envelope import MAX_BODY_BYTES, Envelope

_SQLITE = b"SQLite format 3\x00"
_GZIP = b"\x1f\x8b"
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


def open_recording(spec: str) -> Recording:
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
    compressed = peek is not None and peek(len(_GZIP)).startswith(_GZIP)
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
    from tidings.cli.contract.hub_resources import fetch_history  # httpx takes half of a whole start

    for number, envelope in enumerate(fetch_history(url), 1):
        yield b"" + envelope, f"event {number:,}"
