"""The operation whose block the running code is in."""

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidings.producer.operation import Operation

CURRENT: ContextVar["Operation | None"] = ContextVar("tidings operation", default=None)


def current_operation() -> "Operation | None":
    """Return the operation of the innermost `with tidings.operation(...)`, or decorated function, that runs this code.

    As with every context variable, tasks begun in the block have it, and so does `asyncio.to_thread`; other new threads
    have not.
    """
    return CURRENT.get()
