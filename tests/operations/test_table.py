"""The index of operations by number, compared with a sorted list; and the sizes that the table keeps within limits."""

import json
from typing import Any

import hypothesis.strategies as st
from hypothesis import given
from tests.contract.envelopes import message, read

from tidings.operations.lifecycle import OperationLife, OperationState
from tidings.operations.sequence_index import SequenceIndex
from tidings.operations.status import OperationStatus
from tidings.operations.table import OperationTable

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


# Sizes.


def end_all(table: OperationTable, count: int, text: str, *, name: str = "") -> None:
    for number in range(count):
        key = f"op-{number}"
        events: list[tuple[str, dict[str, Any]]] = [
            ("start", {"name": name}),
            ("failed", {"code": "c", "message": text, "recoverable": False}),
        ]
        for offset, (action, more) in enumerate(events):
            data = json.dumps({"operation_id": key, **more})
            table.apply(2 * number + offset + 1, read(message(f"operation:{action}", data, trace_id='"t"')), number)


def test_ended_operations_are_bounded_in_bytes_oldest_first() -> None:
    table = OperationTable(ended_age_ns=10**18, max_ended=50_000, max_ended_bytes=100_000)
    end_all(table, 1_000, "x" * 1_900)
    assert 90_000 < table.ended_bytes <= 100_000
    assert table.ended_bytes == sum(status.size() for status in table.ended)
    kept = [status.operation_id for status in table.ended]
    assert kept == [f"op-{number}" for number in range(1_000 - len(kept), 1_000)]
    assert table.evicted == 1_000 - len(kept)


def test_newest_run_of_a_name_outlives_larger_ones() -> None:
    table = OperationTable(ended_age_ns=10**18, max_ended=50_000, max_ended_bytes=100_000)
    end_all(table, 1, "rare", name="rare")
    end_all(table, 1_000, "x" * 1_900, name="busy")
    assert table.get("op-0") is not None


def test_largest_operation_is_kept_at_least_while_it_is_the_newest() -> None:
    table = OperationTable(ended_age_ns=10**18, max_ended=50_000, max_ended_bytes=10)
    end_all(table, 3, "x")
    assert [status.operation_id for status in table.ended] == ["op-2"]


def test_long_texts_of_an_operation_are_cut() -> None:
    table = OperationTable(ended_age_ns=10**18, max_ended=50_000, max_ended_bytes=1 << 30)
    long = "x" * 6_000
    events: list[tuple[str, dict[str, Any]]] = [
        ("start", {"name": long, "command": long, "host": long, "parent_id": long, "steps": [long] * 4}),
        ("progress", {"progress": 1, "message": long, "current_step": long}),
        ("failed", {"code": "c", "message": long, "details": long, "hint": long, "recoverable": False}),
    ]
    for offset, (action, more) in enumerate(events, 1):
        data = json.dumps({"operation_id": "op", **more})
        table.apply(offset, read(message(f"operation:{action}", data, trace_id='"t"')), offset)
    status = table.get("op")
    assert status is not None
    assert status.size() < 20_000
    assert status.parent_id is None
    assert (len(status.name), status.name[-3:]) == (256, "...")
    assert status.message == "x" * 1_997 + "..."
    assert [len(step) for step in status.planned] == [256] * 4


# Children and steps.


def fold(*events: tuple[str, dict[str, Any]]) -> OperationTable:
    table = OperationTable(ended_age_ns=10**18, max_ended=50_000, max_ended_bytes=1 << 30)
    for offset, (action, fields) in enumerate(events, 1):
        table.apply(offset, read(message(f"operation:{action}", json.dumps(fields), trace_id='"t"')), offset)
    return table


def test_operation_with_another_parent_leaves_the_first_one() -> None:
    table = fold(
        ("start", {"operation_id": "a", "parent_id": "p"}),
        ("start", {"operation_id": "a", "parent_id": "q"}),
        ("start", {"operation_id": "b", "parent_id": "p", "queued": True}),
        ("start", {"operation_id": "b", "parent_id": "q"}),
    )
    assert table.children("p") == []
    assert [status.operation_id for status in table.children("q")] == ["a", "b"]
    assert [status.operation_id for status in table.live_children("q", 9)] == ["a", "b"]


def test_start_without_steps_keeps_the_reported_number_of_steps() -> None:
    status = fold(
        ("start", {"operation_id": "a", "steps": ["read", "write"]}),
        ("progress", {"operation_id": "a", "progress": 1, "total_steps": 7}),
        ("start", {"operation_id": "a", "name": "import"}),
    ).get("a")
    assert status is not None
    assert status.total_steps == 7
