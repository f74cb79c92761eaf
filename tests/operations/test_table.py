"""The index of operations by number, compared with a sorted list."""

import hypothesis.strategies as st
from hypothesis import given

from tidings.operations.lifecycle import OperationLife, OperationState
from tidings.operations.status import OperationStatus
from tidings.operations.table import SequenceIndex

LIFE = OperationLife(1, OperationState.RUNNING, "trace")


def operation(number: int) -> OperationStatus:
    return OperationStatus(operation_id=f"op-{number}", life=LIFE, number=number)


def paged(table: SequenceIndex, limit: int) -> list[int]:
    numbers: list[int] = []
    while page := table.before(numbers[-1] if numbers else None, limit):
        numbers += [status.number for status in page]
    return numbers


@given(st.lists(st.integers(1, 200), unique=True), st.data(), st.integers(1, 20))
def test_pages_hold_each_operation_once_newest_first(numbers: list[int], data: st.DataObject, limit: int) -> None:
    table, known = SequenceIndex(), {number: operation(number) for number in numbers}
    for status in known.values():
        table.add(status)
    gone = data.draw(st.sets(st.sampled_from(numbers))) if numbers else set()
    for number in gone:
        table.discard(known[number])
    assert paged(table, limit) == sorted(set(numbers) - gone, reverse=True)


def test_operation_added_while_paging_is_not_on_later_pages() -> None:
    table = SequenceIndex()
    for number in (1, 2, 3):
        table.add(operation(number))
    assert [status.number for status in table.before(None, 1)] == [3]
    table.add(operation(4))
    assert [status.number for status in table.before(3, 9)] == [2, 1]


def test_removed_operations_free_their_numbers() -> None:
    table = SequenceIndex()
    for number in range(1, 10_001):
        status = operation(number)
        table.add(status)
        if number > 10:
            table.discard(status)
    assert paged(table, 100) == list(range(10, 0, -1))
    assert len(table._numbers) < 1_100
