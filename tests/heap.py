"""The objects that a test makes itself, apart from all that other tests of the process left."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def private_heap() -> Iterator[None]:
    """Hide the objects that exist now from `gc.get_objects` and `gc.collect`, and collect only on request."""
    gc.collect()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        gc.enable()
