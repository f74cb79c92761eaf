import pytest

pytest.register_assert_rewrite("tidings.testing.log_conformance")
