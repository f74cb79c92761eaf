"""Output of a recording: a file, compressed or not, that holds whole lines at every moment, or stdout."""

import errno
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from tidings.exceptions import ConfigError

STDOUT = "-"
_FLUSH_INTERVAL_S = 1.0
"""Interval between flushes of a compressed file. A killed process loses this much; each flush costs compression."""
_COMPRESSION_LEVEL = 6
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""RFC 1952 §2.3: deflate, no name, no time, an unknown system."""
_LAST_BLOCK = b"\x03\x00"
"""RFC 1951 §3.2.3: an empty last block, which may follow a full flush at any byte."""


class SinkFailed(Exception):
    """Writing failed; the lines before it are in the file, whole."""

    def __init__(self, reason: str, *, reader_gone: bool = False) -> None:
        super().__init__(reason)
        self.reader_gone = reader_gone


class Sink(Protocol):
    """Writes the lines of a recording."""

    @property
    def lines(self) -> int:
        """Number of whole lines in the file."""

    @property
    def written(self) -> int:
        """Bytes written."""

    def write(self, lines: Iterable[bytes]) -> None:
        """Add lines, each with its newline.

        Raises:
            SinkFailed: The disk is full, or the reader of a pipe is gone.
        """

    def flush(self) -> None:
        """Make the written lines readable even if the process is killed; called about once a second.

        Raises:
            SinkFailed: See `write`.
        """

    def close(self) -> None:
        """Write pending lines, and close the file.

        Raises:
            SinkFailed: See `write`.
        """


class PlainSink:
    """Writes lines uncompressed.

    Args:
        descriptor: An open file, or a pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self.lines = 0
        self.written = 0
        self._descriptor = descriptor
        self._before = os.fstat(descriptor).st_size  # not 0 after `>> file`

    def write(self, lines: Iterable[bytes]) -> None:
        """See `Sink.write`."""
        chunk = list(lines)
        try:
            _write_all(self._descriptor, b"".join(chunk))
        except OSError as cause:
            _cut(self._descriptor, self._before + self.written)
            raise _failed(cause) from cause
        self.lines += len(chunk)
        self.written += sum(map(len, chunk))

    def flush(self) -> None:
        """See `Sink.flush`."""

    def close(self) -> None:
        """See `Sink.close`."""
        if self._descriptor != sys.stdout.fileno():
            os.close(self._descriptor)


class GzipSink:
    """Writes lines as one gzip member, which stays readable up to its last flush if the process is killed.

    Args:
        descriptor: An open, empty file.
        now: Returns seconds from a monotonic clock.
    """

    def __init__(self, descriptor: int, now: Callable[[], float]) -> None:
        self.lines = 0
        self.written = 0
        self._descriptor = descriptor
        self._now = now
        self._compressor = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._crc = self._size = 0
        self._pending: list[bytes] = []
        self._flushed = now()
        self._closed = False
        self._put(_GZIP_HEADER)

    def write(self, lines: Iterable[bytes]) -> None:
        """See `Sink.write`."""
        self._pending.extend(lines)
        if self._now() - self._flushed >= _FLUSH_INTERVAL_S:
            self.flush()

    def flush(self) -> None:
        """See `Sink.flush`."""
        self._flushed = self._now()
        if not self._pending:
            return
        plain = b"".join(self._pending)
        packed = self._compressor.compress(plain) + self._compressor.flush(zlib.Z_SYNC_FLUSH)
        self._put(packed)
        self.lines += len(self._pending)
        self._crc = zlib.crc32(plain, self._crc)
        self._size += len(plain)
        self._pending.clear()

    def close(self) -> None:
        """See `Sink.close`."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._end()

    def _put(self, packed: bytes) -> None:
        try:
            _write_all(self._descriptor, packed)
        except OSError as cause:
            _cut(self._descriptor, self.written)
            self._pending.clear()
            self._end()
            raise _failed(cause) from cause
        self.written += len(packed)

    def _end(self) -> None:
        """Close the member after its last flush; on a full disk, the cut-off data has made room for this."""
        if self._closed:
            return
        self._closed = True
        ending = _LAST_BLOCK + self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        try:
            _write_all(self._descriptor, ending)
            self.written += len(ending)
        except OSError:
            _cut(self._descriptor, self.written)  # readers report the missing end, and read the rest
        os.close(self._descriptor)


class LateSink:
    """A file that is created with its first line, so that a recording that never began creates or replaces none.

    Args:
        path: Path of the file; compressed if it ends with `.gz`.
        force: Whether an existing file is replaced.
        now: Returns seconds from a monotonic clock.
    """

    def __init__(self, path: Path, *, force: bool, now: Callable[[], float]) -> None:
        self._path = path
        self._force = force
        self._now = now
        self._sink: Sink | None = None

    @property
    def lines(self) -> int:
        """See `Sink.lines`."""
        return 0 if self._sink is None else self._sink.lines

    @property
    def written(self) -> int:
        """See `Sink.written`."""
        return 0 if self._sink is None else self._sink.written

    def write(self, lines: Iterable[bytes]) -> None:
        """See `Sink.write`."""
        if self._sink is None:
            self._sink = self._open()
        self._sink.write(lines)

    def flush(self) -> None:
        """See `Sink.flush`."""
        if self._sink is not None:
            self._sink.flush()

    def close(self) -> None:
        """See `Sink.close`."""
        if self._sink is not None:
            self._sink.close()

    def _open(self) -> Sink:
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0) | (os.O_TRUNC if self._force else os.O_EXCL)
        try:
            descriptor = os.open(self._path, flags, 0o666)
        except OSError as cause:
            raise _failed(cause) from cause
        return GzipSink(descriptor, self._now) if self._path.suffix == ".gz" else PlainSink(descriptor)


def open_sink(output: str, *, force: bool = False, now: Callable[[], float] = time.monotonic) -> Sink:
    """Return the output of a recording.

    Args:
        output: A path, compressed if it ends with `.gz`; `-` is stdout.
        force: Whether an existing file is replaced.
        now: Returns seconds from a monotonic clock.

    Raises:
        ConfigError: The file exists, its folder does not, or one of them cannot be written.
    """
    if output == STDOUT:
        return PlainSink(sys.stdout.fileno())
    path = Path(output).expanduser()
    if path.is_dir() or (path.exists() and not force):
        raise ConfigError(
            f"{path} exists", option="output", source="argument", hint="Name another file, or pass --force."
        )
    if not path.parent.is_dir():
        raise ConfigError(
            f"no such folder: {path.parent}", option="output", source="argument", hint="Create it, or name another."
        )
    # Checked now: the file is created with the first event, which may be hours away.
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ConfigError(
            f"cannot write {path}: Permission denied",
            option="output",
            source="argument",
            hint="Name a file in a folder that you may write to.",
        )
    return LateSink(path, force=force, now=now)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _cut(descriptor: int, size: int) -> None:
    """Remove the part of a line that a failed write left; not possible in a pipe."""
    try:
        if os.fstat(descriptor).st_size <= size:
            return
        os.ftruncate(descriptor, size)
        os.lseek(descriptor, size, os.SEEK_SET)
    except OSError:
        return


def _failed(cause: OSError) -> SinkFailed:
    gone = isinstance(cause, BrokenPipeError) or cause.errno == errno.EPIPE
    return SinkFailed(cause.strerror or str(cause), reader_gone=gone)
