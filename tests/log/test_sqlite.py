from collections.abc import Iterator

import pytest
from hypothesis import settings
from tests.log.sqlite_harness import SqliteHarness

from tidings.testing.log_conformance import LogConformance, LogHarness


@pytest.fixture
def harness() -> Iterator[SqliteHarness]:
    with SqliteHarness() as harness:
        assert isinstance(harness, SqliteHarness)
        yield harness


class TestSqliteLog(LogConformance):
    model_settings = settings(max_examples=40, stateful_step_count=30, deadline=None)

    @pytest.fixture
    def harness(self) -> Iterator[LogHarness]:
        with SqliteHarness() as harness:
            yield harness
