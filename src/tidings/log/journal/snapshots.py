"""Snapshots of a shared log in the engine of its journal: what a node needs that cannot read the journal's beginning.

A snapshot is the file of a node's log, compressed, in chunks, with the mark of the entry up to which it was stored.
No node has to be asked for it, and no file has to be shared. Memory is bounded by one chunk, whatever the log's size.
"""

import asyncio
import hashlib
import secrets
import sqlite3
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from msgspec import Struct

from tidings.exceptions import LogCorrupt, LogTooNew, LogUnavailable
from tidings.log.journal.base import Journal, JournalState, Mark
from tidings.log.journal.replica_building import copy_log
from tidings.log.journal.shared_folder import read_state
from tidings.log.sqlite.database import FILE, connect_read_only, content_error, replace_file, to_log_error

FORMAT = 1
"""The version of the form of a snapshot: the file of a log, compressed with zlib."""
UNFINISHED_S = 3_600.0
"""Age of the newest chunk after which a snapshot that was never finished is deleted: its node has died."""
_COPY = "snapshot.copy"
"""File with the copy of the log that is being saved."""
_LOADED = "snapshot.new"
"""File with the snapshot that is being loaded."""
_READ_BYTES = 1 << 20
_LEVEL = 1
"""Level of zlib: a log becomes a third of its size, with 100 MB a second for a core."""


class SnapshotInfo(Struct, frozen=True, kw_only=True):
    """Describes a snapshot that is complete."""

    id: str
    mark: Mark
    """The entry of the journal up to which the log was stored."""
    format: int = FORMAT
    chunks: int
    bytes: int
    """Size of all chunks."""
    digest: str
    """SHA-256 of all chunks, in hexadecimal."""


class SnapshotStore(Protocol):
    """Keeps snapshots in the engine of a journal, for all nodes.

    Guarantees: `list` returns only snapshots that were finished, and `read` yields the chunks of such a snapshot in
    their order. Several nodes may save at a time, each under an id of its own. A node that dies leaves a snapshot that
    is never listed, and that `sweep` deletes.
    """

    @property
    def chunk_bytes(self) -> int:
        """Maximum size of a chunk."""

    async def put(self, id: str, number: int, chunk: bytes) -> None:
        """Store a chunk of a snapshot that is being saved; chunks are numbered from 0.

        Raises:
            LogError: It was not stored, or may not have been.
        """

    async def finish(self, info: SnapshotInfo) -> None:
        """Store that a snapshot is complete.

        Raises:
            LogError: It was not stored, or may not have been.
        """

    async def list(self) -> Sequence[SnapshotInfo]:
        """Return all finished snapshots, the newest first.

        Raises:
            LogError: The engine cannot be asked.
        """

    def read(self, info: SnapshotInfo) -> AsyncIterator[bytes]:
        """Yield the chunks of a snapshot, until one is missing.

        Raises:
            LogError: The engine cannot be asked.
        """

    async def delete(self, id: str) -> None:
        """Delete a snapshot, finished or not.

        Raises:
            LogError: The engine cannot do it now.
        """

    async def sweep(self, min_age_s: float) -> None:
        """Delete snapshots that were not finished, and got no chunk for a time.

        Raises:
            LogError: The engine cannot do it now.
        """


class SnapshotJournal(Journal, Protocol):
    """A journal whose engine keeps snapshots, too."""

    @property
    def snapshots(self) -> SnapshotStore:
        """The snapshots of the log that the journal's nodes build."""

    async def delete(self, last: int) -> None:
        """Delete all entries and snapshots: the journal is new when it is opened again.

        Args:
            last: The newest entry that the caller has found; nothing is deleted if there is another one.

        Raises:
            LogUnavailable: The engine cannot be asked, or refuses, or there is another entry.
        """

    async def wait_closed(self) -> None:
        """Return when the connections are closed, after `close`."""


# Saving.


async def save_snapshot(store: SnapshotStore, folder: Path) -> SnapshotInfo:
    """Save the log in a folder, which a node may be using, as a snapshot.

    Args:
        store: Where to save it.
        folder: The folder of the log. A copy of the log is there while it is saved.

    Raises:
        LogUnavailable: Nothing was stored in the log yet.
        LogError: The log cannot be read or copied, or the engine cannot store the snapshot.
    """
    id = secrets.token_hex(8)
    copy = folder / _COPY
    try:
        mark = await asyncio.to_thread(_copy, folder / FILE, copy)
        with copy.open("rb") as file:
            compression = _Compression(file, store.chunk_bytes)
            chunks = 0
            while chunk := await asyncio.to_thread(compression.next):
                await store.put(id, chunks, chunk)
                chunks += 1
        info = SnapshotInfo(
            id=id, mark=mark, chunks=chunks, bytes=compression.bytes, digest=compression.digest.hexdigest()
        )
        await store.finish(info)
    except Exception as error:
        with suppress(Exception):  # `sweep` deletes it later
            await store.delete(id)
        raise to_log_error(error, folder) from error
    finally:
        _remove(copy)
    return info


def _copy(source: Path, target: Path) -> Mark:
    copy_log(source, target)
    mark = _read_mark(target)
    if mark is None:
        raise LogUnavailable("nothing was stored in the log yet")
    return mark


def _read_mark(path: Path) -> Mark | None:
    with closing(connect_read_only(path)) as connection:
        try:
            state = read_state(connection)
        except sqlite3.Error as cause:
            raise content_error(cause, path) from cause
    return None if state is None else state.fold.mark


class _Compression:
    """The chunks of a file, compressed.

    Args:
        file: The file.
        chunk_bytes: Size of each chunk but the last.
    """

    def __init__(self, file: BinaryIO, chunk_bytes: int) -> None:
        self._file = file
        self._chunk_bytes = chunk_bytes
        self._compressor = zlib.compressobj(_LEVEL)
        self._waiting = bytearray()
        self._is_read = False
        self.digest = hashlib.sha256()
        """Digest of the chunks so far."""
        self.bytes = 0
        """Size of the chunks so far."""

    def next(self) -> bytes:
        """Return the next chunk; an empty one at the end."""
        while len(self._waiting) < self._chunk_bytes and not self._is_read:
            data = self._file.read(_READ_BYTES)
            self._is_read = not data
            self._waiting += self._compressor.compress(data) if data else self._compressor.flush()
        chunk = bytes(self._waiting[: self._chunk_bytes])
        del self._waiting[: self._chunk_bytes]
        self.digest.update(chunk)
        self.bytes += len(chunk)
        return chunk


# Loading.


async def fits(journal: Journal, mark: Mark, state: JournalState) -> bool:
    """Return whether a log that was stored up to a mark can fold the entries after it: the journal has that entry.

    Args:
        journal: The journal.
        mark: The mark; that of the beginning fits if the journal has its first entry.
        state: The range of entries that the journal has.

    Raises:
        LogError: The engine cannot be asked.
    """
    if mark.seq == 0:
        return state.first == 1
    if not state.first <= mark.seq <= state.last:
        return False
    entry = await journal.entry(mark.seq)
    return entry is not None and Mark.of(entry) == mark


async def load_snapshot(
    store: SnapshotStore, info: SnapshotInfo, folder: Path, *, on_bytes: Callable[[int], object]
) -> None:
    """Make the log in a folder, which has none and which no one uses, that of a snapshot.

    Args:
        store: Where the snapshot is.
        info: The snapshot.
        folder: The folder, which exists.
        on_bytes: Called with the size of each chunk.

    Raises:
        LogCorrupt: The snapshot does not match its description.
        LogTooNew: A newer version of tidings saved it.
        LogError: The engine cannot be asked, or the folder cannot be written.
    """
    partial = folder / _LOADED
    try:
        if info.format > FORMAT:
            raise LogTooNew(f"the snapshot {info.id} has format {info.format}; this version reads up to {FORMAT}")
        with partial.open("wb") as file:
            partial.chmod(0o600)
            expansion = _Expansion(file)
            async for chunk in store.read(info):
                await asyncio.to_thread(expansion.add, chunk)
                on_bytes(len(chunk))
        await asyncio.to_thread(_accept, info, expansion, partial, folder / FILE)
    except (OSError, sqlite3.Error) as cause:
        raise to_log_error(cause, folder) from cause
    finally:
        _remove(partial)


def remove_leftovers(folder: Path) -> None:
    """Remove the copies that a process left in a folder which was killed while it saved or loaded a snapshot."""
    for name in (_COPY, _LOADED):
        _remove(folder / name)


def _remove(partial: Path) -> None:
    """Remove a file and those of SQLite beside it."""
    for left in partial.parent.glob(f"{partial.name}*"):
        left.unlink()


class _Expansion:
    """Writes the chunks of a snapshot to a file, expanded."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decompressor = zlib.decompressobj()
        self.digest = hashlib.sha256()
        self.chunks = 0

    def add(self, chunk: bytes) -> None:
        """Write a chunk.

        Raises:
            LogCorrupt: It cannot be expanded.
        """
        self.chunks += 1
        self.digest.update(chunk)
        try:
            while chunk:
                self._file.write(self._decompressor.decompress(chunk, _READ_BYTES))
                chunk = self._decompressor.unconsumed_tail
        except zlib.error as cause:
            raise LogCorrupt(f"a snapshot is damaged: {cause}") from cause

    @property
    def is_complete(self) -> bool:
        """Whether the end of the compressed file was read."""
        return self._decompressor.eof


def _accept(info: SnapshotInfo, expansion: _Expansion, partial: Path, target: Path) -> None:
    digest = expansion.digest.hexdigest()
    if expansion.chunks != info.chunks or digest != info.digest or not expansion.is_complete:
        raise LogCorrupt(f"the snapshot {info.id} is damaged: {expansion.chunks} of {info.chunks} chunks, {digest}")
    if _read_mark(partial) != info.mark:
        raise LogCorrupt(f"the snapshot {info.id} is damaged: its log ends at another entry")
    replace_file(partial, target)
