import logging
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, create_engine, event, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, scoped_session, sessionmaker
from tests.client.hub_server import TIMEOUT_S
from tests.producer.reported import Reported

import tidings
from tidings.integrations.sqlalchemy import publish_after_commit
from tidings.producer.runtime import RUNTIME


class Base(DeclarativeBase):
    pass


class Price(Base):
    __tablename__ = "prices"

    symbol: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database file with savepoints, which the transactions of the driver lack (advice of SQLAlchemy for SQLite)."""
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.db'}")

    @event.listens_for(engine, "connect")
    def _(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN")

    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
async def async_engine(engine: Engine, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    made = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.db'}")
    yield made
    await made.dispose()


def published(reported: Reported) -> list[str]:
    """Return the versions in the `data:update` events, in order."""
    assert RUNTIME.flush(TIMEOUT_S) == 0
    return [msgspec.json.decode(event.data)["version"] for event in reported.events() if event.type == "data:update"]


def add(session: Session | AsyncSession | scoped_session[Session], name: str) -> None:
    session.add(Price(symbol=name, value=1))
    publish_after_commit(session, "data:update", {"dataset": "prices", "version": name})


def stored(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return sorted(session.scalars(select(Price.symbol)))


def test_event_is_published_at_the_commit(reported: Reported, engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        add(session, "a")
        add(session, "b")
        session.flush()
        assert published(reported) == []
    assert published(reported) == stored(engine) == ["a", "b"]


def test_event_of_a_rollback_is_never_published(reported: Reported, engine: Engine) -> None:
    with Session(engine) as session:
        add(session, "a")
        session.rollback()
        add(session, "b")
        session.commit()
        add(session, "c")
    with suppress(LookupError), Session(engine) as session, session.begin():
        add(session, "d")
        raise LookupError
    assert published(reported) == stored(engine) == ["b"]


def test_failed_commit_publishes_nothing(reported: Reported, engine: Engine) -> None:
    with Session(engine) as session:
        add(session, "a")
        session.commit()
    with Session(engine) as session:
        add(session, "a")
        with pytest.raises(IntegrityError):
            session.commit()
        session.rollback()
        add(session, "b")
        session.commit()
    assert published(reported) == ["a", "b"]


def test_event_in_a_savepoint_depends_on_the_transaction_around_it(reported: Reported, engine: Engine) -> None:
    with Session(engine) as session:
        with session.begin():
            add(session, "a")
            with session.begin_nested():
                add(session, "b")
                with session.begin_nested() as inner:
                    add(session, "c")
                    inner.rollback()
                with session.begin_nested():
                    add(session, "d")
            assert published(reported) == []
            with suppress(LookupError), session.begin_nested():
                add(session, "e")
                raise LookupError
            add(session, "f")
        with suppress(LookupError), session.begin():
            with session.begin_nested():
                add(session, "g")
            raise LookupError
    assert sorted(published(reported)) == stored(engine) == ["a", "b", "d", "f"]


def test_event_may_be_requested_before_the_first_statement(reported: Reported, engine: Engine) -> None:
    with Session(engine) as session:
        publish_after_commit(session, "data:update", {"version": "first"})
        session.rollback()
        publish_after_commit(session, "data:update", {"version": "second"})
        session.commit()
        session.commit()
    assert published(reported) == ["second"]


def test_event_may_be_requested_during_a_flush(reported: Reported, engine: Engine) -> None:
    """As with a listener that reports every new row: a flush has an inner transaction."""
    with Session(engine) as session:

        @event.listens_for(session, "after_flush")
        def _(session: Session, context: object) -> None:
            for row in session.new:
                assert isinstance(row, Price)
                publish_after_commit(session, "data:update", {"version": row.symbol})

        session.add(Price(symbol="a", value=1))
        with session.begin_nested():
            session.add(Price(symbol="b", value=1))
        with session.begin_nested() as nested:
            session.add(Price(symbol="c", value=1))
            session.flush()
            nested.rollback()
        session.commit()
    assert published(reported) == stored(engine) == ["a", "b"]


def test_session_without_autobegin_raises_unless_begun(
    reported: Reported, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with Session(engine, autobegin=False) as session:
        with caplog.at_level(logging.DEBUG, "tidings"):
            publish_after_commit(session, "data:update", {"version": "a"})
        with session.begin():
            add(session, "b")
    assert published(reported) == ["b"]
    assert "no transaction has begun" in caplog.text


async def test_asynchronous_session_publishes_at_the_commit(reported: Reported, async_engine: AsyncEngine) -> None:
    async with AsyncSession(async_engine) as session:
        async with session.begin():
            add(session, "a")
        with suppress(LookupError):
            async with session.begin():
                add(session, "b")
                raise LookupError
        add(session, "c")
        await session.commit()
        add(session, "d")
        await session.rollback()
        count = await session.scalar(select(func.count()).select_from(Price))
    assert published(reported) == ["a", "c"]
    assert count == 2


async def test_scoped_session_publishes_at_the_commit(
    reported: Reported, engine: Engine, async_engine: AsyncEngine
) -> None:
    scoped = scoped_session(sessionmaker(engine))
    add(scoped, "a")
    scoped.commit()
    scoped.remove()
    async_scoped = async_scoped_session(async_sessionmaker(async_engine), scopefunc=lambda: 1)
    publish_after_commit(async_scoped, "data:update", {"version": "b"})
    await async_scoped.commit()
    await async_scoped.remove()
    assert published(reported) == ["a", "b"]


def test_payload_changed_after_the_call_is_sent_unchanged(reported: Reported, engine: Engine) -> None:
    payload = {"version": "then"}
    with Session(engine) as session:
        publish_after_commit(session, "data:update", payload)
        payload["version"] = "now"
        session.commit()
    assert published(reported) == ["then"]


def test_repeated_event_id_is_stored_once(reported: Reported, engine: Engine) -> None:
    for _ in range(2):
        with Session(engine) as session, session.begin():
            publish_after_commit(
                session, "data:update", {"version": "a"}, event_id="invoice-00007-paid", channel="global"
            )
    assert published(reported) == ["a"]
    assert reported.events()[-1].channel == "global"


def test_event_belongs_to_the_trace_of_the_operation(reported: Reported, engine: Engine) -> None:
    with tidings.operation("Import") as op, Session(engine) as session, session.begin():
        add(session, "a")
        publish_after_commit(session, "data:update", {"version": "b"}, trace_id="mine")
    with Session(engine) as session, session.begin():
        add(session, "c")
    assert published(reported) == ["a", "b", "c"]
    traces = [event.trace_id for event in reported.events() if event.type == "data:update"]
    assert traces[:2] == [op.trace_id, "mine"]
    assert len(traces[2]) == 32
    assert traces[2] != op.trace_id


@pytest.mark.parametrize("payload", [{"version": object()}, {"records": "many"}, {"version": "x" * 70_000}])
def test_invalid_event_does_not_affect_the_transaction(
    payload: dict[str, Any], reported: Reported, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "tidings"), Session(engine) as session, session.begin():
        publish_after_commit(session, "data:update", payload)
        add(session, "a")
    assert published(reported) == stored(engine) == ["a"]


def test_commit_without_a_hub_succeeds(engine: Engine, monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    monkeypatch.setenv("TIDINGS_URL", f"ws://127.0.0.1:{unused_port}/ws")
    monkeypatch.setenv("TIDINGS_QUIET", "1")
    try:
        with Session(engine) as session, session.begin():
            add(session, "a")
        assert stored(engine) == ["a"]
        assert RUNTIME.flush(0) == 1
    finally:
        RUNTIME.close(0)


def test_session_keeps_no_events_of_ended_transactions(reported: Reported, engine: Engine) -> None:
    with Session(engine) as session:
        for number in range(3):
            add(session, f"{number}")
            with session.begin_nested():
                add(session, f"nested {number}")
            session.commit()
        add(session, "gone")
        session.rollback()
        assert [value for key, value in session.info.items() if str(key).startswith("tidings")] == [{}]


def test_cleared_session_info_does_not_affect_the_commit(reported: Reported, engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        add(session, "a")
        session.info.clear()
    assert stored(engine) == ["a"]
    assert published(reported) == []
