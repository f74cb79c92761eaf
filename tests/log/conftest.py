from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tidings.testing.log_conformance")

from tests.log.sqlite_harness import SqliteHarness  # noqa: E402 - after the line above, which it needs


@pytest.fixture
def sqlite() -> Iterator[SqliteHarness]:
    harness = SqliteHarness()
    with harness:
        yield harness
