from collections.abc import Awaitable, Iterator

import pytest
from hypothesis import settings
from tests.log.replicated_harness import (
    ManualReplicatedHarness,
    MemoryLocalHarness,
    ServerReplicatedHarness,
    SqliteReplicatedHarness,
)
from tests.log.sqlite_harness import SqliteHarness
from tests.nats_server import NatsServer
from tests.postgres_server import new_postgres_server

from tidings.log.base import Retention
from tidings.log.journal import jetstream_stream, postgres
from tidings.log.journal.jetstream import JetStreamJournal, open_jetstream
from tidings.log.journal.postgres import PostgresJournal, open_postgres
from tidings.testing.log_conformance import LogConformance, LogHarness
from tidings.testing.log_conformance.harness import EventFactory


class ReplicatedConformance(LogConformance):
    model_settings = settings(max_examples=10, stateful_step_count=30, deadline=None)

    def test_retention_works_in_small_steps(self, harness: LogHarness) -> None:
        # The steps follow each other by themselves, with turns of the loop between them.
        log, make = harness.open(Retention(events=1)), EventFactory()
        for _ in range(6):
            harness.append(log, *(make("data:update", "a") for _ in range(1_000)))
        assert log.maintain(make.now_ns) is True
        assert log.statistics().durable_events > 4_000, "one step trims a few hundred events"
        harness.maintain(log, make.now_ns)
        assert log.statistics().durable_events == 1


class TestMemoryOverManualJournalWithFaults(ReplicatedConformance):
    @pytest.fixture
    def harness(self) -> Iterator[LogHarness]:
        with ManualReplicatedHarness(MemoryLocalHarness(), lost=0.2, doubled=0.2, max_delay_s=0.1) as harness:
            yield harness


class TestSqliteOverManualJournal(ReplicatedConformance):
    @pytest.fixture
    def harness(self) -> Iterator[LogHarness]:
        with ManualReplicatedHarness(SqliteHarness()) as harness:
            yield harness


class TestMemoryOverSqliteJournal(ReplicatedConformance):
    @pytest.fixture
    def harness(self) -> Iterator[LogHarness]:
        with SqliteReplicatedHarness(MemoryLocalHarness()) as harness:
            yield harness


class TestSqliteOverSqliteJournal(ReplicatedConformance):
    @pytest.fixture
    def harness(self) -> Iterator[LogHarness]:
        with SqliteReplicatedHarness(SqliteHarness()) as harness:
            yield harness


@pytest.fixture(scope="module")
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    with new_postgres_server() as server:
        yield server.url


class TestMemoryOverJetStreamJournal(ReplicatedConformance):
    @pytest.fixture
    def harness(self, nats_url: str) -> Iterator[LogHarness]:
        def open_journal(name: str) -> Awaitable[JetStreamJournal]:
            return open_jetstream(jetstream_stream.parse_address(f"{nats_url}/{name}?max_bytes=50000000"))

        with ServerReplicatedHarness(MemoryLocalHarness(), open_journal) as harness:
            yield harness


class TestMemoryOverPostgresJournal(ReplicatedConformance):
    @pytest.fixture
    def harness(self, postgres_url: str) -> Iterator[LogHarness]:
        def open_journal(name: str) -> Awaitable[PostgresJournal]:
            return open_postgres(postgres.parse_address(f"{postgres_url}?journal={name}"))

        with ServerReplicatedHarness(MemoryLocalHarness(), open_journal) as harness:
            yield harness
