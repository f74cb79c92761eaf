"""Keeps one session connected: opens connections, moves messages, reconnects."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from tidings.client.authentication import EXPIRING
from tidings.client.close_reason import MAX_RETRY_AFTER_S, CloseReason
from tidings.client.credentials import Credentials
from tidings.client.events import Delivery
from tidings.client.options import LinkOptions, OnChange
from tidings.client.reconnect import Backoff
from tidings.client.runtime import ClientRuntime, NetworkRuntime, Timer, find_route
from tidings.client.session import Phase, Session
from tidings.client.status import Access, State, Status
from tidings.client.tokens import find_token_source
from tidings.client.websocket import ClientConnection, ConnectionEnded
from tidings.exceptions import (
    AccessError,
    ClientError,
    CommandRefused,
    ConnectionLost,
    HandshakeRefused,
    HubUnreachable,
    NotAHub,
    TidingsError,
    TokenUnavailable,
)
from tidings.protocol.codes import row_of
from tidings.protocol.payloads import AuthRequired

logger = logging.getLogger(__name__)

_TEMPORARY_STATUSES = frozenset({408, 425, 429})
"""HTTP statuses below 500 that are temporary."""


class Link:
    """One session and the task that keeps it connected.

    Args:
        session: State of the connection, and the messages to send.
        url: URL of the hub.
        options: How to connect.
        deliver: Called with the items of each message; while what it returns is awaited, the connection is not read.
        on_end: Called once, at the end: with the failure, or None if the owner closed the link.
        on_change: Called, on the loop, whenever the state or its error changes.
        on_lost: Called, on the loop, when a connection has ended, before the next is tried.
        name: Name of the task.

    Raises:
        ConfigError: The token is invalid, or would go over an unencrypted network.
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
        self.credentials = Credentials(
            find_token_source(options.token, url, allow_plaintext=options.allow_plaintext_token),
            wait=options.wait_for_token,
        )
        session.authentication.on_asked = self._token_asked
        session.authentication.on_other_subject = self._connect_anew
        session.authentication.on_unverified = self._send_again
        self._url = url
        self._options = options
        self._deliver = deliver
        self._on_end = on_end
        self._on_change = on_change
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        make_runtime = find_route(url)
        self._runtime: ClientRuntime = (
            NetworkRuntime(options.opener(), options.random) if make_runtime is None else make_runtime(name)
        )
        self._backoff = Backoff(options.reconnect, self._runtime.random)
        self._pause: asyncio.Task[None] | None = None
        self._pause_requested = False
        self._outgoing = asyncio.Event()
        self._changed = asyncio.Event()
        self._reported: tuple[State, TidingsError | None, Access | None, str] = (State.CONNECTING, None, None, "")
        self._error: TidingsError | None = None
        self._retry_at: float | None = None
        self._abort_error: TidingsError | None = None
        self._asked: asyncio.Task[None] | None = None
        """Answers the hub that asks for a token."""
        self._connection: ClientConnection | None = None
        self._timer: Timer | None = None
        self._ended = False
        self._failure: BaseException | None = None
        self._task = self._loop.create_task(self._run(), name=name)
        self._task.add_done_callback(self._finish)

    # For the owner.

    @property
    def status(self) -> Status:
        """Status of the link now."""
        now = self._runtime.time()
        session = self.session
        last_received = session.heartbeat.last_received
        return Status(
            state=self.state,
            age_s=None if last_received is None else now - last_received,
            position=session.cursor.position,
            outcome=session.cursor.outcome,
            error=self._error,
            retry_at=self._retry_at,
            access=session.authentication.access,
        )

    @property
    def state(self) -> State:
        """State of the link now."""
        return State.CLOSED if self._ended else self.session.state(self._runtime.time())

    def now(self) -> float:
        """Return the time on the link's clock, in seconds."""
        return self._runtime.time()

    def timeout(self, delay_s: float | None) -> AbstractAsyncContextManager[object]:
        """Return a context that raises TimeoutError after `delay_s` on the link's clock; None never does."""
        return self._runtime.timeout(delay_s)

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        """Call `callback` in the link's loop after `delay_s` on its clock."""
        return self._runtime.call_at(self._runtime.time() + delay_s, callback)

    @property
    def ended(self) -> bool:
        """Whether the link has ended."""
        return self._ended

    @property
    def failure(self) -> BaseException | None:
        """The error that ended the link; None before its end, and if its owner closed it."""
        return self._failure

    def flush(self) -> None:
        """Send the session's outgoing messages soon."""
        self._outgoing.set()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until `condition` is true; it is evaluated again after each change.

        Raises:
            BaseException: The error that ended the link before.
        """
        while not condition():
            if self._ended:
                raise self._failure or ClientError("the client was closed")
            self._changed.clear()
            await self._changed.wait()

    def cancel(self) -> None:
        """End the link soon, without waiting."""
        self._task.cancel()

    def hurry(self) -> None:
        """Connect now rather than after the current delay, and keep later delays short: the owner is about to end.

        A delay that the hub has requested is kept.
        """
        self._backoff.stay_short()
        if self._pause is not None and not self._pause_requested:
            self._pause.cancel()

    def fail(self, error: BaseException) -> None:
        """End the link soon, because its owner failed with `error`."""
        self._failure = self._failure or error
        self._task.cancel()

    async def aclose(self) -> None:
        """End the link and wait for its end; completes the closing handshake."""
        self._task.cancel()
        await asyncio.wait([self._task])

    # The task.

    async def _run(self) -> None:
        while True:
            connections = self.connections
            reason = await self._connect_once()
            self._error = reason.error
            admitted = self.session.authentication.admitted
            again = reason.token_refused and self.credentials.refused(reason, admitted=admitted)
            if reason.final and not again:
                raise reason.error
            # The duration of an earlier connection does not count for an attempt that found no hub.
            lasted_s = self.session.lasted(self._runtime.time()) if self.connections > connections else 0.0
            delay = self._backoff.next_delay(lasted_s=lasted_s, retry_after_s=reason.retry_after_s)
            self._retry_at = self._runtime.time() + delay
            logger.info("%s; connecting again in %.2f s", reason.error, delay)
            self._report_change()
            self._set_timer()
            self._pause_requested = reason.retry_after_s > 0
            self._pause = self._loop.create_task(self._runtime.sleep(delay))
            try:
                await asyncio.wait([self._pause])
            finally:
                self._pause.cancel()
            self._retry_at = None

    async def _connect_once(self) -> CloseReason:
        options = self._options
        token: str | None = None
        late: ClientError = TokenUnavailable(f"no token within {options.open_timeout_s:g} s")
        try:
            async with self._runtime.timeout(options.open_timeout_s):
                token = await self.credentials.next()
                late = HubUnreachable(f"no answer within {options.open_timeout_s:g} s")
                self._report_change()
                connection = await self._runtime.open(self._url, token)
        except TimeoutError:
            return CloseReason(error=late, final=self._is_final(late))
        except (ClientError, AccessError) as failed:
            asked_s = failed.retry_after_s if isinstance(failed, HandshakeRefused) else 0.0
            retry_after_s = min(asked_s, MAX_RETRY_AFTER_S)
            return CloseReason(error=failed, final=self._is_final(failed), retry_after_s=retry_after_s)
        self._connection = connection
        self._abort_error = None
        try:
            reason = await self._run_connection(connection)
            if self._on_lost is not None:
                self._on_lost(reason)
            return reason
        finally:
            self._connection = None
            # Completes the handshake if this side ends the connection; otherwise it only frees the socket.
            await connection.aclose()

    def _is_final(self, error: TidingsError) -> bool:
        """Return whether an error ends the link: after a hub has let it in, only the lack of a token does."""
        if self.credentials.is_final(error):
            return True
        if self.session.authentication.admitted:
            return False
        if isinstance(error, HubUnreachable | ConnectionLost | TokenUnavailable | AccessError):
            return not self._options.wait_for_hub
        if isinstance(error, HandshakeRefused) and (error.status >= 500 or error.status in _TEMPORARY_STATUSES):
            return not self._options.wait_for_hub
        return True

    async def _run_connection(self, connection: ClientConnection) -> CloseReason:
        session = self.session
        session.opened(self._runtime.time())
        self._set_timer()
        sender = self._loop.create_task(self._send(connection), name=f"{self._task.get_name()} sender")
        try:
            await self._receive(connection)
        except ConnectionEnded as end:
            reason = session.lost(end.code, end.reason)
            error = self._abort_error or reason.error
            return msgspec.structs.replace(reason, error=error, final=reason.final or self._is_final(error))
        except NotAHub as error:
            session.lost(1002, "")
            return CloseReason(error=error, final=self._is_final(error))
        except (CommandRefused, AccessError) as error:
            session.lost(1000, "")
            recoverable = error.recoverable if isinstance(error, CommandRefused) else row_of(error).recoverable
            return CloseReason(error=error, final=not recoverable)
        finally:
            self._stop_asking()
            sender.cancel()
            await asyncio.wait([sender])
            if not sender.cancelled() and (failure := sender.exception()) is not None:
                raise failure
        raise AssertionError("receiving ends by an exception")

    async def _receive(self, connection: ClientConnection) -> None:
        session = self.session
        time = self._runtime.time
        receive, received = connection.receive, session.received
        phase: Phase | None = None
        while True:
            body = await receive()
            items = received(body, time())
            if items:
                waiting = self._deliver(items)
                if waiting is not None:
                    await self._wait_for_consumer(waiting)
            if session.phase is not phase:
                if phase is None:
                    self.connections += 1
                phase = session.phase
                self._error = None
                if session.ready:
                    self.credentials.admitted()
                self._outgoing.set()
                self._set_timer()
            self._report_change()

    async def _wait_for_consumer(self, waiting: Awaitable[None]) -> None:
        """Wait for a consumer whose buffer is full."""
        self.session.heartbeat.pause()
        self._changed.set()
        try:
            await waiting
        finally:
            self.session.heartbeat.resume(self._runtime.time())
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
            return  # the receiver gets the same error, and reports it
        except Exception:
            connection.abort()  # otherwise the receiver would wait for answers to messages that were never sent
            raise

    # The token.

    def _token_asked(self, asked: AuthRequired) -> None:
        deadline = self._runtime.time() + asked.deadline_s
        self._answer_soon(deadline, expiring=asked.reason == EXPIRING)

    def _send_again(self, refusal: AccessError) -> None:
        """Send a token that the hub could not verify once more, until the hub gives up."""
        logger.info("the hub cannot verify the token now: %s", refusal)
        self.credentials.forget_sent()
        self._answer_soon(math.inf, expiring=True, delay_s=self._options.reconnect.base_s)

    def _answer_soon(self, deadline: float, *, expiring: bool, delay_s: float = 0.0) -> None:
        self._stop_asking()
        answering = self._answer(deadline, expiring=expiring, delay_s=delay_s)
        self._asked = self._loop.create_task(answering, name=f"{self._task.get_name()} token")

    def _stop_asking(self) -> None:
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None

    async def _answer(self, deadline: float, *, expiring: bool, delay_s: float) -> None:
        """Send a token in place; without one, the connection ends, now or when the present token expires."""
        if delay_s:
            await self._runtime.sleep(delay_s)
        backoff = Backoff(self._options.reconnect, self._runtime.random)
        while True:
            try:
                token = await (self.credentials.another() if expiring else self.credentials.first())
            except TokenUnavailable as error:
                token = None
                logger.info("%s", error)
            except (ClientError, AccessError) as error:
                self._abort(error)
                return
            if token is not None:
                self.session.send_token(token)
                self.flush()
                return
            if not self.credentials.renewable or self._runtime.time() >= deadline:
                return
            await self._runtime.sleep(backoff.next_delay())

    def _connect_anew(self, refusal: AccessError) -> None:
        """Connect again, as another subject: this connection's producer and its operations are the first one's."""
        self._abort(ConnectionLost(f"the new token is another subject's: {refusal}"))

    def _abort(self, error: TidingsError) -> None:
        """End the connection; it is made again, unless `error` is final."""
        if self._connection is not None:
            self._abort_error = error
            self._connection.abort()

    # Time.

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.session.next_deadline()
        if deadline is not None and not self._ended:
            self._timer = self._runtime.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        failed = self.session.tick(self._runtime.time())
        if failed is not None:
            self._abort(failed)
        self._outgoing.set()
        self._report_change()
        self._set_timer()

    # Reporting.

    def _report_change(self) -> None:
        """Report the state if it has changed."""
        reported = (self.state, self._error, self.session.authentication.access, self.credentials.owner)
        if reported == self._reported:
            return
        self._reported = reported
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
        self._report_change()
