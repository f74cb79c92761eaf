"""Tools for testing code built on tidings: a whole hub in memory, on a clock that the test advances, and faults.

Nothing here opens a socket, sleeps, or waits for the machine's clock. Names are imported at their first use, because
pytest imports this package in every project where it is installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING

_HOMES = {
    "tidings.testing.assertion": "assert_events",
    "tidings.testing.faults": "Cut Delay Duplicate FullDisk Stall Unreachable",
    "tidings.testing.manual_hub": "QUIET ManualHub",
    "tidings.testing.matching": "ABSENT ANYTHING any_order approx containing event none_of satisfying",
}
"""The module of each public name. Type checkers read the same imports below; a test compares the two."""

_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}
__all__ = sorted(_MODULES)

if TYPE_CHECKING:
    # fmt: off
    # isort: off
    from tidings.testing.assertion import assert_events as assert_events
    from tidings.testing.faults import (
        Cut as Cut, Delay as Delay, Duplicate as Duplicate, FullDisk as FullDisk, Stall as Stall,
        Unreachable as Unreachable,
    )
    from tidings.testing.manual_hub import QUIET as QUIET, ManualHub as ManualHub
    from tidings.testing.matching import (
        ABSENT as ABSENT, ANYTHING as ANYTHING, any_order as any_order, approx as approx, containing as containing,
        event as event, none_of as none_of, satisfying as satisfying,
    )
    # isort: on
    # fmt: on


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return __all__
