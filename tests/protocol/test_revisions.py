"""The golden corpus: what a reader of each revision gets, byte by byte."""

import json
from pathlib import Path

import pytest
from msgspec import structs
from tests.contract.receipts import read

from tidings.contract.contract import Contract
from tidings.protocol.envelope import encode_event
from tidings.protocol.message_types import MessageType
from tidings.protocol.revisions import OLDEST_REVISION, REVISION, REVISIONS

CORPUS = Path(__file__).parents[1] / "contract" / "revisions"


def lines(name: str) -> list[bytes]:
    return (CORPUS / f"{name}.ndjson").read_bytes().splitlines()


@pytest.mark.parametrize("date", REVISIONS)
def test_events_are_written_as_the_corpus_has_them(date: str) -> None:
    events = [read(line) for line in lines("published")]
    assert [encode_event(REVISIONS[date].read(event)) for event in events] == lines(date)


@pytest.mark.parametrize("date", REVISIONS)
def test_what_a_revision_writes_is_read_again(date: str) -> None:
    for line in lines(date):
        event = read(line)
        assert event.type in Contract().events


def test_every_type_that_is_rewritten_is_in_the_corpus() -> None:
    published = {read(line).type for line in lines("published")}
    assert {type for revision in REVISIONS.values() for type in revision.rewrites} <= published
    assert MessageType.OPERATION_CANCELLED in published


def test_the_newest_revision_rewrites_nothing() -> None:
    assert list(REVISIONS) == sorted(REVISIONS) == [OLDEST_REVISION, REVISION]
    assert REVISIONS[REVISION].rewrites == {}


def test_each_revision_has_its_own_identity() -> None:
    identities = Contract().identities
    assert {date: identity.version for date, identity in identities.items()} == {date: date for date in REVISIONS}
    assert len({identity.hash for identity in identities.values()}) == len(REVISIONS)


def test_what_does_not_fit_is_told_all_the_same() -> None:
    """Delivery must go on for everyone, whatever an older contract has left in the log."""
    event = structs.replace(read(lines("published")[5]), data=b'{"reason":5}', key="op-9")
    told = json.loads(encode_event(REVISIONS[OLDEST_REVISION].read(event)))
    assert (told["type"], told["data"]["operation_id"], told["data"]["code"]) == (
        "operation:error",
        "op-9",
        "cancelled",
    )
