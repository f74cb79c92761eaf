"""Events about data in a database, published when its transaction is committed.

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
from tidings.client.tokens import Token
from tidings.producer.diagnostics import log_errors
from tidings.producer.operation import current_operation
from tidings.producer.runtime import RUNTIME
from tidings.producer.tracing import current_trace_id

AnySession = Session | AsyncSession | scoped_session[Any] | async_scoped_session[Any]
_KEY = "tidings.integrations.sqlalchemy"
"""Key in `Session.info` of the events that wait for a commit."""


class UncommittedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that is published if its transaction is committed."""

    type: str
    data: msgspec.Raw
    event_id: str
    trace_id: str
    channel: str | None
    url: str | None
    token: Token | None


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
    token: Token | None = None,
) -> None:
    """Publish an event when the current transaction of the session is committed; never if it is rolled back.

    In a savepoint the event depends on the savepoint, then on the transaction around it. Only the `commit()` of the
    session counts: a session that joined the transaction of a connection is not notified of its end. Like
    `Session.add`, this begins a transaction if there is none.

    The commit does not wait for the hub, and errors never reach it: an event that the contract does not allow is logged
    and dropped. The event is stored once, however often it is sent. It is lost if the process dies between the commit
    of the database and the sending.

    Args:
        session: A session: plain, asynchronous or scoped.
        type: Type of the event, as in `Client.publish`.
        payload: Payload of the event, encoded now: later changes have no effect.
        channel: Channel of the event. Default: the channel of its type.
        event_id: Id of the event. Default: a new one. An id derived from the data (`f"invoice-{invoice.id}-paid"`, at
            least 16 characters) keeps the event unique even if the transaction is retried after its commit.
        trace_id: Trace of the event. Default: that of the current operation, else of the OpenTelemetry span, else a new
            one.
        url: URL of the hub. Default: TIDINGS_URL, else ws://127.0.0.1:8765/ws.
        token: See `tidings.operation`.
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
    """Return the innermost savepoint, else the transaction, which is begun if necessary.

    Raises:
        InvalidRequestError: No transaction has begun, and the session does not begin one by itself.
    """
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is None and not session.autobegin:
        raise InvalidRequestError("no transaction has begun whose commit could trigger the event")
    return transaction or session.begin()


def _queue(session: Session, transaction: SessionTransaction) -> list[UncommittedEvent]:
    """Return the events that wait for the commit of a transaction; the first call connects to the session."""
    queues: dict[SessionTransaction, list[UncommittedEvent]] | None = session.info.get(_KEY)
    if queues is None:
        queues = session.info[_KEY] = {}
        event.listen(session, "after_commit", _committed)
        event.listen(session, "after_transaction_end", _ended)
    return queues.setdefault(transaction, [])


@log_errors
def _committed(session: Session) -> None:
    transaction = session.get_nested_transaction() or session.get_transaction()
    queues: dict[SessionTransaction, list[UncommittedEvent]] = session.info.get(_KEY, {})
    released = queues.pop(transaction, []) if transaction is not None else []
    if transaction is not None and transaction.parent is not None:
        queues.setdefault(transaction.parent, []).extend(released)
        return
    for waiting in released:
        _publish(waiting)


@log_errors
def _ended(session: Session, transaction: SessionTransaction) -> None:
    session.info.get(_KEY, {}).pop(transaction, None)


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
