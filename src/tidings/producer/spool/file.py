"""The spool file of one producer: append-only, locked by the process that uses it, empty most of the time.

Its lines are a header, then events to keep and ids of events that are done, in order. The lock is an advisory file
lock, which the operating system releases when the process exits, however it exits.
"""

import contextlib
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

import msgspec
from msgspec import Struct

from tidings.client.deferring_lock import BoundedLock
from tidings.client.drafts import Draft
from tidings.file_lock import try_lock
from tidings.protocol.payloads import OperationStartData

_FORMAT = 1
SUFFIX = ".ndjson"
UNFINISHED = ".new"
"""Suffix of an incomplete file: it is renamed when its header is written and its lock is taken."""


class SpoolHeader(Struct, frozen=True, kw_only=True):
    """The first line: the producer of the events, and their hub."""

    spool: int = _FORMAT
    url: str
    producer_id: str
    pid: int
    holds: bool = True
    """Whether the producer holds its operations; a shell script holds only those that it began with a lease."""
    lease_s: float | None = None
    """Lease of the operations, in seconds; None means the hub's."""
    owner: str = ""
    """Owner of the token, as `describe_owner` returns it; "" if there was none, or it is not known yet."""
    subject: str = ""
    """Subject of the token, as the hub named it; "" if it did not."""

    def belongs_to(self, owner: str, subject: str | None) -> bool:
        """Return whether the events may be sent with a token.

        Events that were written without a token may be sent with every token of this user.

        Args:
            owner: Owner of the token, as `describe_owner` returns it.
            subject: Subject of the token, as the hub names it; None if that is not known, and "" for a hub without
                authentication, to which everything may be sent.
        """
        if not (self.owner or self.subject) or subject == "":
            return True
        return self.subject == subject if self.subject and subject else self.owner == owner


class SpooledEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event that the hub may not have."""

    draft: Draft
    attempt: int | None = None
    """For an end: its attempt, if known."""
    again: OperationStartData | None = None
    """For an end: the start of the next attempt, in case the hub has given this one up."""


class SpoolLine(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line after the header."""

    keep: SpooledEvent | None = None
    done: str | None = None
    """Id of an event that the hub has, or has refused for good."""


encode_line = msgspec.json.Encoder().encode
_decode_header = msgspec.json.Decoder(SpoolHeader).decode
_decode_line = msgspec.json.Decoder(SpoolLine).decode


def file_name(url: str, producer_id: str) -> str:
    """Return the name of a producer's spool file; the names for one hub have the same prefix."""
    return f"{name_prefix(url)}{producer_id}{SUFFIX}"


def name_prefix(url: str) -> str:
    """Return the prefix of spool files for `url`; a hash, because a URL may hold characters that no file name can."""
    return hashlib.sha256(url.encode(errors="replace")).hexdigest()[:12] + "-"


def parse_spool(data: bytes) -> tuple[SpoolHeader | None, dict[str, SpooledEvent]]:
    """Return the header and the events, by event id and in order, of a spool file.

    Unreadable lines are skipped: a process that dies while it writes leaves half a line.

    Returns:
        None in place of the header if it is not a spool file of this format.
    """
    first, _, rest = data.partition(b"\n")
    try:
        header = _decode_header(first)
    except (msgspec.DecodeError, RecursionError):
        return None, {}
    if header.spool != _FORMAT:
        return None, {}
    return header, _pending(rest.splitlines())


def _pending(lines: Iterable[bytes]) -> dict[str, SpooledEvent]:
    pending: dict[str, SpooledEvent] = {}
    for text in lines:
        try:
            line = _decode_line(text)
        except (msgspec.DecodeError, RecursionError):
            continue
        if line.keep is not None:
            pending[line.keep.draft.event_id] = line.keep
        elif line.done is not None:
            pending.pop(line.done, None)
    return pending


class _Descriptors:
    """The descriptors of all open spool files of this process.

    A forked child inherits them, with their locks: the file of a parent that dies would look in use as long as the
    child lives. A child therefore gives them up immediately.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._open: set[int] = set()
        self._lock = BoundedLock()
        self._forking = threading.local()

    def open(self, path: Path, flags: int, mode: int = 0o777) -> int:
        """Open a file."""
        with self._lock.guard():
            file = os.open(path, flags, mode)
            self._open.add(file)
            return file

    def close(self, file: int) -> None:
        """Close a file."""
        with self._lock.guard():
            self._open.discard(file)
            os.close(file)

    def before_fork(self) -> None:
        """Wait until no other thread opens or closes a file."""
        self._forking.block = self._lock.guard()
        self._forking.block.__enter__()

    def after_fork_in_parent(self) -> None:
        """Let other threads go on."""
        self._forking.block.__exit__(None, None, None)

    def after_fork_in_child(self) -> None:
        """Give the files up.

        Their descriptors then refer to the null device, because code of this thread may be about to use or close them.
        """
        self.pid = os.getpid()
        self._lock = BoundedLock()
        inherited, self._open = self._open, set()
        if inherited:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            for file in inherited:
                os.dup2(null, file, inheritable=False)
            os.close(null)


_DESCRIPTORS = _Descriptors()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_DESCRIPTORS.before_fork,
        after_in_parent=_DESCRIPTORS.after_fork_in_parent,
        after_in_child=_DESCRIPTORS.after_fork_in_child,
    )

_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_MODE = 0o600
"""Readable by the user only: events hold data of the user's jobs."""


class SpoolFile:
    """An open spool file, locked for this process while it is open. Methods raise OSError.

    It is never fsynced: it must outlive its process, not its machine, and a start or an end must cost a job no more
    than one small write.
    """

    def __init__(self, path: Path, file: int, header: SpoolHeader, pending: dict[str, SpooledEvent], size: int) -> None:
        self.path = path
        self.header = header
        self.pending = pending
        """Events by event id, in order."""
        self._file = file
        self._start = len(_header_line(header))
        self._size = size
        self._torn = False

    @classmethod
    def create(cls, folder: Path, header: SpoolHeader) -> Self:
        """Create a producer's file.

        Raises:
            FileExistsError: It exists already, because another process uses the same producer id.
            OSError: It cannot be created in `folder`, or not be locked.
        """
        path = folder / file_name(header.url, header.producer_id)
        file = _create(path, _header_line(header), _give_new_name)
        return cls(path, file, header, {}, len(_header_line(header)))

    @classmethod
    def open_dead(cls, path: Path) -> Self | None:
        """Open the file of a producer that is dead or has closed it; return None if it is in use or does not exist.

        Raises:
            OSError: It cannot be read.
        """
        try:
            file = _DESCRIPTORS.open(path, _FLAGS)
        except FileNotFoundError:
            return None
        try:
            if not try_lock(file) or not _is_at(path, file):
                _DESCRIPTORS.close(file)
                return None
            data = _read(file)
        except BaseException:
            _DESCRIPTORS.close(file)
            raise
        header, pending = parse_spool(data)
        if header is None:
            header = SpoolHeader(spool=0, url="", producer_id="", pid=0)
        opened = cls(path, file, header, pending, len(data))
        opened._start = data.find(b"\n") + 1 or len(data)
        opened._torn = not data.endswith(b"\n")
        return opened

    @property
    def size(self) -> int:
        """Size of the file, in bytes."""
        return self._size

    def give_owner(self, header: SpoolHeader) -> None:
        """Replace the header by one with another owner."""
        self.header = header
        self._rewrite([encode_line(SpoolLine(keep=kept)) + b"\n" for kept in self.pending.values()])

    def keep(self, kept: SpooledEvent) -> None:
        """Append an event."""
        self._append(encode_line(SpoolLine(keep=kept)))
        self.pending[kept.draft.event_id] = kept

    def done(self, event_id: str) -> None:
        """Note that an event need not be kept any longer."""
        if self.pending.pop(event_id, None) is None:
            return
        if self.pending:
            self._append(encode_line(SpoolLine(done=event_id)))
        else:
            os.ftruncate(self._file, self._start)
            self._size = self._start
            self._torn = False

    def compact(self, max_bytes: int) -> int:
        """Rewrite the file without the events that are done, dropping the oldest events beyond `max_bytes`.

        Returns:
            Number of events dropped.
        """
        lines = [encode_line(SpoolLine(keep=kept)) + b"\n" for kept in self.pending.values()]
        size, dropped = sum(map(len, lines)), 0
        for event_id, line in zip(list(self.pending), lines, strict=True):
            if size <= max_bytes:
                break
            size -= len(line)
            dropped += 1
            del self.pending[event_id]
        self._rewrite(lines[dropped:])
        return dropped

    def _rewrite(self, lines: Sequence[bytes]) -> None:
        first = _header_line(self.header)
        body = first + b"".join(lines)
        file = _create(self.path, body, os.replace)
        # In this order: a fork in between must not find a closed descriptor here.
        old, self._file, self._start, self._size, self._torn = self._file, file, len(first), len(body), False
        _DESCRIPTORS.close(old)

    def close(self) -> None:
        """Close and unlock the file, so that another producer can recover it; delete it if it is empty."""
        if not self.pending:
            with contextlib.suppress(OSError):
                self.path.unlink()
        _DESCRIPTORS.close(self._file)

    def _append(self, line: bytes) -> None:
        # Half a line, from a write that failed, is ended first: otherwise it would spoil this one.
        text = (b"\n" if self._torn else b"") + line + b"\n"
        try:
            written = os.write(self._file, text)
        except OSError:
            self._torn = True
            raise
        self._size += written
        self._torn = written < len(text)
        if self._torn:
            raise OSError(f"wrote only {written} of {len(text)} bytes to {self.path}")


def _header_line(header: SpoolHeader) -> bytes:
    return encode_line(header) + b"\n"


def _give_new_name(unfinished: Path, path: Path) -> None:
    """Rename a file, unless there is one of the new name."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.replace(unfinished, path)
    else:
        unfinished.unlink()


def _create(path: Path, body: bytes, rename: Callable[[Path, Path], None]) -> int:
    """Create a file at `path`, and return it open and locked; `body` is in it before it gets that name.

    Args:
        path: Its name.
        body: Its contents.
        rename: Gives the finished file its name.

    Raises:
        OSError: It cannot be created.
    """
    pid = _DESCRIPTORS.pid
    # With a name of its own: two commands of one script may create the same file at a time.
    unfinished = path.with_suffix(f".{secrets.token_hex(4)}{UNFINISHED}")
    file = _DESCRIPTORS.open(unfinished, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE)
    try:
        if not try_lock(file):
            raise OSError(f"{unfinished} is locked by another process")
        written = os.write(file, body)
        if written < len(body):
            raise OSError(f"wrote only {written} of {len(body)} bytes to {unfinished}")
        if _DESCRIPTORS.pid == pid:  # else this is a child that was forked in between: the file is its parent's
            rename(unfinished, path)
    except BaseException:
        _DESCRIPTORS.close(file)
        if _DESCRIPTORS.pid == pid:
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
    """Return whether the open file still has this name: it may have been deleted or replaced before it was locked."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file))
    except FileNotFoundError:
        return False
