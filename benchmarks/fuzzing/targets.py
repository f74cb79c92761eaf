"""All targets, and their run with hypothesis. The tests run each with few inputs."""

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.fuzzing import messages, parsers
from tidings.testing.manual_hub import silenced

TARGETS: dict[str, tuple[Callable[..., None], tuple[st.SearchStrategy[Any], ...]]] = {
    "event": (messages.check_event, (messages.BODIES,)),
    "commands": (messages.check_commands, (st.lists(messages.BODIES, max_size=6), st.booleans(), st.booleans())),
    "token": (parsers.check_token, (parsers.TOKENS,)),
    "claims": (parsers.check_claims, (parsers.OBJECTS,)),
    "grant": (parsers.check_grant, (parsers.TEXTS,)),
    "template": (parsers.check_template, (parsers.TEXTS,)),
    "path": (parsers.check_path, (parsers.TEXTS,)),
    "keys": (parsers.check_keys, (parsers.KEY_FILES,)),
    "credential": (parsers.check_credential, (parsers.FIELDS, parsers.TEXTS)),
}


def make_test(name: str, inputs: int) -> Any:
    """Return the test of one target, as hypothesis wraps it."""
    check, strategies = TARGETS[name]
    run = settings(
        max_examples=inputs, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
    )
    return run(given(*strategies)(check))


def fuzz(name: str, inputs: int) -> None:
    """Run one target with a number of inputs.

    Raises:
        AssertionError: Something does not hold; the error shows the smallest input.
    """
    with silenced():
        make_test(name, inputs)()
