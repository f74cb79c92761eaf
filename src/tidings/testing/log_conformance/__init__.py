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

from tidings.testing.log_conformance.harness import LogHarness
from tidings.testing.log_conformance.suite import DurableLogConformance, LogConformance

__all__ = ["DurableLogConformance", "LogConformance", "LogHarness"]
