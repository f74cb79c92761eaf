"""Events about what is in the database, published once it is.

::

    with Session(engine) as session, session.begin():
        session.add(Price(symbol="ABC", value=42))
        publish_after_commit(session, "data:update", {"dataset": "prices", "records": 1})
"""

from typing import Any

import msgspec
from sqlalchemy import event
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, SessionTransaction, scoped_session

from tidings.client.drafts import PayloadLike, make_draft
from tidings.producer.diagnostics import log_errors
from tidings.producer.operation import current_operation
from tidings.producer.runtime import RUNTIME
from tidings.producer.tracing import current_trace_id

AnySession = Session | AsyncSession | scoped_session[Any] | async_scoped_session[Any]
_KEY = "tidings.integrations.sqlalchemy"
"""Where `Session.info` has what waits."""


class UncommittedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is published if its transaction is committed."""

    type: str
    data: msgspec.Raw
    event_id: str
    trace_id: str
    channel: str | None
    url: str | None
    token: str | None


@log_errors
def publish_after_commit(
    session: AnySession,
    type: str,
    payload: PayloadLike = None,
    *,
    channel: str | None = None,
    event_id: str | None = None,
    trace_id: str | None = None,
    url: str | None = None,
    token: str | None = None,
) -> None:
    """Publish an event when the session's present transaction is committed, and never if it is rolled back.

    Inside a savepoint the event shares the savepoint's fate, then that of what surrounds it. What counts is the
    session's own `commit()`; a session that joined a connection's transaction does not know how that one ends. As
    `Session.add` does, this begins a transaction where there is none.

    The commit does not wait for the hub, and nothing that is wrong here reaches it: an event that the contract does not
    allow is logged, and dropped. The event is stored once, however often it is sent. A process that dies between the
    database's commit and the sending loses it.

    Args:
        session: The session; an asynchronous one and a scoped one are as good.
        type: The event's type, as in `Client.publish`.
        payload: Its payload, as it is now: later changes do not count.
        channel: Where it goes, if not where its type belongs.
        event_id: By default a new one. One made of what is committed (`f"invoice-{invoice.id}-paid"`, at least 16
            characters) makes the event one even where the transaction is retried after its commit.
        trace_id: By default the current operation's, else OpenTelemetry's span's or a new one.
        url: Where the hub is; by default the variable TIDINGS_URL, else ws://127.0.0.1:8765/ws.
        token: What the hub knows us by; by default the variable TIDINGS_TOKEN.
    """
    draft = make_draft(type, payload, trace_id=trace_id or _trace_id(), channel=channel, event_id=event_id)
    waiting = UncommittedEvent(
        type=draft.type,
        data=draft.data,
        event_id=draft.event_id,
        trace_id=draft.trace_id or "",
        channel=draft.channel,
        url=url,
        token=token,
    )
    plain = _plain(session)
    _queue(plain, _open_transaction(plain)).append(waiting)


def _trace_id() -> str:
    operation = current_operation()
    return current_trace_id() if operation is None else operation.trace_id


def _plain(session: AnySession) -> Session:
    own = session() if isinstance(session, scoped_session | async_scoped_session) else session
    return own.sync_session if isinstance(own, AsyncSession) else own


def _open_transaction(session: Session) -> SessionTransaction:
    """Return the innermost savepoint, else the transaction, which is begun if need be.

    Raises:
        InvalidRequestError: There is none, and the session wants to be told when to begin.
    """
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is None and not session.autobegin:
        raise InvalidRequestError("no transaction has begun whose commit could be waited for")
    return transaction or session.begin()


def _queue(session: Session, transaction: SessionTransaction) -> list[UncommittedEvent]:
    """Return what waits for a transaction's commit, listening to the session from the first time on."""
    queues: dict[SessionTransaction, list[UncommittedEvent]] | None = session.info.get(_KEY)
    if queues is None:
        queues = session.info[_KEY] = {}
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_transaction_end", _ended)
    return queues.setdefault(transaction, [])


def _committed(session: Session) -> None:
    transaction = session.get_nested_transaction() or session.get_transaction()
    queues: dict[SessionTransaction, list[UncommittedEvent]] = session.info[_KEY]
    released = queues.pop(transaction, []) if transaction is not None else []
    if transaction is not None and transaction.parent is not None:
        queues.setdefault(transaction.parent, []).extend(released)
        return
    for waiting in released:
        _publish(waiting)


def _ended(session: Session, transaction: SessionTransaction) -> None:
    session.info[_KEY].pop(transaction, None)


@log_errors
def _publish(waiting: UncommittedEvent) -> None:
    sink, _ = RUNTIME.sink(waiting.url, waiting.token)
    sink.put_nowait(
        waiting.type,
        waiting.data,
        trace_id=waiting.trace_id,
        channel=waiting.channel,
        event_id=waiting.event_id,
    )
