import pytest

pytest.register_assert_rewrite("tidings.testing.journal_conformance")
