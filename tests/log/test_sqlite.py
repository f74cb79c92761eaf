from collections.abc import Iterator

import pytest
from hypothesis import settings
from tests.log.sqlite_harness import SqliteHarness

from tidings.testing.log_conformance import DurableLogConformance, LogHarness
from tidings.testing.log_conformance.machine import check_against_model


@pytest.fixture
def harness() -> Iterator[SqliteHarness]:
    with SqliteHarness() as harness:
        assert isinstance(harness, SqliteHarness)
        yield harness


class OftenSavedHarness(SqliteHarness):
    save_every = 5


class TestSqliteLog(DurableLogConformance):
    model_settings = settings(max_examples=40, stateful_step_count=30, deadline=None)

    @pytest.fixture
    def harness(self) -> Iterator[LogHarness]:
        with SqliteHarness() as harness:
            yield harness


def test_a_log_whose_fold_is_saved_all_the_time_agrees_with_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidings.log.fold._PIECE", 2)
    with OftenSavedHarness() as harness:
        check_against_model(harness, settings(max_examples=40, stateful_step_count=30, deadline=None))
