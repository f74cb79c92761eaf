"""This process's producers, as far as there are any."""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidings.producer.runtime import ProducerRuntime


def producers() -> "ProducerRuntime | None":
    """Return what this process's operations share; None where nothing has been reported, and nothing was imported."""
    if "tidings.producer.runtime" not in sys.modules:
        return None
    from tidings.producer.runtime import RUNTIME

    return RUNTIME


def tell_progress() -> None:
    """Have running operations say how far they are, which they would do by themselves at a moment of their own."""
    process = producers()
    if process is not None:
        process.sample()
