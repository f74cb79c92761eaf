from collections.abc import Iterator

import pytest
from hypothesis import settings
from tests.log.replicated_harness import ManualReplicatedHarness, MemoryLocalHarness, SqliteReplicatedHarness
from tests.log.sqlite_harness import SqliteHarness

from tidings.log.base import Retention
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
