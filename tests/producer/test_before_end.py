"""Functions that run before an operation ends."""

from collections.abc import Callable

import pytest
from tests.producer.reported import Reported

import tidings


def test_before_end_callback_reports_before_the_terminal_event(reported: Reported) -> None:
    with tidings.operation("Speak") as op:
        op.before_end(lambda: op.log("one more thing"))
    assert reported.kinds(op.id) == ["start", "log", "complete"]


@pytest.mark.parametrize(
    "end", [tidings.Operation.complete, tidings.Operation.cancel, lambda op: op.fail("gone", "it is gone")]
)
def test_before_end_callback_runs_once_for_each_kind_of_end(
    end: Callable[[tidings.Operation], None], reported: Reported
) -> None:
    calls: list[str] = []
    op = tidings.start("Speak")
    op.before_end(lambda: calls.append(op.state))
    end(op)
    end(op)
    with op:
        pass
    assert calls == ["running"]


def test_before_end_callback_that_raises_does_not_prevent_the_end(reported: Reported) -> None:
    calls: list[str] = []
    with tidings.operation("Speak") as op:
        op.before_end(lambda: [][1])
        op.before_end(lambda: calls.append("second"))
    assert reported.kinds(op.id) == ["start", "complete"]
    assert calls == ["second"]


def test_before_end_callback_does_not_change_the_end(reported: Reported) -> None:
    op = tidings.operation("Speak")
    op.before_end(lambda: op.progress(77, "last words"))
    op.before_end(op.complete)
    with pytest.raises(LookupError), op:
        raise LookupError
    assert [kind for kind, _ in reported.received(op.id)] == ["start", "progress", "failed"]
