"""One producer's events in a file: appended to, locked by whoever is at it, empty most of the time."""

import contextlib
import os
from pathlib import Path
from typing import Self

from tidings.producer.spool.format import (
    UNFINISHED,
    Header,
    Kept,
    Line,
    encode_line,
    file_name,
    read_lines,
)
from tidings.producer.spool.lock import try_lock

_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_MODE = 0o600
"""Events hold what jobs say of themselves."""


class SpoolFile:
    """An open spool file, which is this process's own as long as it is open. Methods raise OSError.

    Nothing is fsynced: it outlives its process, not its machine, and a start or an end costs a job one small write.
    """

    def __init__(self, path: Path, file: int, header: Header, pending: dict[str, Kept], size: int) -> None:
        self.path = path
        self.header = header
        self.pending = pending
        """What is kept, by event id, in order."""
        self._file = file
        self._start = len(_header_line(header))
        self._size = size
        self._torn = False

    @classmethod
    def create(cls, folder: Path, header: Header) -> Self:
        """Make a producer's file.

        Raises:
            OSError: It cannot be made there, or not be locked.
        """
        path = folder / file_name(header.url, header.producer_id)
        file = _make(path, _header_line(header))
        return cls(path, file, header, {}, len(_header_line(header)))

    @classmethod
    def open_dead(cls, path: Path) -> Self | None:
        """Open the file of a producer that is dead, or has closed it; None where somebody is at it, or it is gone.

        Raises:
            OSError: It cannot be read.
        """
        try:
            file = os.open(path, _FLAGS)
        except FileNotFoundError:
            return None
        try:
            if not try_lock(file) or not _is_at(path, file):
                os.close(file)
                return None
            data = _read(file)
        except BaseException:
            os.close(file)
            raise
        header, pending = read_lines(data)
        if header is None:
            header = Header(spool=0, url="", producer_id="", pid=0)
        opened = cls(path, file, header, pending, len(data))
        opened._torn = not data.endswith(b"\n")
        return opened

    @property
    def size(self) -> int:
        """Bytes."""
        return self._size

    def keep(self, kept: Kept) -> None:
        """Append an event."""
        self._append(encode_line(Line(keep=kept)))
        self.pending[kept.draft.event_id] = kept

    def done(self, event_id: str) -> None:
        """Note that an event need not be kept any more."""
        if self.pending.pop(event_id, None) is None:
            return
        if self.pending:
            self._append(encode_line(Line(done=event_id)))
        else:
            os.ftruncate(self._file, self._start)
            self._size = self._start
            self._torn = False

    def compact(self, most: int) -> int:
        """Write the file anew, without what is done; the oldest events are dropped beyond `most` bytes.

        Returns:
            How many were dropped.
        """
        lines = [encode_line(Line(keep=kept)) + b"\n" for kept in self.pending.values()]
        size, dropped = sum(map(len, lines)), 0
        for event_id, line in zip(list(self.pending), lines, strict=True):
            if size <= most:
                break
            size -= len(line)
            dropped += 1
            del self.pending[event_id]
        body = _header_line(self.header) + b"".join(lines[dropped:])
        file = _make(self.path, body)
        os.close(self._file)
        self._file, self._size, self._torn = file, len(body), False
        return dropped

    def close(self) -> None:
        """Let go of the file, for the next producer; one that holds nothing is deleted."""
        if not self.pending:
            with contextlib.suppress(OSError):
                self.path.unlink()
        os.close(self._file)

    def abandon(self) -> None:
        """Close it in a forked child: it is the parent's, lock and all."""
        os.close(self._file)

    def _append(self, line: bytes) -> None:
        # Half a line, from a write that failed, is ended first: it must not spoil the next.
        text = (b"\n" if self._torn else b"") + line + b"\n"
        try:
            written = os.write(self._file, text)
        except OSError:
            self._torn = True
            raise
        self._size += written
        self._torn = written < len(text)
        if self._torn:
            raise OSError(f"only {written} of {len(text)} bytes could be written to {self.path}")


def _header_line(header: Header) -> bytes:
    return encode_line(header) + b"\n"


def _make(path: Path, body: bytes) -> int:
    """Return a new file at `path`, open and locked, with `body` in it before anyone sees it.

    Raises:
        OSError: It cannot be made.
    """
    unfinished = path.with_suffix(UNFINISHED)
    with contextlib.suppress(FileNotFoundError):
        unfinished.unlink()
    file = os.open(unfinished, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE)
    try:
        if not try_lock(file):
            raise OSError(f"{unfinished} is locked by another process")
        written = os.write(file, body)
        if written < len(body):
            raise OSError(f"only {written} of {len(body)} bytes could be written to {unfinished}")
        unfinished.replace(path)
    except BaseException:
        os.close(file)
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise
    return file


def _read(file: int) -> bytes:
    os.lseek(file, 0, os.SEEK_SET)
    parts = []
    while part := os.read(file, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _is_at(path: Path, file: int) -> bool:
    """Return whether the open file is the one that has the name: it may have been deleted, or replaced, meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
