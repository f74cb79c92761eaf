from collections.abc import Iterator
from typing import Any

import pytest

from tidings.log.base import Log, Record, Retention
from tidings.log.memory import Blocks, MemoryLog
from tidings.testing.log_conformance import LogConformance, LogHarness
from tidings.testing.log_conformance.harness import EventFactory


class MemoryHarness(LogHarness):
    def open(self, retention: Retention) -> Log:
        return MemoryLog("0badc0de", retention)


class TestMemoryLog(LogConformance):
    @pytest.fixture
    def harness(self) -> Iterator[LogHarness]:
        with MemoryHarness() as harness:
            yield harness


def test_memory_log_uses_no_disk() -> None:
    log = MemoryLog("0badc0de")
    assert log.statistics().disk_bytes == 0
    log.close()


class CountedRecord(Record, frozen=True):
    """A record that counts the reads of its time of receipt."""

    def __getattribute__(self, name: str) -> Any:
        if name == "received_ns":
            reads.append(name)
        return super().__getattribute__(name)


reads: list[str] = []


def test_a_time_is_found_with_few_reads() -> None:
    blocks, make = Blocks(), EventFactory()
    for offset in range(1, 100_001):
        entry = make("data:update", "a", data=b"{}")
        blocks.append(CountedRecord(offset, entry.event, offset))
    reads.clear()
    assert blocks.last_before(70_001) == 70_000
    assert 0 < len(reads) <= (100_000).bit_length() + 2
