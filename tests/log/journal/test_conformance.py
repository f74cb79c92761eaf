from collections.abc import Iterator

import pytest
from tests.log.journal.harnesses import JetStreamHarness, ManualJournalHarness, PostgresHarness, SqliteJournalHarness
from tests.postgres_server import PostgresServer, new_postgres_server

from tidings.testing.journal_conformance import JournalConformance, JournalHarness


class TestManualJournal(JournalConformance):
    @pytest.fixture
    def harness(self) -> Iterator[JournalHarness]:
        with ManualJournalHarness() as harness:
            yield harness


class TestManualJournalWithFaults(JournalConformance):
    @pytest.fixture(params=range(3))
    def harness(self, request: pytest.FixtureRequest) -> Iterator[JournalHarness]:
        with ManualJournalHarness(seed=request.param, lost=0.2, doubled=0.2, max_delay_s=0.5) as harness:
            yield harness


class TestSqliteJournal(JournalConformance):
    @pytest.fixture
    def harness(self) -> Iterator[JournalHarness]:
        with SqliteJournalHarness() as harness:
            yield harness


class TestSqliteJournalWithoutBells(JournalConformance):
    @pytest.fixture
    def harness(self) -> Iterator[JournalHarness]:
        with SqliteJournalHarness(bells=False) as harness:
            yield harness


class TestJetStreamJournal(JournalConformance):
    @pytest.fixture
    def harness(self) -> Iterator[JournalHarness]:
        with JetStreamHarness() as harness:
            yield harness


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[PostgresServer]:
    with new_postgres_server() as server:
        yield server


class TestPostgresJournal(JournalConformance):
    @pytest.fixture
    def harness(self, postgres_server: PostgresServer) -> Iterator[JournalHarness]:
        with PostgresHarness(postgres_server) as harness:
            yield harness
