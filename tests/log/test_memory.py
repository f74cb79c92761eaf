from collections.abc import Iterator

import pytest

from tidings.log.base import Log, Retention
from tidings.log.memory import MemoryLog
from tidings.testing.log_conformance import LogConformance, LogHarness


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
