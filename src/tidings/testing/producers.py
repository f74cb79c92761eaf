"""This process's producers, as far as there are any."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidings.producer.runtime import ProducerRuntime


def producers() -> "ProducerRuntime | None":
    """Return what this process's operations share; None where nothing has been reported, and nothing was imported."""
    module = sys.modules.get("tidings.producer.runtime")
    return None if module is None else module.RUNTIME


def tell_progress() -> None:
    """Have running operations say how far they are, which they would do by themselves at a moment of their own."""
    process = producers()
    if process is not None:
        process.sample()
