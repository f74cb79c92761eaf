"""Operations as decorators."""

import asyncio
import functools
from typing import Any

import pytest
from tests.producer.reported import Reported

import tidings


def test_decorated_function_is_an_operation_for_each_call(reported: Reported) -> None:
    @tidings.operation("Decorated")
    def work(number: int) -> tuple[int, str]:
        """Do it."""
        op = tidings.current_operation()
        assert op is not None
        op.log(f"number {number}")
        return number, op.id

    assert (work.__name__, work.__doc__) == ("work", "Do it.")
    (_, first), (_, second) = work(1), work(2)
    assert first != second
    assert reported.kinds(first) == reported.kinds(second) == ["start", "log", "complete"]


def test_decorating_a_generator_function_raises_type_error() -> None:
    with pytest.raises(TypeError, match="is a generator function"):

        @tidings.operation("Generator")
        def rows() -> Any:
            yield 1


def test_decorator_accepts_every_kind_of_function(reported: Reported) -> None:
    class Work:
        @tidings.operation("method")
        def method(self) -> str:
            return state()

        @tidings.operation("static")
        @staticmethod
        def static() -> str:
            return state()

        @tidings.operation("class")
        @classmethod
        def of_class(cls) -> str:
            return state()

        async def __call__(self) -> str:
            await asyncio.sleep(0)
            return state()

    def state() -> str:
        op = tidings.current_operation()
        assert op is not None
        return f"{op.name} {op.state}"

    work = Work()
    assert [work.method(), work.static(), Work.static(), Work.of_class()] == [
        "method running",
        "static running",
        "static running",
        "class running",
    ]
    assert asyncio.run(tidings.operation("callable")(work)()) == "callable running"
    assert asyncio.run(tidings.operation("partial")(functools.partial(Work.__call__, work))()) == "partial running"
    assert reported.kinds() == ["start", "complete"] * 6


@pytest.mark.parametrize("odd", [int, 5, property(len)])
def test_decorator_of_another_object_raises_type_error(odd: Any) -> None:
    with pytest.raises(TypeError, match="an operation decorates a function, not"):
        tidings.operation("Odd")(odd)
