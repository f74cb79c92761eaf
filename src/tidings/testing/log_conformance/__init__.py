"""A suite that every adapter of `tidings.log.base.Log` passes: its guarantees, one test each, and a model beside it.

It needs pytest and hypothesis. For an adapter of your own, in a test module of yours::

    class MyLogHarness(LogHarness):
        def open(self, retention):
            return MyLog(retention=retention)

    class TestMyLog(LogConformance):
        @pytest.fixture
        def harness(self):
            with MyLogHarness() as harness:
                yield harness

(`DurableLogConformance` for one that outlives its process, with `reopen` and `crash` in its harness) and, so that a
failing assertion is told in full, in its ``conftest.py``::

    pytest.register_assert_rewrite("tidings.testing.log_conformance")

What a test calls is what it is about: the port's own docstring says who must serialise which calls.
"""

from tidings.testing.log_conformance.harness import LogHarness
from tidings.testing.log_conformance.suite import DurableLogConformance, LogConformance

__all__ = ["DurableLogConformance", "LogConformance", "LogHarness"]
