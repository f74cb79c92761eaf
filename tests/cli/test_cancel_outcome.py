import pytest

from tidings.cli.cancel import describe, find_exit_code
from tidings.protocol.messages import CancelOutcome


def outcome(name: str, **more: object) -> CancelOutcome:
    facts = {"operation_id": "op", "attempt": 1, "outcome": name, "state": "running", **more}
    return CancelOutcome(**facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told", "code", "sentence"),
    [
        (outcome("cancelled", state="cancelled"), 0, "op is cancelled"),
        (outcome("finished_first", state="complete"), 6, "op ended first: it is complete"),
        (outcome("refused"), 7, "op continues: its producer refuses to cancel it"),
        (outcome("refused", reason="too late"), 7, "op continues: its producer refuses to cancel it: too late"),
        (outcome("pending"), 8, "op is stopping, but did not end within 10 s"),
    ],
)
def test_an_outcome_is_a_sentence_and_a_code(told: CancelOutcome, code: int, sentence: str) -> None:
    assert list(describe(told, 10)) == [sentence]
    assert find_exit_code(told) == code


def test_an_unreachable_producer_receives_the_request_later() -> None:
    (line,) = describe(outcome("unreachable"), 10)
    assert "nobody could be asked" in line
    assert find_exit_code(outcome("unreachable")) == 9


def test_outcomes_of_children_are_indented() -> None:
    part = outcome("cancelled", operation_id="part", children=[outcome("pending", operation_id="part of part")])
    assert list(describe(outcome("cancelled", children=[part]), 10)) == [
        "op is cancelled",
        "  part is cancelled",
        "    part of part is stopping, but did not end within 10 s",
    ]
