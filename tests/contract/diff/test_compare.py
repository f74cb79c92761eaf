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
from tidings.exceptions import InvalidContract

MUTATIONS: tuple[Case, ...] = (*ROWS, *FIELDS, *VALUES)
WORDS = {Compatibility.BREAKING: "breaks", Compatibility.COMPATIBLE: "fits", Compatibility.ANNOTATION: "note"}
SHOP = read_contract(TOML, "shop.toml", form="toml")


def told(change: Change) -> str:
    event = "" if change.event in ("", "trade:executed") else f"{change.event} "
    effects = "/".join(WORDS[effect.verdict] for effect in (change.readers, change.writers))
    return f"{event}{change.rule.id} {change.path or '-'} {effects}"


@pytest.mark.parametrize(("about", "mutations", "expected"), MUTATIONS, ids=[case[0] for case in MUTATIONS])
def test_mutation_has_its_verdicts(about: str, mutations: tuple[Any, ...], expected: tuple[str, ...]) -> None:
    found = diff_documents(document(BASE), document(mutated(*mutations)))
    assert sorted(map(told, found.changes)) == sorted(expected)


def test_mutations_are_many_and_have_unique_names() -> None:
    assert len(MUTATIONS) > 100
    assert len({case[0] for case in MUTATIONS}) == len(MUTATIONS)


def test_every_rule_is_covered_by_a_mutation_or_its_reverse() -> None:
    met = set()
    for _, mutations, _ in MUTATIONS:
        before, after = document(BASE), document(mutated(*mutations))
        for one, other in ((before, after), (after, before)):
            met |= {change.rule.id for change in diff_documents(one, other).changes}
    assert met == set(RULES)


@pytest.mark.parametrize(("about", "mutations"), [case[:2] for case in MUTATIONS], ids=[case[0] for case in MUTATIONS])
def test_contract_does_not_differ_from_itself(about: str, mutations: tuple[Any, ...]) -> None:
    assert not diff_documents(document(mutated(*mutations)), document(mutated(*mutations))).changes


@pytest.mark.parametrize("contract", [Contract(), SHOP], ids=["everyone's", "from a file"])
def test_exported_contract_does_not_differ_from_its_origin(contract: Contract) -> None:
    exported = build_contract_document(contract)
    assert not diff_contracts(contract, contract).changes
    assert not diff_documents(build_document(contract), read_document(exported, "exported")).changes
    assert not diff_contracts(contract, build_contract(exported, "exported")).changes


WRITTEN = {"events": [{"type": "trade:made", "channel": "trades", "fields": {"id": "string"}}]}


def test_written_contract_has_the_catalogue_added() -> None:
    types = [row.type for row in read_document(WRITTEN, "here").events]
    assert types == [*Contract().events, "trade:made"]


def test_exported_contract_is_compared_unchanged() -> None:
    assert [row.type for row in document(BASE).events] == [row["type"] for row in BASE["events"]]


def test_catalogue_of_another_version_is_compared() -> None:
    other = build_contract_document(Contract())
    other["events"] = [row for row in other["events"] if row["type"] != "operation:estimate"]
    found = diff_documents(read_document(other, "an older hub"), build_document(Contract()))
    assert [(each.event, each.rule.id) for each in found.changes] == [("operation:estimate", "event-added")]


@pytest.mark.parametrize(
    ("decoded", "fault"),
    [
        (None, "no list of events"),
        ({"hash": "sha256:0"}, "invalid exported contract"),
        ({**BASE, "tidings": "contract/9"}, "'contract/9'"),
        ({**BASE, "events": [{"type": "a:b"}]}, "payload"),
        ({"events": [{"type": "a:b"}]}, "either fields, or a payload"),
    ],
)
def test_invalid_contract_is_rejected_with_its_source(decoded: Any, fault: str) -> None:
    with pytest.raises(InvalidContract, match=fault) as caught:
        read_document(decoded, "shop.json")
    assert "shop.json" in str(caught.value)


def test_reference_without_definition_is_rejected() -> None:
    with pytest.raises(InvalidContract, match="is not in"):
        diff_documents(document(BASE), document(mutated(lambda changed: changed["$defs"].pop("Venue"))))
