"""Tools for testing code built on tidings: a whole hub in memory, on a clock that the test advances, and faults.

Nothing here opens a socket, sleeps, or waits for the machine's clock. Names are imported at their first use, because
pytest imports this package in every project where it is installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING

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

_MODULES = (
    "tidings.testing.matching",
    "tidings.testing.assertion",
    "tidings.testing.faults",
    "tidings.testing.manual_hub",
)
"""The modules that define the names, the cheapest to import first."""

__all__ = [
    "ABSENT",
    "ANYTHING",
    "QUIET",
    "Cut",
    "Delay",
    "Duplicate",
    "FullDisk",
    "ManualHub",
    "Stall",
    "Unreachable",
    "any_order",
    "approx",
    "assert_events",
    "containing",
    "event",
    "none_of",
    "satisfying",
]


def __getattr__(name: str) -> object:
    """Import a public name from the module that defines it."""
    if name in __all__:
        for module in map(import_module, _MODULES):
            if hasattr(module, name):
                globals()[name] = getattr(module, name)
                return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, imported or not."""
    return __all__
