from typing import Any

import pytest
from tests.contract.diff.mutations_of_fields import FIELDS
from tests.contract.diff.mutations_of_rows import ROWS, Case
from tests.contract.diff.mutations_of_values import VALUES
from tests.contract.diff.shop import BASE, document, mutated
from tests.contract.test_loading import TOML

from tidings.contract.contract import Contract
from tidings.contract.diff.compare import build_document, diff_contracts, diff_documents, read_document
from tidings.contract.diff.rules import RULES, Change, Compatibility
from tidings.contract.export.document import build_contract_document
from tidings.contract.loading import build_contract, read_contract

MUTATIONS: tuple[Case, ...] = (*ROWS, *FIELDS, *VALUES)
WORDS = {Compatibility.BREAKING: "breaks", Compatibility.COMPATIBLE: "fits", Compatibility.ANNOTATION: "note"}
SHOP = read_contract(TOML, "shop.toml", form="toml")


def told(change: Change) -> str:
    event = "" if change.event in ("", "trade:executed") else f"{change.event} "
    effects = "/".join(WORDS[effect.verdict] for effect in (change.readers, change.writers))
    return f"{event}{change.rule.id} {change.path or '-'} {effects}"


@pytest.mark.parametrize(("about", "mutations", "expected"), MUTATIONS, ids=[case[0] for case in MUTATIONS])
def test_a_mutation_has_its_verdicts(about: str, mutations: tuple[Any, ...], expected: tuple[str, ...]) -> None:
    found = diff_documents(document(BASE), document(mutated(*mutations)))
    assert sorted(map(told, found.changes)) == sorted(expected)


def test_there_are_more_than_a_hundred_of_them_and_each_has_a_name() -> None:
    assert len(MUTATIONS) > 100
    assert len({case[0] for case in MUTATIONS}) == len(MUTATIONS)


def test_every_rule_is_met_by_one_of_them_or_by_its_way_back() -> None:
    met = set()
    for _, mutations, _ in MUTATIONS:
        before, after = document(BASE), document(mutated(*mutations))
        for one, other in ((before, after), (after, before)):
            met |= {change.rule.id for change in diff_documents(one, other).changes}
    assert met == set(RULES)


@pytest.mark.parametrize(("about", "mutations"), [case[:2] for case in MUTATIONS], ids=[case[0] for case in MUTATIONS])
def test_a_contract_does_not_differ_from_itself(about: str, mutations: tuple[Any, ...]) -> None:
    assert not diff_documents(document(mutated(*mutations)), document(mutated(*mutations))).changes


@pytest.mark.parametrize("contract", [Contract(), SHOP], ids=["everyone's", "from a file"])
def test_nothing_is_lost_by_exporting_and_reading_again(contract: Contract) -> None:
    exported = build_contract_document(contract)
    assert not diff_contracts(contract, contract).changes
    assert not diff_documents(build_document(contract), read_document(exported, "exported")).changes
    assert not diff_contracts(contract, build_contract(exported, "exported")).changes
