import pytest

from tidings.contract.diff.rules import RULES, Compatibility, ContractDiff, Rule, make_change

BREAKS_READERS = make_change("null-allowed", "a:b", "$.data.x")
BREAKS_WRITERS = make_change("null-refused", "a:b", "$.data.y")
FITS = make_change("field-added-optional", "a:b", "$.data.z")
NOTE = make_change("title-changed", "a:b", "$.data.z")
ALL = ContractDiff((BREAKS_READERS, BREAKS_WRITERS, FITS, NOTE))


def test_verdict_of_a_change_is_the_worse_side_s() -> None:
    assert [each.verdict for each in ALL.changes] == [
        Compatibility.BREAKING,
        Compatibility.BREAKING,
        Compatibility.COMPATIBLE,
        Compatibility.ANNOTATION,
    ]
    assert [ALL.count(verdict) for verdict in Compatibility] == [2, 1, 1]


def test_breaking_changes_are_listed_by_side() -> None:
    assert ALL.breaking("readers") == (BREAKS_READERS,)
    assert ALL.breaking("writers") == (BREAKS_WRITERS,)
    assert ALL.breaking() == (BREAKS_READERS, BREAKS_WRITERS)


@pytest.mark.parametrize("row", RULES.values(), ids=lambda row: row.id)
def test_rule_has_a_sentence_and_reasons(row: Rule) -> None:
    assert row.sentence
    assert row.readers.because
    assert row.writers.because
    notes = [effect.verdict is Compatibility.ANNOTATION for effect in (row.readers, row.writers)]
    assert notes[0] is notes[1]
