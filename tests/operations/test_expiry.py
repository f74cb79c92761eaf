"""Ended operations are forgotten by the events and the time alone, whether a log was opened again or not."""

import json
import random
from copy import deepcopy

import pytest
from tests.contract.envelopes import message, read

from tidings.operations.table import OperationTable

AGE_NS = 100


def new_table() -> OperationTable:
    return OperationTable(ended_age_ns=AGE_NS, max_ended=50_000, max_ended_bytes=1 << 30)


def expire(table: OperationTable, now_ns: int) -> None:
    while table.expire(now_ns):
        pass


def reopened(table: OperationTable) -> OperationTable:
    """Return the table that a log restores from its rows."""
    again = new_table()
    for history in sorted(table.names.values(), key=lambda each: each.offset):
        again.restore_name(deepcopy(history))
    for status in sorted((*table.live, *table.ended), key=lambda each: each.offset):
        again.restore(deepcopy(status))
    return again


@pytest.mark.parametrize("seed", range(20))
def test_table_that_was_opened_again_forgets_the_same_operations(seed: int) -> None:
    draw = random.Random(seed)
    table, restarted = new_table(), new_table()
    for now_ns in range(1, 600):
        data = {"operation_id": f"op-{draw.randrange(60)}", "name": draw.choice(["", "a", "b"])}
        action = draw.choice(["start", "complete"])
        event = read(message(f"operation:{action}", json.dumps(data), trace_id='"t"'))
        for each in (table, restarted):
            each.apply(now_ns, event, now_ns)
        if draw.random() < 0.1:
            restarted = reopened(restarted)
        if draw.random() < 0.1:
            for each in (table, restarted):
                expire(each, now_ns)
            ended = {status.operation_id for status in table.ended}
            assert ended == {status.operation_id for status in restarted.ended}
            assert all(
                now_ns - (status.ended_ns or 0) < AGE_NS or table.names[status.name].newest == status.operation_id
                for status in table.ended
            )


def test_operation_that_ends_again_and_again_takes_no_more_memory() -> None:
    table = new_table()
    for offset in range(1, 20_000, 2):
        for action in ("start", "complete"):
            offset += 1
            table.apply(offset, read(message(f"operation:{action}", '{"operation_id":"op"}', trace_id='"t"')), 1)
    assert len(table._expirable) < 2_000


def test_many_old_operations_are_forgotten_in_slices() -> None:
    table = new_table()
    for number in range(1_000):
        data = json.dumps({"operation_id": f"op-{number}"})
        table.apply(number + 1, read(message("operation:complete", data, trace_id='"t"')), number)
    calls = 1
    while table.expire(10_000):
        calls += 1
    assert table.known == 0
    assert calls == 4
