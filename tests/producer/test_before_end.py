from collections.abc import Callable

import pytest
from tests.producer.reported import Reported

import tidings


def test_last_words_come_before_the_end(reported: Reported) -> None:
    with tidings.operation("Speak") as op:
        op.before_end(lambda: op.log("one more thing"))
    assert reported.kinds(op.id) == ["start", "log", "complete"]


@pytest.mark.parametrize(
    "end", [tidings.Operation.complete, tidings.Operation.cancel, lambda op: op.fail("gone", "it is gone")]
)
def test_they_are_said_once_however_it_ends(end: Callable[[tidings.Operation], None], reported: Reported) -> None:
    said: list[str] = []
    op = tidings.start("Speak")
    op.before_end(lambda: said.append(op.state))
    end(op)
    end(op)
    with op:
        pass
    assert said == ["running"]


def test_last_words_that_fail_do_not_keep_it_from_ending(reported: Reported) -> None:
    said: list[str] = []
    with tidings.operation("Speak") as op:
        op.before_end(lambda: [][1])
        op.before_end(lambda: said.append("second"))
    assert reported.kinds(op.id) == ["start", "complete"]
    assert said == ["second"]


def test_cancelling_names_who_wanted_it(reported: Reported) -> None:
    op = tidings.start("Stop")
    op.cancel("enough", cancelled_by="ada")
    kind, data = reported.last(op.id)
    assert (kind, data["reason"], data["cancelled_by"]) == ("cancelled", "enough", "ada")
