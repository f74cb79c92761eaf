"""Keeps one session connected: opens connections, moves messages, comes back."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from tidings.client.close_reason import CloseReason
from tidings.client.events import Delivery
from tidings.client.options import LinkOptions, OnChange
from tidings.client.reconnect import Backoff
from tidings.client.runtime import ClientRuntime, NetworkRuntime, Timer, route_to
from tidings.client.session import Phase, Session
from tidings.client.status import State, Status
from tidings.client.websocket import ClientConnection, ConnectionEnded
from tidings.exceptions import (
    ClientError,
    CommandRefused,
    ConnectionLost,
    HandshakeRefused,
    HubUnreachable,
    NotAHub,
    TidingsError,
)

logger = logging.getLogger(__name__)

_PASSING_STATUSES = frozenset({408, 425, 429})
"""HTTP statuses below 500 that say "later", not "never"."""


class Link:
    """One session and the task that keeps it connected.

    Args:
        session: What is said.
        url: To whom.
        options: How to connect.
        deliver: Awaited with the items of each message; while it waits, the connection is not read.
        on_end: Called once, at the end: with what failed, or None where the link was closed by its owner.
        on_change: Called, on the loop, whenever the state or the reason for it changes.
        on_lost: Called, on the loop, when a connection has ended, before the next is tried.
        name: What the task is called.
    """

    def __init__(
        self,
        session: Session,
        url: str,
        options: LinkOptions,
        *,
        deliver: Callable[[Sequence[Delivery]], Awaitable[None] | None],
        on_end: Callable[[BaseException | None], None],
        on_change: OnChange | None = None,
        on_lost: Callable[[CloseReason], None] | None = None,
        name: str = "tidings",
    ) -> None:
        self.session = session
        self.connections = 0
        """Connections that the hub has greeted."""
        self._url = url
        self._options = options
        self._deliver = deliver
        self._on_end = on_end
        self._on_change = on_change
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        make = route_to(url)
        self._transport: ClientRuntime = (
            NetworkRuntime(options.opener(), options.random) if make is None else make(name)
        )
        self._backoff = Backoff(options.reconnect, self._transport.random)
        self._outgoing = asyncio.Event()
        self._changed = asyncio.Event()
        self._shown: tuple[State, TidingsError | None] = (State.CONNECTING, None)
        self._error: TidingsError | None = None
        self._retry_at: float | None = None
        self._given_up: ClientError | None = None
        self._connection: ClientConnection | None = None
        self._timer: Timer | None = None
        self._ended = False
        self._failure: BaseException | None = None
        self._task = self._loop.create_task(self._run(), name=name)
        self._task.add_done_callback(self._finish)

    # What the owner sees and does.

    @property
    def status(self) -> Status:
        """Where the link stands now."""
        now = self._transport.time()
        session = self.session
        last_heard = session.liveness.last_heard
        return Status(
            state=self.state,
            age_s=None if last_heard is None else now - last_heard,
            position=session.cursor.position,
            outcome=session.cursor.outcome,
            error=self._error,
            retry_at=self._retry_at,
        )

    @property
    def state(self) -> State:
        """Where the link stands now, in a word."""
        return State.CLOSED if self._ended else self.session.state(self._transport.time())

    def now(self) -> float:
        """Return the link's time, in seconds."""
        return self._transport.time()

    def timeout(self, delay_s: float | None) -> AbstractAsyncContextManager[object]:
        """Return a block that is left with TimeoutError after `delay_s` of the link's time; None is never."""
        return self._transport.timeout(delay_s)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` in the link's loop after `delay_s` of its time."""
        return self._transport.call_at(self._transport.time() + delay_s, callback)

    @property
    def ended(self) -> bool:
        """Whether the link is at its end."""
        return self._ended

    @property
    def failure(self) -> BaseException | None:
        """What ended the link; None while it lasts, and where its owner closed it."""
        return self._failure

    def flush(self) -> None:
        """Send what the session has to send, soon."""
        self._outgoing.set()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` is true; it is asked again whenever something changed.

        Raises:
            BaseException: What ended the link before.
        """
        while not condition():
            if self._ended:
                raise self._failure or ClientError("the client was closed")
            self._changed.clear()
            await self._changed.wait()

    def cancel(self) -> None:
        """End the link soon, without waiting."""
        self._task.cancel()

    def fail(self, error: BaseException) -> None:
        """End the link soon, because its owner failed with `error`."""
        self._failure = self._failure or error
        self._task.cancel()

    async def aclose(self) -> None:
        """End the link and wait for its end; closes the connection in order."""
        self._task.cancel()
        await asyncio.wait([self._task])

    # The task.

    async def _run(self) -> None:
        while True:
            connections = self.connections
            ending = await self._connect_once()
            self._error = ending.error
            if ending.final:
                raise ending.error
            # What an earlier connection lasted says nothing for an attempt that found nobody.
            lasted_s = self.session.lasted(self._transport.time()) if self.connections > connections else 0.0
            delay = self._backoff.next_delay(lasted_s=lasted_s, retry_after_s=ending.retry_after_s)
            self._retry_at = self._transport.time() + delay
            logger.info("%s; connecting again in %.2f s", ending.error, delay)
            self._look()
            self._set_timer()
            await self._transport.sleep(delay)
            self._retry_at = None

    async def _connect_once(self) -> CloseReason:
        options = self._options
        try:
            async with self._transport.timeout(options.open_timeout_s):
                connection = await self._transport.open(self._url)
        except TimeoutError:
            error: ClientError = HubUnreachable(f"no answer within {options.open_timeout_s:g} s")
            return CloseReason(error=error, final=self._is_final(error))
        except ClientError as failed:
            return CloseReason(error=failed, final=self._is_final(failed))
        self._connection = connection
        self._given_up = None
        try:
            ending = await self._converse(connection)
            if self._on_lost is not None:
                self._on_lost(ending)
            return ending
        finally:
            self._connection = None
            # In order where the end is ours; where the connection has ended already, this only lets go of it.
            await connection.aclose()

    def _is_final(self, error: ClientError) -> bool:
        """Return whether an error of the opening ends the link: never once a hub was there."""
        if self.session.established is not None:
            return False
        if isinstance(error, HubUnreachable | ConnectionLost):
            return not self._options.wait_for_hub
        if isinstance(error, HandshakeRefused) and (error.status >= 500 or error.status in _PASSING_STATUSES):
            return not self._options.wait_for_hub
        return True

    async def _converse(self, connection: ClientConnection) -> CloseReason:
        session = self.session
        session.opened(self._transport.time())
        self._set_timer()
        sender = self._loop.create_task(self._send(connection), name=f"{self._task.get_name()} sender")
        try:
            await self._receive(connection)
        except ConnectionEnded as end:
            ending = session.lost(end.code, end.reason)
            error = self._given_up or ending.error
            return msgspec.structs.replace(ending, error=error, final=ending.final or self._is_final(error))
        except NotAHub as error:
            session.lost(1002, "")
            return CloseReason(error=error, final=self._is_final(error))
        except CommandRefused as error:
            session.lost(1000, "")
            return CloseReason(error=error, final=not error.recoverable)
        finally:
            sender.cancel()
            await asyncio.wait([sender])
            if not sender.cancelled() and (failure := sender.exception()) is not None:
                raise failure
        raise AssertionError("receiving ends by an exception")

    async def _receive(self, connection: ClientConnection) -> None:
        session = self.session
        time = self._transport.time
        receive, received = connection.receive, session.received
        phase: Phase | None = None
        while True:
            body = await receive()
            items = received(body, time())
            if items:
                waiting = self._deliver(items)
                if waiting is not None:
                    await self._delivered(waiting)
            if session.phase is not phase:
                if phase is None:
                    self.connections += 1
                phase = session.phase
                self._error = None
                self._outgoing.set()
                self._set_timer()
            self._look()

    async def _delivered(self, waiting: Awaitable[None]) -> None:
        """Wait for a consumer that has enough for now."""
        self.session.liveness.blocked()
        self._changed.set()
        try:
            await waiting
        finally:
            self.session.liveness.listening(self._transport.time())
            self._set_timer()

    async def _send(self, connection: ClientConnection) -> None:
        outgoing = self._outgoing
        take = self.session.take_outgoing
        try:
            while True:
                await outgoing.wait()
                outgoing.clear()
                while (body := take()) is not None:
                    await connection.send(body)
        except ConnectionEnded:
            return  # the receiver meets it too, and says so
        except Exception:
            connection.abort()  # or the receiver would wait for answers to what never went out
            raise

    # Time.

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.session.next_deadline()
        if deadline is not None and not self._ended:
            self._timer = self._transport.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        failed = self.session.tick(self._transport.time())
        if failed is not None and self._connection is not None:
            self._given_up = failed
            self._connection.abort()
        self._outgoing.set()
        self._look()
        self._set_timer()

    # Telling.

    def _look(self) -> None:
        """Tell of a change, if there is one."""
        shown = (self.state, self._error)
        if shown == self._shown:
            return
        self._shown = shown
        self._changed.set()
        if self._on_change is None:
            return
        try:
            self._on_change(self.status)
        except Exception:
            logger.exception("an on_change callback failed")

    def _finish(self, task: "asyncio.Task[None]") -> None:
        failure = self._failure = self._failure if task.cancelled() else task.exception()
        self._ended = True
        self._set_timer()
        self._retry_at = None
        if isinstance(failure, TidingsError):
            self._error = failure
        self._changed.set()
        self._on_end(failure)
        self._look()
