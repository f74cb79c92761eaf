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
    from tidings.testing.assertion import assert_events as assert_events
    from tidings.testing.faults import Cut as Cut
    from tidings.testing.faults import Delay as Delay
    from tidings.testing.faults import Duplicate as Duplicate
    from tidings.testing.faults import FullDisk as FullDisk
    from tidings.testing.faults import Stall as Stall
    from tidings.testing.faults import Unreachable as Unreachable
    from tidings.testing.manual_hub import QUIET as QUIET
    from tidings.testing.manual_hub import ManualHub as ManualHub
    from tidings.testing.matching import ABSENT as ABSENT
    from tidings.testing.matching import ANYTHING as ANYTHING
    from tidings.testing.matching import any_order as any_order
    from tidings.testing.matching import approx as approx
    from tidings.testing.matching import containing as containing
    from tidings.testing.matching import event as event
    from tidings.testing.matching import none_of as none_of
    from tidings.testing.matching import satisfying as satisfying


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return __all__
