"""One producer's events in a file: appended to, locked by whoever is at it, empty most of the time.

The lines of a spool file: a header, then what is kept and what is done with, in the order it happened.

A lock on a file that its process lets go of by dying, whatever it dies of.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from tidings.client.drafts import Draft
from tidings.protocol.payloads import OperationStartData

_FORMAT = 1
SUFFIX = ".ndjson"
UNFINISHED = ".new"
"""Of a file that is not whole yet: it gets its name when its header is in it and its lock is taken."""


class SpoolHeader(Struct, frozen=True, kw_only=True):
    """The first line: whose events these are, and where they go."""

    spool: int = _FORMAT
    url: str
    producer_id: str
    pid: int


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event that the hub may not have."""

    draft: Draft
    attempt: int | None = None
    """The attempt that it ends, as far as that is known."""
    again: OperationStartData | None = None
    """The start of the next attempt, for an end that comes after the hub has given this one up."""


class SpoolLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line behind the header."""

    keep: Kept | None = None
    done: str | None = None
    """The event id of one that the hub has, or will not have."""


encode_line = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(SpoolHeader).decode
_decode_line = msgspec.json.Decoder(SpoolLine).decode


def file_name(url: str, producer_id: str) -> str:
    """Return the name of a producer's spool file; those for one address begin alike."""
    return f"{name_prefix(url)}{producer_id}{SUFFIX}"


def name_prefix(url: str) -> str:
    """Return how the names of spool files for `url` begin; the address itself may hold what no name can."""
    return hashlib.sha256(url.encode(errors="replace")).hexdigest()[:12] + "-"


def read_lines(data: bytes) -> tuple[SpoolHeader | None, dict[str, Kept]]:
    """Return what a spool file holds: its header, and what is kept by event id, in order.

    A process that dies while it writes leaves half a line: what cannot be read is passed over.

    Returns:
        No header where it is no spool file of ours.
    """
    first, _, rest = data.partition(b"\n")
    try:
        header = _decode_header(first)
    except msgspec.DecodeError:
        return None, {}
    if header.spool != _FORMAT:
        return None, {}
    return header, _pending(rest.splitlines())


def _pending(lines: Iterable[bytes]) -> dict[str, Kept]:
    pending: dict[str, Kept] = {}
    for text in lines:
        try:
            line = _decode_line(text)
        except msgspec.DecodeError:
            continue
        if line.keep is not None:
            pending[line.keep.draft.event_id] = line.keep
        elif line.done is not None:
            pending.pop(line.done, None)
    return pending


_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_MODE = 0o600
"""Events hold what jobs say of themselves."""


class SpoolFile:
    """An open spool file, which is this process's own as long as it is open. Methods raise OSError.

    Nothing is fsynced: it outlives its process, not its machine, and a start or an end costs a job one small write.
    """

    def __init__(self, path: Path, file: int, header: SpoolHeader, pending: dict[str, Kept], size: int) -> None:
        self.path = path
        self.header = header
        self.pending = pending
        """What is kept, by event id, in order."""
        self._file = file
        self._start = len(_header_line(header))
        self._size = size
        self._torn = False

    @classmethod
    def create(cls, folder: Path, header: SpoolHeader) -> Self:
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
            header = SpoolHeader(spool=0, url="", producer_id="", pid=0)
        opened = cls(path, file, header, pending, len(data))
        opened._torn = not data.endswith(b"\n")
        return opened

    @property
    def size(self) -> int:
        """Bytes."""
        return self._size

    def keep(self, kept: Kept) -> None:
        """Append an event."""
        self._append(encode_line(SpoolLine(keep=kept)))
        self.pending[kept.draft.event_id] = kept

    def done(self, event_id: str) -> None:
        """Note that an event need not be kept any more."""
        if self.pending.pop(event_id, None) is None:
            return
        if self.pending:
            self._append(encode_line(SpoolLine(done=event_id)))
        else:
            os.ftruncate(self._file, self._start)
            self._size = self._start
            self._torn = False

    def compact(self, most: int) -> int:
        """Write the file anew, without what is done; the oldest events are dropped beyond `most` bytes.

        Returns:
            How many were dropped.
        """
        lines = [encode_line(SpoolLine(keep=kept)) + b"\n" for kept in self.pending.values()]
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


def _header_line(header: SpoolHeader) -> bytes:
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


if sys.platform == "win32":
    import msvcrt
    import os

    _FAR = 1 << 30
    """Beyond what a file of ours holds: Windows lets nobody else read what is locked."""

    def try_lock(file: int) -> bool:
        """Lock an open file for as long as it is open; return False where somebody else has."""
        os.lseek(file, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(file, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def try_lock(file: int) -> bool:
        """Lock an open file for as long as it is open; return False where somebody else has.

        With `flock`, whose locks belong to the opening, not to the process: two outboxes of one process lock each other
        out, and that one of them closes a file takes no lock from the other.

        Raises:
            OSError: The file system knows no locks.
        """
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
