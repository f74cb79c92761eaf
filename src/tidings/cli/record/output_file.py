"""Where a recording goes: a file that holds whole lines at every moment, compressed or not, or stdout."""

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
_FLUSH_EVERY_S = 1.0
"""Of a compressed file, what is lost when the process is killed; each flush costs compression."""
_LEVEL = 6
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""RFC 1952 §2.3: deflate, no name, no time, an unknown system."""
_LAST_BLOCK = b"\x03\x00"
"""RFC 1951 §3.2.3: an empty last block, which may follow a full flush at any byte."""


class SinkFailed(Exception):
    """Nothing more can be written; what was written stays, in whole lines."""

    def __init__(self, reason: str, *, reader_gone: bool = False) -> None:
        super().__init__(reason)
        self.reader_gone = reader_gone


class Sink(Protocol):
    """Takes the lines of a recording."""

    @property
    def lines(self) -> int:
        """Whole lines that are in it for good."""
        ...

    @property
    def written(self) -> int:
        """Bytes of the file."""
        ...

    def write(self, lines: Iterable[bytes]) -> None:
        """Add lines, each with its newline.

        Raises:
            SinkFailed: The disk is full, or what takes the lines is gone.
        """
        ...

    def flush(self) -> None:
        """Have what was written be readable, should the process be killed; called about once a second.

        Raises:
            SinkFailed: See `write`.
        """
        ...

    def close(self) -> None:
        """Write what is pending, and end.

        Raises:
            SinkFailed: See `write`.
        """
        ...


class PlainSink:
    """Lines as they are.

    Args:
        descriptor: An open file, or a pipe.
    """

    def __init__(self, descriptor: int) -> None:
        self.lines = 0
        self.written = 0
        self._descriptor = descriptor
        self._before = os.fstat(descriptor).st_size  # `>> file` has some already

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
    """Lines in one gzip member, which can be read up to its last flush whatever happens to its writer.

    Args:
        descriptor: An open, empty file.
        now: Returns seconds that never go back.
    """

    def __init__(self, descriptor: int, now: Callable[[], float]) -> None:
        self.lines = 0
        self.written = 0
        self._descriptor = descriptor
        self._now = now
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
        self._crc = self._size = 0
        self._pending: list[bytes] = []
        self._flushed = now()
        self._closed = False
        self._put(_HEADER)

    def write(self, lines: Iterable[bytes]) -> None:
        """See `Sink.write`."""
        self._pending.extend(lines)
        if self._now() - self._flushed >= _FLUSH_EVERY_S:
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
        """Close the member behind its last flush: on a full disk, what was cut off has made room for this."""
        if self._closed:
            return
        self._closed = True
        ending = _LAST_BLOCK + self._crc.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        try:
            _write_all(self._descriptor, ending)
            self.written += len(ending)
        except OSError:
            _cut(self._descriptor, self.written)  # readers tell that the end is missing, and read what there is
        os.close(self._descriptor)


class LateSink:
    """A file that is made with its first line, so that what never began leaves none, and replaces none.

    Args:
        path: Where; compressed where it ends with `.gz`.
        force: Whether a file that is there is replaced.
        now: Returns seconds that never go back.
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
    """Return where a recording goes.

    Args:
        output: A path, compressed where it ends with `.gz`; `-` is stdout.
        force: Whether a file that is there is replaced.
        now: Returns seconds that never go back.

    Raises:
        ConfigError: The file is there, or there is no such folder.
    """
    if output == STDOUT:
        return PlainSink(sys.stdout.fileno())
    path = Path(output).expanduser()
    if path.is_dir() or (path.exists() and not force):
        raise ConfigError(
            f"{path} is there already", option="output", source="argument", hint="Name another file, or add --force."
        )
    if not path.parent.is_dir():
        raise ConfigError(
            f"there is no folder {path.parent}", option="output", source="argument", hint="Make it, or name another."
        )
    return LateSink(path, force=force, now=now)


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _cut(descriptor: int, size: int) -> None:
    """Take off what a write that failed has left of a line; a pipe keeps it."""
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
