"""`@tidings.operation("Import prices")`: each call of the function is an operation."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def decorate(make: Callable[[], Any], function: F) -> F:
    """Return `function` so that each call runs in the block of an operation of its own.

    Args:
        make: Returns a new operation, not begun.
        function: An ordinary function, or one defined with `async def`.

    Raises:
        TypeError: It is a generator function: its body runs while its caller iterates, and nobody can say when it ends.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{function.__qualname__} is a generator function; use `with tidings.operation(...)` around the loop that "
            "iterates over it, or inside it"
        )
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def runs_async(*arguments: Any, **options: Any) -> Any:
            async with make():
                return await function(*arguments, **options)

        return cast(F, runs_async)

    @functools.wraps(function)
    def runs(*arguments: Any, **options: Any) -> Any:
        with make():
            return function(*arguments, **options)

    return cast(F, runs)
