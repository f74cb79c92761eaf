"""The stream of `tidings.log.journal.jetstream`: its address, its configuration, and the errors of its servers."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.errors import APIError, NotFoundError
from nats.js.manager import JetStreamManager

from tidings.exceptions import LogError, LogForeign, LogFull, LogTooNew, LogUnavailable
from tidings.protocol.timestamps import canonicalize, to_nanoseconds

FORMAT = 1
"""The version of the entries in a stream, in its metadata."""
FORMAT_KEY = "tidings.format"
MIN_SERVER = (2, 10)
"""The oldest nats-server whose streams have metadata."""
REQUEST_S = 5.0
"""Time after which a request to JetStream is given up."""
OPENING_S = 30.0
"""Time for which opening waits for servers that do not answer: a new cluster elects its leaders for 3 to 6 s."""
RETRY_S = 0.3
MAX_UNANSWERED_S = 3.0
"""Time without an answer after which a server of the stream does not count for its leader: the servers exchange
heartbeats each second, and elect another leader after 4 s at the earliest."""
DEFAULT_STREAM = "tidings"
DEFAULT_MAX_BYTES = 4 << 30
_FULL = 10077
"""JetStream's error code for a stream that reached its size."""
_NO_STORAGE = 10047
"""JetStream's error code for a stream whose limit is more than what its servers have left."""
_MAX_REPLICAS = 5
_INVALID_IN_NAMES = frozenset(" \t\r\n.*>/\\")
Result = TypeVar("Result")


class ApiFailure(Struct):
    """An error in an answer of JetStream."""

    code: int = 0
    err_code: int = 0
    description: str = ""

    def to_log_error(self, address: "JetStreamAddress") -> LogError:
        """Return the error of the log for it."""
        return to_log_error(APIError(self.code, self.description, self.err_code), address)


class StoredMessage(Struct):
    """A message of a stream."""

    seq: int
    time: str
    data: str = ""
    """The body in base64."""

    @property
    def at_ns(self) -> int:
        """When it was stored, by the servers' clock: nanoseconds since 1970."""
        return to_nanoseconds(canonicalize(self.time))

    @property
    def body(self) -> bytes:
        """The body."""
        return base64.b64decode(self.data)


class _Found(Struct):
    """The answer to a request for one message."""

    message: StoredMessage | None = None
    error: ApiFailure | None = None


class JetStreamAddress(Struct, frozen=True, kw_only=True):
    """Where a journal is, as `nats://[user:password@]host[:port][,host…]/NAME[?replicas=3&max_bytes=…]` names it."""

    servers: tuple[str, ...]
    """URLs of servers of one cluster."""
    stream: str
    """Name of the stream, which holds nothing else."""
    replicas: int = 1
    """Number of servers that store each entry, for a stream that is created."""
    max_bytes: int = DEFAULT_MAX_BYTES
    """Size of the entries at which appending fails, for a stream that is created."""

    @property
    def subject(self) -> str:
        """The subject of the stream."""
        return f"{self.stream}.journal"

    @property
    def snapshot_stream(self) -> str:
        """Name of the stream of the snapshots."""
        return f"{self.stream}-snapshots"

    def __str__(self) -> str:
        """Return the address without user and password."""
        hosts = ",".join(urlsplit(server).netloc.rpartition("@")[2] for server in self.servers)
        return f"{urlsplit(self.servers[0]).scheme}://{hosts}/{self.stream}"


def parse_address(url: str) -> JetStreamAddress:
    """Return the address in a URL.

    Raises:
        ValueError: It is not one.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("nats", "tls") or not parts.netloc:
        raise ValueError("the URL of a journal has the form nats://host:4222/NAME")
    user, at, hosts = parts.netloc.rpartition("@")
    stream = unquote(parts.path).strip("/") or DEFAULT_STREAM
    if _INVALID_IN_NAMES & set(stream):
        raise ValueError(f"{stream!r} is not a valid name of a stream: it has a space, a dot, a slash, `*` or `>`")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    values = {
        name: _read_number(name, options.pop(name), limit)
        for name, limit in (("replicas", _MAX_REPLICAS), ("max_bytes", 1 << 60))
        if name in options
    }
    if options:
        raise ValueError(f"a journal has no option {min(options)!r}; there are `replicas` and `max_bytes`")
    servers = tuple(f"{parts.scheme}://{user}{at}{host}" for host in hosts.split(",") if host)
    return JetStreamAddress(servers=servers, stream=stream, **values)


def _read_number(name: str, text: str, limit: int) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= limit):
        raise ValueError(f"{name}={text} is not a number from 1 to {limit}")
    return int(text)


def to_log_error(error: Exception, address: JetStreamAddress) -> LogError:
    """Return the error of the log for one of the driver or the servers."""
    if isinstance(error, LogError):
        return error
    if isinstance(error, nats.errors.NoRespondersError) or (isinstance(error, APIError) and not error.description):
        return LogUnavailable(
            f"{address}: no server with JetStream answers",
            hint="Start nats-server with --jetstream, or check the account.",
        )
    if isinstance(error, APIError):
        if error.err_code == _FULL:
            return LogFull(
                f"the stream {address} has reached its size",
                hint="It shrinks when the hubs save their log; or raise its limit: nats stream edit --max-bytes.",
            )
        return LogUnavailable(
            f"{address}: JetStream answers: {error.description}",
            hint="Choose a smaller limit: …?max_bytes=1000000000." if error.err_code == _NO_STORAGE else "",
        )
    if is_refusal(error):
        return LogUnavailable(
            f"{address} refused the credentials: {error}",
            hint="Check the user in the URL, or the file with the credentials.",
        )
    if isinstance(error, TimeoutError | nats.errors.Error | OSError):
        return LogUnavailable(f"{address} does not answer: {str(error) or type(error).__name__}")
    return LogUnavailable(f"{address} failed: {error!r}")


def is_refusal(error: Exception) -> bool:
    """Return whether the servers refused the credentials; the driver has no class of its own for most of these."""
    return isinstance(error, nats.errors.AuthorizationError | nats.errors.InvalidUserCredentialsError) or (
        isinstance(error, nats.errors.Error) and "authorization violation" in str(error).lower()
    )


async def retry_until_answered(call: Callable[[], Awaitable[Result]], address: JetStreamAddress) -> Result:
    """Return the result of a call, which is made again while a cluster elects its leaders.

    Raises:
        LogError: It failed, or was not answered for `OPENING_S`.
    """
    loop = asyncio.get_running_loop()
    give_up = loop.time() + OPENING_S
    while True:
        try:
            return await call()
        except Exception as error:
            if not _may_pass(error) or loop.time() >= give_up:
                raise to_log_error(error, address) from error
        await asyncio.sleep(RETRY_S)


def _may_pass(error: Exception) -> bool:
    if isinstance(error, APIError):
        return error.code == 503
    return isinstance(error, nats.errors.TimeoutError | nats.errors.NoRespondersError)


async def find_message(
    connection: Client, address: JetStreamAddress, stream: str, **request: int | str
) -> StoredMessage | None:
    """Return a message of a stream; None if there is none.

    Args:
        connection: The connection.
        address: The journal, for errors.
        stream: The stream.
        request: Which one: `seq`, also with `next_by_subj` for the first one of a subject from there, or
            `last_by_subj`.

    Raises:
        LogError: The servers do not answer, or refuse.
    """
    try:
        answer = await connection.request(
            f"$JS.API.STREAM.MSG.GET.{stream}", msgspec.json.encode(request), timeout=REQUEST_S
        )
        found = msgspec.json.decode(answer.data, type=_Found)
    except Exception as error:
        raise to_log_error(error, address) from error
    if found.error is not None and found.error.code != 404:
        raise found.error.to_log_error(address)
    return found.message


async def open_stream(manager: JetStreamManager, address: JetStreamAddress) -> None:
    """Create the stream if it does not exist, and check it.

    Raises:
        LogForeign: The stream is not a journal.
        LogTooNew: A newer version of tidings created it.
        LogError: The servers refused, or did not answer.
    """
    try:
        info = await retry_until_answered(lambda: find_stream(manager, address.stream), address)
        if info is None:
            info = await retry_until_answered(lambda: manager.add_stream(_configuration(address)), address)
    except ValueError as error:
        raise LogForeign(f"{address}: {error}") from error
    check_stream(info, address)


async def find_stream(manager: JetStreamManager, name: str) -> StreamInfo | None:
    """Return the stream with a name; None if it does not exist."""
    try:
        return await manager.stream_info(name)
    except NotFoundError:
        return None


def has_majority(info: StreamInfo) -> bool:
    """Return whether the leader that answered still leads most servers of the stream.

    One that is cut off from them answers for seconds as if it did, and its stream ends before what the others stored.
    """
    replicas = (info.cluster and info.cluster.replicas) or []
    answering = sum(0 < (replica.active or 0) < MAX_UNANSWERED_S * 1e9 for replica in replicas)
    return 2 * (1 + answering) > 1 + len(replicas)


def _configuration(address: JetStreamAddress) -> StreamConfig:
    return StreamConfig(
        name=address.stream,
        description="The journal of tidings hubs",
        subjects=[address.subject],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        num_replicas=address.replicas,
        max_bytes=address.max_bytes,
        max_msgs=-1,
        max_age=0,
        max_consumers=-1,
        deny_delete=True,
        allow_direct=True,
        metadata={FORMAT_KEY: str(FORMAT)},
    )


def check_stream(info: StreamInfo, address: JetStreamAddress) -> None:
    """Check that a stream is a journal that loses nothing by itself.

    Raises:
        LogForeign: It is not.
        LogTooNew: A newer version of tidings created it.
    """
    config = info.config
    version = (config.metadata or {}).get(FORMAT_KEY, "")
    if not version.isdigit():
        raise LogForeign(
            f"the stream {address} was not created by tidings", hint="Give the journal a name that no other stream has."
        )
    if int(version) > FORMAT:
        raise LogTooNew(f"the stream {address} has format {version}; this version reads up to {FORMAT}")
    wrong = [
        name
        for name, right in (
            ("subjects", config.subjects == [address.subject]),
            ("storage", config.storage == StorageType.FILE),
            ("retention", config.retention == RetentionPolicy.LIMITS),
            ("discard", config.discard == DiscardPolicy.NEW),
            ("max-age", not config.max_age),
            ("max-msgs", (config.max_msgs or -1) < 0),
            ("max-msgs-per-subject", config.max_msgs_per_subject < 0),
            ("mirror", config.mirror is None and not config.sources),
            ("sealed", not config.sealed and not config.deny_purge),
        )
        if not right
    ]
    if wrong:
        raise LogForeign(
            f"the stream {address} was changed and could lose entries: {', '.join(wrong)}",
            hint="Set them back with `nats stream edit`, or use another name.",
        )
