"""The server process: listen, serve, drain on a signal, exit 0."""

import asyncio
import contextlib
import errno
import logging
import os
import selectors
import signal
import socket
import sys
import threading
from array import array
from collections.abc import Awaitable, Callable, Generator, Sequence
from socket import socket as Socket
from types import FrameType
from typing import Any, Literal, NamedTuple, cast

import uvicorn

from tidings.access.origins import is_loopback
from tidings.exceptions import AddressInUse, AddressUnavailable, ConfigError, InsecureAddress
from tidings.server.reloading import Reloaders
from tidings.server.tcp_limit import TcpLimit
from tidings.server.tls import TlsCertificate
from tidings.server.websocket.segment_turns import SegmentTurns
from tidings.server.websocket.upgrade import UpgradableHttpProtocol

_MAX_PORT_ATTEMPTS = 8
_BACKLOG = 2048
"""Connections that the kernel completes before they are accepted: 5,000 clients may reconnect together."""
_ACCEPTS_PER_TICK = 16
"""Connections accepted per tick by a loop that accepts once per descriptor: 1 ms of work, and 300 per second even while
live delivery takes 50 ms per tick. A connection to an idle hub costs as many system calls in vain."""
_DATE_INTERVAL_S = 1.0
"""Interval at which uvicorn renews the Date header."""
_DRAIN_POLL_S = 0.02
"""Interval at which a drain checks whether all connections are closed."""
_ACCEPT_WAITING_S = 0.25
"""Time for which a drain goes on to accept connections that wait: a stream of new ones has no end."""
_TICKS_PER_ACCEPT = 3
"""Rounds of asyncio's loop from a connection in the kernel to its protocol: accept, create the transport, call it."""
_FIRST_REQUEST_S = 0.25
"""Time that a drain leaves to connections for a request that is on its way."""
_ABORT_TIMEOUT_S = 0.2
"""Time that the responses over aborted connections get to end by themselves."""
_CANCEL_TIMEOUT_S = 1.0
"""Time that a cancelled response gets for its `finally`."""

if sys.platform != "win32":
    import fcntl
    import termios

_STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform == "win32":
    _STOP_SIGNALS.append(signal.SIGBREAK)  # Ctrl-Break

logger = logging.getLogger(__name__)

_IN_USE_HINT = (
    "Stop the other program, perhaps another tidings, that listens there, or choose another port with --port "
    "(--port 0 picks a free one)."
)
_HINTS = {
    errno.EACCES: "Choose a port above 1023 with --port: lower ones need a privilege.",
    errno.EADDRNOTAVAIL: "No interface of this machine has that address. Use --host 127.0.0.1 for this machine, or "
    "--host 0.0.0.0 for all interfaces.",
}
_HOST_HINT = "Check the spelling of --host, or use an IP address."
_PORT_HINT = "Use 0 to 65535; 0 picks a free port."


def listen(host: str, port: int, *, loopback_only: bool = False, reuse_port: bool = False) -> list[socket.socket]:
    """Open a listening socket on every address of a host, all on one port.

    Args:
        host: An IP address or a name; "" stands for all interfaces.
        port: The port; 0 picks a free one.
        loopback_only: Whether the host may have only addresses that other machines cannot reach.
        reuse_port: Whether further sockets may listen on the same port, among which the kernel divides connections.

    Raises:
        InsecureAddress: The host has another address, and `loopback_only` is True.
        AddressInUse: Another process listens there.
        AddressUnavailable: The host has no address on this machine, or the port may not be used.
    """
    if not 0 <= port <= 0xFFFF:
        raise AddressUnavailable(f"invalid port {port}: expected 0 to 65535", host=host, port=port, hint=_PORT_HINT)
    addresses = _resolve(host, port)
    if loopback_only and not all(is_loopback(address) for _, address in addresses):
        raise InsecureAddress(
            f"cannot listen on {host or 'all interfaces'} without authentication: other machines could read and "
            "publish everything",
            option="host",
            hint="Identify clients with --auth keys (docs/access.md). Or pass --insecure to serve everyone, or --host "
            "127.0.0.1 to serve this machine only.",
        )
    for attempt in range(_MAX_PORT_ATTEMPTS):
        try:
            return _listen_on_all(addresses, port, reuse_port)
        except OSError as error:
            # A port that was free on the first address can be taken on the second.
            picked_badly = port == 0 and error.errno == errno.EADDRINUSE and len(addresses) > 1
            if picked_badly and attempt < _MAX_PORT_ATTEMPTS - 1:
                continue
            raise _explain(error, host, port) from error
    raise AssertionError("the last attempt returns or raises")


def duplicate_listeners(sockets: Sequence[socket.socket]) -> list[socket.socket]:
    """Return more descriptors of listening sockets, for a loop that accepts once per descriptor and tick.

    uvloop is such a loop (https://github.com/libuv/libuv/pull/3696). With one descriptor, a hub whose ticks take 50 ms
    would accept 20 clients per second; in a reconnect storm of thousands, most would wait until the kernel drops them.
    """
    duplicates: list[socket.socket] = []
    try:
        for opened in sockets:
            duplicates.extend(opened.dup() for _ in range(_ACCEPTS_PER_TICK - 1))
    except OSError:  # too many open files
        for duplicate in duplicates:
            duplicate.close()
        raise
    return duplicates


def _resolve(host: str, port: int) -> Sequence[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "not a host name"
        message = f"cannot listen on {host!r}: {reason}"
        raise AddressUnavailable(message, host=host, port=port, hint=_HOST_HINT) from error
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _listen_on_all(
    addresses: Sequence[tuple[socket.AddressFamily, str]], port: int, reuse_port: bool
) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, address in addresses:
            try:
                sockets.append(_listen_on(family, address, port, reuse_port))
            except OSError as error:
                # `localhost` is often ::1 too, on machines whose kernel has no IPv6.
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
                absent = error
                continue
            port = sockets[-1].getsockname()[1]
        if not sockets and absent is not None:
            raise absent
    except BaseException:
        for opened in sockets:
            opened.close()
        raise
    return sockets


def _listen_on(family: socket.AddressFamily, address: str, port: int, reuse_port: bool) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # Lets a restart bind while old connections are in TIME_WAIT. On Windows it would steal the port.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind((address, port))
        opened.listen(_BACKLOG)
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened


def _explain(error: OSError, host: str, port: int) -> AddressInUse | AddressUnavailable:
    where = f"{host or '*'} port {port}"
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return AddressInUse(f"cannot listen on {where}: {reason}", host=host, port=port, hint=_IN_USE_HINT)
    hint = _HINTS.get(error.errno or 0, "")
    return AddressUnavailable(f"cannot listen on {where}: {reason}", host=host, port=port, hint=hint)


class ListenAddress(NamedTuple):
    """An address that the server listens on."""

    host: str
    port: int


def _address(listening: Socket) -> ListenAddress:
    name = listening.getsockname()
    return ListenAddress(str(name[0]), int(name[1]))


class DrainingServer(uvicorn.Server):
    """uvicorn's server with our own signal handling, sockets and shutdown.

    SIGTERM or Ctrl-C drains: the listening sockets are closed, `on_drain` is awaited, all connections are asked to end,
    and the process may exit with 0. Connections have half of the grace period to end by themselves; then the TCP
    connections of responses that go on are closed (an endless stream receives `http.disconnect`); at the end of the
    grace period everything else is cancelled and aborted. A second Ctrl-C ends the process immediately, as the signal
    does by default. SIGHUP, which a closed terminal sends too, reloads what `reloaders` has.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        host: str = "127.0.0.1",
        port: int = 8765,
        websocket: type[asyncio.Protocol] | None = None,
        ssl_certfile: str | os.PathLike[str] | None = None,
        ssl_keyfile: str | os.PathLike[str] | None = None,
        grace_s: float = 5.0,
        before_accepting: Callable[[], Awaitable[None]] | None = None,
        on_ready: Callable[[Sequence[ListenAddress]], None] | None = None,
        on_drain: Callable[[], Awaitable[None]] | None = None,
        lifespan: Literal["auto", "on", "off"] = "auto",
        max_tcp_connections: int | None = None,
    ) -> None:
        """Prepare the server; nothing is opened yet.

        Args:
            app: The ASGI application for everything but WebSockets.
            host: Address or name to listen on; "" stands for all interfaces.
            port: Port to listen on; 0 picks a free one.
            websocket: The result of `websocket_protocol`; without it, WebSockets are not served.
            ssl_certfile: Certificate chain in PEM; with it the port speaks TLS. It is read again when it changes, and
                at SIGHUP.
            ssl_keyfile: Private key of the certificate, if the chain's file does not contain it.
            grace_s: Grace period of a drain in seconds, after which the rest is ended by force.
            before_accepting: Awaited when the sockets listen and signals are handled; until it returns,
                connections wait.
            on_ready: Called once the sockets listen and the application has started.
            on_drain: Awaited, for up to half of the grace period, before the connections are asked to end.
            lifespan: Whether `app` has an ASGI lifespan.
            max_tcp_connections: Open TCP connections, beyond which a new one replaces the oldest that sent no request;
                less than the number of files that the process may open. None for no limit.

        Raises:
            ConfigError: There is a key without a certificate.
        """
        if ssl_keyfile is not None and ssl_certfile is None:
            raise ConfigError(
                "TLS key without a certificate", option="ssl_certfile", hint="Pass both, or neither for plain HTTP."
            )
        config = uvicorn.Config(
            app,
            interface="asgi3",  # uvicorn would guess, and take a bound method for ASGI 2
            host=host,
            port=port,
            http=type(
                "ServedHttp",
                (UpgradableHttpProtocol,),
                {"tcp_limit": TcpLimit(max_tcp_connections), "segment_turns": SegmentTurns()},
            ),
            ws="none" if websocket is None else websocket,
            lifespan=lifespan,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the application reads them, of the proxies that it trusts
        )
        super().__init__(config)
        self.reloaders = Reloaders()
        """What SIGHUP reloads."""
        self._tls_files = None if ssl_certfile is None else (ssl_certfile, ssl_keyfile)
        self._grace_s = grace_s
        self._before_accepting = before_accepting
        self._on_ready = on_ready
        self._on_drain = on_drain
        self._addresses: list[ListenAddress] = []
        self._wakeup = asyncio.Event()
        self._asked_to_end: set[object] = set()

    def run(self, sockets: list[Socket] | None = None) -> None:
        """Serve until a signal or `stop`, on uvloop where it is installed.

        Raises:
            ConfigError: The certificate or its key cannot be used.
            AddressInUse: Another process listens on the port.
            AddressUnavailable: The host or port cannot be listened on.
        """
        with asyncio.Runner(loop_factory=self.config.get_loop_factory()) as runner:
            runner.run(self.serve(sockets))

    async def serve(self, sockets: list[Socket] | None = None) -> None:
        """Do the same as `run`, inside a running loop. Signals are handled in the main thread only."""
        self._load()
        if sockets is None:
            sockets = listen(self.config.host, self.config.port)
        self._addresses = [_address(opened) for opened in sockets]
        if type(asyncio.get_running_loop()).__module__.startswith("uvloop"):
            sockets = [*sockets, *duplicate_listeners(sockets)]
        try:
            await super().serve(sockets)
        finally:
            for opened in sockets:  # where the application failed to start
                opened.close()

    def stop(self) -> None:
        """Start to drain, as a signal does; call it from the loop's own thread."""
        self.should_exit = True
        self._wakeup.set()

    async def startup(self, sockets: list[Socket] | None = None) -> None:
        """Start the application and accept connections."""
        if self._before_accepting is not None:
            await self._before_accepting()
        await super().startup(sockets)
        if self.started and self._on_ready is not None:
            self._on_ready(self._addresses)

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn would check for it ten times per second."""
        while not await self.on_tick(0):
            self.reloaders.reload_changed()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DATE_INTERVAL_S):
                    await self._wakeup.wait()

    async def shutdown(self, sockets: list[Socket] | None = None) -> None:
        """Drain: refuse new connections, let the open ones finish, and close the rest, within the grace period."""
        now = asyncio.get_running_loop().time
        deadline = now() + self._grace_s
        await self._accept_waiting(sockets or (), now() + _ACCEPT_WAITING_S)
        for server in self.servers:
            server.close()
        for opened in sockets or ():
            opened.close()
        await self._serve_idle_connections(now() + _FIRST_REQUEST_S)
        await self._call_on_drain()
        if not await self._wait_until_idle(now() + (deadline - now()) / 2):
            self._close_responses()
            if not await self._wait_until_idle(deadline):
                await self._end_by_force()
        try:
            async with asyncio.timeout(self._grace_s):
                await self.lifespan.shutdown()
        except TimeoutError:
            logger.error("the application did not shut down within %g s", self._grace_s)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle the stop signals during the block; never raise them again, as uvicorn does: a drain exits with 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()

        def stop(number: int, frame: FrameType | None) -> None:
            if self.should_exit and number == signal.SIGINT:
                # Committed events survive any end of the process, and the user does not wait for the rest.
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            self.should_exit = True
            loop.call_soon_threadsafe(self._wakeup.set)

        def hang_up(number: int, frame: FrameType | None) -> None:
            # Not here: the signal may have interrupted a log line that holds the lock of its stream.
            loop.call_soon_threadsafe(self.reloaders.reload_all)

        # Not the loop's add_signal_handler: its handlers would wait for a busy loop.
        before = {number: signal.signal(number, stop) for number in _STOP_SIGNALS}
        if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # not below nohup
            before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _load(self) -> None:
        """Load the configuration, so that a bad certificate is found before a port is taken."""
        if self.config.loaded:
            return
        tls = None if self._tls_files is None else TlsCertificate(*self._tls_files)
        self.config.load()
        if tls is not None:
            self.config.ssl = tls.context
            self.reloaders.on_reload("TLS certificate", tls.reload, files=tls.files)

    async def _call_on_drain(self) -> None:
        if self._on_drain is None:
            return
        try:
            async with asyncio.timeout(self._grace_s / 2):
                await self._on_drain()
        except TimeoutError:
            logger.error("the drain took more than %g s; going on without it", self._grace_s / 2)
        except Exception:
            logger.exception("the drain failed; going on without it")

    async def _accept_waiting(self, listening: Sequence[Socket], until: float) -> None:
        """Accept the connections that the kernel has completed, until there are none, or until `until`, in loop time.

        When a listening socket is closed, the kernel resets those that wait there, with the requests that they have
        sent: a busy hub has dozens of them.
        """
        with selectors.DefaultSelector() as selector:
            for opened in listening:
                selector.register(opened, selectors.EVENT_READ)
            quiet_ticks = 0
            while asyncio.get_running_loop().time() < until and quiet_ticks < _TICKS_PER_ACCEPT:
                quiet_ticks = 0 if selector.select(0) else quiet_ticks + 1
                await asyncio.sleep(0)

    async def _serve_idle_connections(self, until: float) -> None:
        """Serve on until `until`, in loop time, while HTTP connections are kept open; each answer ends its connection.

        A proxy sends one request after the other over such a connection. If that was closed now, the kernel would reset
        a request that is on its way, and the proxy could not send it to another hub.
        """
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]

        def is_kept(connection: object) -> bool:
            return isinstance(connection, UpgradableHttpProtocol) and connection.cycle is not None

        while asyncio.get_running_loop().time() < until and any(map(is_kept, state.connections)):  # noqa: ASYNC110
            await asyncio.sleep(_DRAIN_POLL_S)

    async def _wait_until_idle(self, deadline: float) -> bool:
        """Ask all connections to end; return whether they and all responses ended before `deadline`, in loop time.

        New connections may still appear: they were accepted before the listening sockets were closed. One that has sent
        a request which was not read yet is not asked at first, nor is a new one whose request is on its way: the kernel
        would reset it, and its client could not know whether its event was stored.
        """
        state = self.server_state
        now = asyncio.get_running_loop().time
        ask_all_at = now() + _FIRST_REQUEST_S
        while state.connections or state.tasks:
            is_early = now() < ask_all_at
            for connection in state.connections - self._asked_to_end:
                if not (is_early and _awaits_request(connection)):
                    connection.shutdown()
                    self._asked_to_end.add(connection)
            self._asked_to_end &= state.connections
            if now() >= deadline:
                return False
            await asyncio.sleep(_DRAIN_POLL_S)
        return True

    def _close_responses(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, UpgradableHttpProtocol):
                connection.transport.close()

    async def _end_by_force(self) -> None:
        tasks = list(self.server_state.tasks)
        connections = list(self.server_state.connections)
        logger.warning("ending %d connections and %d responses by force", len(connections), len(tasks))
        for connection in connections:
            cast(Any, connection).abort()
        await asyncio.sleep(0)  # `connection_lost` follows an abort in the next tick
        if tasks:  # a response ends with its connection, and uvicorn logs each cancelled one as a failure
            await asyncio.wait(tasks, timeout=_ABORT_TIMEOUT_S)
        remaining = [task for task in tasks if not task.done()]
        for task in remaining:
            task.cancel("the server is shutting down")
        if remaining:
            await asyncio.wait(remaining, timeout=_CANCEL_TIMEOUT_S)


def _awaits_request(connection: object) -> bool:
    """Return whether an HTTP connection has sent no request yet, or one that the kernel still holds."""
    if not isinstance(connection, UpgradableHttpProtocol):
        return False
    if connection.cycle is None:
        return True
    if sys.platform == "win32":
        return False
    count = array("i", [0])
    try:
        fcntl.ioctl(connection.transport.get_extra_info("socket").fileno(), termios.FIONREAD, count)
    except (OSError, ValueError, AttributeError):  # it is closed in this moment
        return False
    return count[0] > 0
