"""The snapshots of a log in a stream beside that of `tidings.log.journal.jetstream`.

Each snapshot has two subjects: its chunks, and its description, which is stored last. JetStream's object store has the
same idea, but what a writer leaves behind that died cannot be recognised there, and reading waits without a limit.
"""

import time
from collections.abc import AsyncIterator, Sequence

import msgspec
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.manager import JetStreamManager

from tidings.exceptions import LogCorrupt, LogForeign
from tidings.log.journal.jetstream_stream import (
    FORMAT,
    FORMAT_KEY,
    REQUEST_S,
    JetStreamAddress,
    find_message,
    find_stream,
    retry_until_answered,
    to_log_error,
)
from tidings.log.journal.snapshots import SnapshotInfo

_CHUNK_BYTES = 128 << 10
"""Small, because entries of the journal use the same connection: a chunk delays them by a millisecond."""


async def open_snapshot_stream(manager: JetStreamManager, address: JetStreamAddress) -> None:
    """Create the stream of the snapshots if it does not exist, on as many servers as the journal.

    Raises:
        LogForeign: A stream of another kind has its name.
        LogError: The servers refused, or did not answer.
    """
    journal = await retry_until_answered(lambda: manager.stream_info(address.stream), address)
    configuration = StreamConfig(
        name=address.snapshot_stream,
        description="Snapshots of the log of tidings hubs",
        subjects=[f"{address.stream}.snapshot.>"],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        num_replicas=journal.config.num_replicas,
        max_age=0,
        allow_direct=True,
        metadata={FORMAT_KEY: str(FORMAT)},
    )
    try:
        info = await retry_until_answered(lambda: find_stream(manager, address.snapshot_stream), address)
        if info is None:
            info = await retry_until_answered(lambda: manager.add_stream(configuration), address)
    except ValueError as error:
        raise LogForeign(f"{address}: {error}") from error
    if FORMAT_KEY not in (info.config.metadata or {}):
        raise LogForeign(
            f"the stream {address.snapshot_stream!r} at {address} was not created by tidings",
            hint="Give the journal another name.",
        )


class JetStreamSnapshots:
    """A `tidings.log.journal.snapshots.SnapshotStore`.

    Args:
        connection: The connection of the journal.
        address: The journal, whose streams exist.
    """

    def __init__(self, connection: Client, address: JetStreamAddress) -> None:
        self._connection = connection
        self._address = address
        self._context = connection.jetstream(timeout=REQUEST_S)
        self.chunk_bytes = min(_CHUNK_BYTES, connection.max_payload // 2)
        """See `SnapshotStore.chunk_bytes`."""

    def _chunks(self, id: str) -> str:
        return f"{self._address.stream}.snapshot.{id}.chunks"

    def _info(self, id: str) -> str:
        return f"{self._address.stream}.snapshot.{id}.info"

    async def put(self, id: str, number: int, chunk: bytes) -> None:
        """See `SnapshotStore.put`."""
        await self._publish(self._chunks(id), chunk)

    async def finish(self, info: SnapshotInfo) -> None:
        """See `SnapshotStore.finish`."""
        await self._publish(self._info(info.id), msgspec.json.encode(info))

    async def _publish(self, subject: str, body: bytes) -> None:
        try:
            await self._context.publish(subject, body, stream=self._address.snapshot_stream)
        except Exception as error:
            raise to_log_error(error, self._address) from error

    async def list(self) -> Sequence[SnapshotInfo]:
        """See `SnapshotStore.list`."""
        infos = []
        for id in await self._find_ids("info"):
            found = await find_message(
                self._connection, self._address, self._address.snapshot_stream, last_by_subj=self._info(id)
            )
            if found is None:
                continue  # deleted in this moment
            try:
                infos.append(msgspec.json.decode(found.body, type=SnapshotInfo))
            except msgspec.MsgspecError as cause:
                raise LogCorrupt(f"{self._address}: the description of the snapshot {id} is damaged") from cause
        return sorted(infos, key=lambda info: info.mark.seq, reverse=True)

    async def _find_ids(self, kind: str) -> Sequence[str]:
        """Return the ids of all snapshots that have messages of a kind."""
        try:
            info = await self._context.stream_info(
                self._address.snapshot_stream, subjects_filter=f"{self._address.stream}.snapshot.*.{kind}"
            )
        except Exception as error:
            raise to_log_error(error, self._address) from error
        return [subject.split(".")[-2] for subject in info.state.subjects or {}]

    async def read(self, info: SnapshotInfo) -> AsyncIterator[bytes]:
        """See `SnapshotStore.read`."""
        seq = 1
        for _ in range(info.chunks):
            found = await find_message(
                self._connection,
                self._address,
                self._address.snapshot_stream,
                seq=seq,
                next_by_subj=self._chunks(info.id),
            )
            if found is None:
                return
            seq = found.seq + 1
            yield found.body

    async def delete(self, id: str) -> None:
        """See `SnapshotStore.delete`."""
        try:
            for subject in (self._info(id), self._chunks(id)):
                await self._context.purge_stream(self._address.snapshot_stream, subject=subject)
        except Exception as error:
            raise to_log_error(error, self._address) from error

    async def sweep(self, min_age_s: float) -> None:
        """See `SnapshotStore.sweep`. The clock of this machine may differ from the servers' by much less."""
        finished = set(await self._find_ids("info"))
        for id in await self._find_ids("chunks"):
            if id in finished:
                continue
            newest = await find_message(
                self._connection, self._address, self._address.snapshot_stream, last_by_subj=self._chunks(id)
            )
            if newest is not None and time.time_ns() - newest.at_ns >= min_age_s * 1e9:
                await self.delete(id)
