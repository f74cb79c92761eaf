"""A short run of `python -m benchmarks.fuzzing`."""

import pytest
from benchmarks.fuzzing.targets import TARGETS, fuzz


@pytest.mark.parametrize("target", TARGETS)
def test_parser_withstands_any_input(target: str) -> None:
    fuzz(target, 300)
