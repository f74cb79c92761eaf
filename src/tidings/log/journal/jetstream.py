"""The journal of many machines: a stream of NATS JetStream, which copies it to the disks of several servers.

An entry is stored when the stream's leader has it on a majority of its servers. After a power cut of
all of them, what was written within their `sync_interval` may be missing.
"""

import ssl
from contextlib import suppress

import msgspec
import nats
from msgspec import Struct
from nats.aio.msg import Msg
from nats.js.errors import NotFoundError
from nats.js.manager import JetStreamManager

from tidings.exceptions import LogUnavailable
from tidings.log.journal.base import JournalEntry, JournalState, Lost, Receive
from tidings.log.journal.engine_journal import MAX_BODY_BYTES, EngineJournal
from tidings.log.journal.jetstream_connection import ServerConnection
from tidings.log.journal.jetstream_follower import StreamFollower
from tidings.log.journal.jetstream_snapshots import JetStreamSnapshots, open_snapshot_stream
from tidings.log.journal.jetstream_stream import (
    REQUEST_S,
    ApiFailure,
    JetStreamAddress,
    find_message,
    has_majority,
    open_stream,
    to_log_error,
)


class _Stored(Struct):
    """The answer to an entry that was published."""

    error: ApiFailure | None = None


class JetStreamJournal(EngineJournal):
    """A `tidings.log.journal.base.Journal` in a stream; `open_jetstream` opens one.

    Args:
        connection: The connection, which nothing else uses.
        address: The stream, which was checked.
    """

    def __init__(self, connection: ServerConnection, address: JetStreamAddress) -> None:
        client = connection.client
        super().__init__(address, min(MAX_BODY_BYTES, client.max_payload))
        self.connection = connection
        """The connection to the servers."""
        self._client = client
        self._manager = client.jsm(timeout=REQUEST_S)
        self._address = address
        self.snapshots = JetStreamSnapshots(client, address)
        """See `SnapshotJournal.snapshots`."""
        self._answers = client.new_inbox()
        """Where the servers report whether an entry is stored."""

    async def start(self) -> None:
        """Begin to append. To be called once, after the stream was checked."""
        await self._client.subscribe(self._answers, cb=self._take_answer)
        self.connection.when_connected = self._connected_again
        self._start_writing()

    async def _connected_again(self, *, has_subscriptions: bool) -> None:
        if not has_subscriptions:
            await self._client.subscribe(self._answers, cb=self._take_answer)
        self.check()

    # Appending.

    @property
    def _is_away(self) -> bool:
        return not self._client.is_connected  # the driver would keep an entry, and send it much later

    async def _write(self) -> None:
        while True:
            await self._waits.wait()
            self._waits.clear()
            await self._write_queued()

    async def _write_queued(self) -> None:
        while self._queue:
            body = self._queue.popleft()
            self._queued_bytes -= len(body)
            try:
                await self._client.publish(self._address.subject, body, reply=self._answers)
            except Exception as error:  # appending never raises
                self.failure = to_log_error(error, self._address)

    async def _take_answer(self, message: Msg) -> None:
        """Note whether an entry is stored. Never raises: the driver would drop the answer with a log line only."""
        if message.headers and message.headers.get("Status") == "503":
            self.failure = to_log_error(nats.errors.NoRespondersError(), self._address)
            return
        try:
            error = msgspec.json.decode(message.data, type=_Stored).error
        except msgspec.MsgspecError as cause:
            self.failure = LogUnavailable(f"{self._address} gave an answer that cannot be read: {cause}")
            return
        self.failure = None if error is None else error.to_log_error(self._address)

    # Following.

    def follow(self, after: int, receive: Receive, lost: Lost) -> None:
        """See `Journal.follow`."""
        self._replace_follower(
            StreamFollower(
                self._client,
                self._manager,
                self._address,
                self._loop,
                after,
                look=self._look,
                find=self.entry,
                receive=receive,
                lost=lost,
            )
        )

    def check(self) -> None:
        """Compare the stream with what was received, after the connection was away."""
        if isinstance(self._follower, StreamFollower):
            self._follower.check()

    # Asking.

    async def _look(self) -> JournalState | None:
        """Return the range of entries; None if the stream was deleted.

        Raises:
            LogError: The servers do not answer, or the one that does is cut off from the others.
        """
        try:
            info = await self._manager.stream_info(self._address.stream)
        except NotFoundError:
            return None
        except Exception as error:
            raise to_log_error(error, self._address) from error
        if not has_majority(info):
            raise LogUnavailable(f"{self._address}: the server that leads the stream is cut off from the others")
        state = info.state
        return JournalState(first=state.first_seq if state.messages else state.last_seq + 1, last=state.last_seq)

    async def look(self) -> JournalState:
        """See `Journal.look`."""
        state = await self._look()
        if state is None:
            raise LogUnavailable(f"the stream {self._address} was deleted")
        return state

    async def entry(self, seq: int) -> JournalEntry | None:
        """See `Journal.entry`."""
        found = await find_message(self._client, self._address, self._address.stream, seq=seq)
        return None if found is None else JournalEntry(found.seq, found.at_ns, found.body)

    async def trim(self, until: int) -> None:
        """See `Journal.trim`."""
        last = (await self.look()).last
        if min(until, last) < 1:
            return
        try:
            # Never beyond the last entry: the servers would skip the sequences up to there.
            await self._manager.purge_stream(self._address.stream, seq=min(until, last) + 1)
        except Exception as error:
            raise to_log_error(error, self._address) from error

    async def delete(self, last: int) -> None:
        """See `SnapshotJournal.delete`. The user of the hubs needs no permission for it, that of an operator does."""
        if (await self.look()).last != last:
            raise LogUnavailable(f"{self._address} has another entry now")
        try:
            for stream in (self._address.snapshot_stream, self._address.stream):
                await self.connection.unless_denied(self._manager.delete_stream(stream))
        except Exception as error:
            raise to_log_error(error, self._address) from error

    async def _disconnect(self) -> None:
        with suppress(Exception):
            await self.connection.close()


async def open_jetstream(
    address: JetStreamAddress, *, credentials: str = "", tls: ssl.SSLContext | None = None, name: str = "tidings"
) -> JetStreamJournal:
    """Connect, create the stream if it does not exist, and return the journal.

    Args:
        address: Where it is.
        credentials: A file with the credentials of a user, as `nsc` writes it; or an NKey seed's file, if its name
            ends with `.nk`.
        tls: How to verify the servers; None uses the system's authorities.
        name: Name of the connection, which the servers show.

    Raises:
        LogForeign: The stream is not a journal.
        LogTooNew: A newer version of tidings created it.
        LogUnavailable: No server answers, or it is too old, or it refuses.
    """
    connection = ServerConnection(address, credentials=credentials, tls=tls, name=name)
    try:
        await connection.open()
        manager = connection.client.jsm(timeout=REQUEST_S)
        await connection.unless_denied(_open_streams(manager, address))
        journal = JetStreamJournal(connection, address)
        await journal.start()
    except BaseException as error:
        await connection.close()
        if isinstance(error, Exception):
            raise to_log_error(error, address) from error
        raise
    return journal


async def _open_streams(manager: JetStreamManager, address: JetStreamAddress) -> None:
    await open_stream(manager, address)
    await open_snapshot_stream(manager, address)
