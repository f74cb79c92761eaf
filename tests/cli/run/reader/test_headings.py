import pytest

from tidings.cli.run.reader.patterns import Ordinal, Outcome, read_ordinal


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Epoch 2/10", Ordinal("epoch", 2, 10, "Epoch 2/10", Outcome.UNDER_WAY)),
        ("2025-07-30 11:22:33,123 INFO Epoch 2/10", Ordinal("epoch", 2, 10, "Epoch 2/10", Outcome.UNDER_WAY)),
        ("Step 3/12 : RUN make", Ordinal("step", 3, 12, "Step 3/12 : RUN make", Outcome.UNDER_WAY)),
        ("Processing file 3 of 10", Ordinal("file", 3, 10, "Processing file 3 of 10", Outcome.UNDER_WAY)),
        ("[1/4] Resolving packages...", Ordinal("[", 1, 4, "Resolving packages", Outcome.UNDER_WAY)),
        ("#7 [2/5] RUN apt-get update", Ordinal("[", 2, 5, "RUN apt-get update", Outcome.UNDER_WAY)),
        ("[3/120] cc -c a.c", Ordinal("[", 3, 120, "cc -c a.c", Outcome.UNDER_WAY)),
        (
            "09:15:01  1 of 12 START sql table model dbt.customers .......... [RUN]",
            Ordinal("of", 1, 12, "sql table model dbt.customers", Outcome.BEGUN),
        ),
        (
            "09:15:02  1 of 12 OK created sql table model dbt.customers ..... [SELECT 5 in 0.1s]",
            Ordinal("of", 1, 12, "sql table model dbt.customers", Outcome.FINISHED),
        ),
        (
            "09:15:02  7 of 12 FAIL 3 not_null_x ...... [FAIL 3 in 0.1s]",
            Ordinal("of", 7, 12, "not_null_x", Outcome.FINISHED),
        ),
    ],
)
def test_heading_numbers_a_part(line: str, expected: Ordinal) -> None:
    assert read_ordinal(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        "Loading 3/5",
        "attempt 1/3 failed",
        "retry 2 of 5",
        "2 of 3 dentists agree",
        "1/2 cup of sugar",
        "2025/07/30",
        "[07/30]",
        "(2/5)",
        "Epoch 11/10",
        "Epoch 0/10",
        "step 1/1",
        "the last step 3/12 was fine",
        "Page 1/2/3",
        "part 3/4.5",
        "Scoring 95/100%",
    ],
)
def test_other_numbers_are_not_headings(line: str) -> None:
    assert read_ordinal(line) is None


def test_verb_numbers_parts_only_beside_a_bar() -> None:
    assert read_ordinal("Installing 1/3…") is None
    assert read_ordinal("Installing 1/3…", beside_bar=True) == Ordinal(
        "installing", 1, 3, "Installing 1/3", Outcome.UNDER_WAY
    )
