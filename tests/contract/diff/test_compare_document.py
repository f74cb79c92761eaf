from typing import Any

import pytest
from tests.contract.diff.shop import BASE, document, mutated

from tidings.contract.contract import Contract
from tidings.contract.diff.compare import build_document, diff_documents, read_document
from tidings.contract.export.document import build_contract_document
from tidings.exceptions import InvalidContract

WRITTEN = {"events": [{"type": "trade:made", "channel": "trades", "fields": {"id": "string"}}]}


def test_a_written_contract_has_every_hubs_events_too() -> None:
    types = [row.type for row in read_document(WRITTEN, "here").events]
    assert types == [*Contract().events, "trade:made"]


def test_an_exported_one_is_taken_as_it_is() -> None:
    assert [row.type for row in document(BASE).events] == [row["type"] for row in BASE["events"]]


def test_what_another_tidings_says_of_the_events_of_every_hub_is_compared() -> None:
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
def test_what_is_no_contract_is_told_with_its_source(decoded: Any, fault: str) -> None:
    with pytest.raises(InvalidContract, match=fault) as caught:
        read_document(decoded, "shop.json")
    assert "shop.json" in str(caught.value)


def test_what_refers_to_nothing_is_told() -> None:
    with pytest.raises(InvalidContract, match="is not in"):
        diff_documents(document(BASE), document(mutated(lambda changed: changed["$defs"].pop("Venue"))))
