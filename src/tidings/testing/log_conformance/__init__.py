"""The suite that every adapter of `tidings.log.base.Log` passes: one test per guarantee, and a comparison with a model.

It needs pytest and hypothesis. For your own adapter, write a test module::

    class MyLogHarness(LogHarness):
        def open(self, retention):
            return MyLog(retention=retention)

    class TestMyLog(LogConformance):
        @pytest.fixture
        def harness(self):
            with MyLogHarness() as harness:
                yield harness

Use `DurableLogConformance` for a log that outlives its process, and add `reopen` and `crash` to its harness. For
detailed assertion messages add to ``conftest.py``::

    pytest.register_assert_rewrite("tidings.testing.log_conformance")

The tests call the log from one thread, one batch at a time, as the docstring of the port requires.
"""

from hypothesis import settings

from tidings.testing.log_conformance.appending import AppendTests
from tidings.testing.log_conformance.controls import ControlTests
from tidings.testing.log_conformance.durability import DurabilityTests
from tidings.testing.log_conformance.harness import LogHarness
from tidings.testing.log_conformance.judging import JudgeTests
from tidings.testing.log_conformance.machine import check_against_model
from tidings.testing.log_conformance.operations import OperationTests, ReopenedOperationTests
from tidings.testing.log_conformance.reading import ReadTests
from tidings.testing.log_conformance.retention import RetentionTests
from tidings.testing.log_conformance.revocations import ReopenedRevocationTests, RevocationTests

__all__ = ["DurableLogConformance", "LogConformance", "LogHarness"]


class LogConformance(AppendTests, JudgeTests, ControlTests, ReadTests, RetentionTests, OperationTests, RevocationTests):
    """Every guarantee of the port except durability. Needs a fixture `harness` that provides a `LogHarness`."""

    model_settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
    """Number and length of the call sequences for which the log is compared with its model."""

    def test_log_agrees_with_its_model_for_any_order_of_calls(self, harness: LogHarness) -> None:
        check_against_model(harness, self.model_settings)


class DurableLogConformance(LogConformance, DurabilityTests, ReopenedOperationTests, ReopenedRevocationTests):
    """Every guarantee of the port, for a log that outlives its process."""
