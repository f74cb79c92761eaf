"""The connection of a journal to the servers of NATS: credentials, refusals, and what the driver gives up."""

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from nats.aio.client import Client, Srv
from nats.errors import Error

from tidings.exceptions import LogUnavailable
from tidings.log.journal.jetstream_permissions import find_denied
from tidings.log.journal.jetstream_stream import (
    MIN_SERVER,
    OPENING_S,
    REQUEST_S,
    JetStreamAddress,
    is_refusal,
    to_log_error,
)

PING_S = 2
"""Time between two pings; a server that answers none of two is left."""
_RECONNECT_S = 0.1
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


class Reconnected(Protocol):
    """Continues on a new connection."""

    async def __call__(self, *, has_subscriptions: bool) -> None:
        """Continue; the driver has lost the subscriptions if it had given up."""


class _ServerClient(Client):
    """The driver's client, without three of its ways to stay with what is lost."""

    is_ending = False
    """Whether it is closed for good."""

    def _connect_command(self) -> bytes:
        """Read the file of the credentials again: the driver keeps the public part of an NKey for ever."""
        try:
            if self._nkeys_seed is not None:
                self._setup_nkeys_seed_connect()
            return super()._connect_command()
        except Exception as cause:  # such as a file that is being written: any other error ends the driver's task
            self._drop_connection()
            raise Error(f"the credentials cannot be used: {cause}") from cause

    async def _attempt_reconnect(self) -> None:
        """Drop what was not sent: the driver waits until a server that is cut off has taken it, which it never does."""
        self._drop_connection()
        await super()._attempt_reconnect()

    async def _connect_to_server(self, s: Srv) -> None:
        """Connect, unless it ends: until Python 3.12, a cancellation is lost if a server refuses at the same moment."""
        if self.is_ending:
            raise asyncio.CancelledError
        await super()._connect_to_server(s)

    def _drop_connection(self) -> None:
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()


class ServerConnection:
    """A connection that is made again whenever it is lost, until `close`.

    Args:
        address: Where the servers are.
        credentials: A file with the credentials of a user, as `nsc` writes it; or an NKey seed's file, if its name
            ends with `.nk`. It is read again for each connection.
        tls: How to verify the servers; None uses the system's authorities.
        name: Name of the connection, which the servers show.
    """

    def __init__(self, address: JetStreamAddress, *, credentials: str, tls: ssl.SSLContext | None, name: str) -> None:
        self.client = _ServerClient()
        self.when_connected: Reconnected | None = None
        """Called after each connection but the first one."""
        self._address = address
        self._credentials = credentials
        self._tls = tls
        self._name = name
        self._refusal: Exception | None = None
        self._refused = asyncio.Event()
        self._denied: str | None = None
        """The newest permission that was missing."""
        self._was_denied = asyncio.Event()
        self._reported = ""
        """The error that was logged last: servers that are away are tried ten times a second."""
        self._is_closed = False
        self._again: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            LogUnavailable: No server answers, or it is too old, or it refuses.
        """
        connecting = asyncio.create_task(self._connect())
        waiting = asyncio.create_task(self._refused.wait())
        try:
            await asyncio.wait([connecting, waiting], timeout=OPENING_S, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():  # the driver would try for ever, also with credentials that were refused
                raise self._refusal or TimeoutError
            await connecting
        except Exception as error:
            raise to_log_error(error, self._address) from error
        finally:
            waiting.cancel()
            connecting.cancel()
        version = self.client.connected_server_version
        if (version.major, version.minor) < MIN_SERVER:
            raise LogUnavailable(
                f"{self._address} is nats-server {version.major}.{version.minor}",
                hint=f"The journal needs nats-server {MIN_SERVER[0]}.{MIN_SERVER[1]} or newer.",
            )

    async def _connect(self) -> None:
        is_nkey = self._credentials.endswith(".nk")
        await self.client.connect(
            random.sample(self._address.servers, len(self._address.servers)),
            name=self._name,
            error_cb=self._failed,
            reconnected_cb=self._connected_again,
            closed_cb=self._given_up,
            tls=self._tls,
            user_credentials=self._credentials if self._credentials and not is_nkey else None,
            nkeys_seed=self._credentials if is_nkey else None,
            ping_interval=PING_S,
            max_outstanding_pings=2,
            dont_randomize=True,  # after the first one: a server that is left must not be chosen again
            reconnect_time_wait=_RECONNECT_S,  # type: ignore[arg-type]  # seconds, also parts of one
            max_reconnect_attempts=-1,
            connect_timeout=int(REQUEST_S),
        )

    async def unless_denied(self, work: Awaitable[Result]) -> Result:
        """Return the result of requests, or fail as soon as one of them is not permitted: no answer comes then.

        Raises:
            LogUnavailable: The user may not do it.
        """
        working = asyncio.ensure_future(work)
        waiting = asyncio.create_task(self._was_denied.wait())
        try:
            await asyncio.wait([working, waiting], return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise LogUnavailable(
                    f"{self._address} does not let the user {self._denied}",
                    hint="Give the user of the hubs this permission: docs/cluster.md lists all that they need.",
                )
            return await working
        finally:
            waiting.cancel()
            working.cancel()

    # The callbacks of the driver.

    async def _failed(self, error: Exception) -> None:
        denied = find_denied(error, self._address)
        if denied is not None:
            self._denied = denied
            self._was_denied.set()
        if is_refusal(error) or self._refusal is None or not is_refusal(self._refusal):
            self._refusal = error  # the connection is cut after a refusal
        if is_refusal(error):
            self._refused.set()
        text = str(error) or type(error).__name__
        if text == self._reported:
            return
        self._reported = text
        if denied is None:
            logger.info("%s: %s", self._address, text)
        else:
            logger.warning("%s does not let the user of the hubs %s: see docs/cluster.md", self._address, denied)

    async def _connected_again(self, *, has_subscriptions: bool = True) -> None:
        self._reported = ""
        logger.info("%s: connected again", self._address)
        if self.when_connected is not None:
            await self.when_connected(has_subscriptions=has_subscriptions)

    async def _given_up(self) -> None:
        """Connect again: the driver does not after most errors that servers send, such as that a token has expired."""
        if not self._is_closed and self.when_connected is not None and (self._again is None or self._again.done()):
            logger.warning("%s ended the connection: %s", self._address, self.client.last_error)
            self._again = asyncio.create_task(self._connect_again())

    async def _connect_again(self) -> None:
        while not self._is_closed:
            await asyncio.sleep(_RECONNECT_S)
            try:
                await self._connect()
            except Exception as error:  # such as a file with credentials that is being written
                await self._failed(error)
            else:
                await self._connected_again(has_subscriptions=False)
                return

    async def close(self) -> None:
        """Close it for good."""
        self._is_closed = self.client.is_ending = True
        if self._again is not None:
            self._again.cancel()
        await self.client.close()
