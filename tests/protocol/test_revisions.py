"""The golden corpus: the events as each revision writes them, byte by byte."""

import json
from pathlib import Path

import pytest
from msgspec import structs
from tests.contract.envelopes import read

from tidings.contract.contract import Contract
from tidings.protocol.envelope import encode_event
from tidings.protocol.message_types import MessageType
from tidings.protocol.revisions import OLDEST_REVISION, REVISION, REVISIONS

CORPUS = Path(__file__).parents[1] / "contract" / "revisions"


def lines(name: str) -> list[bytes]:
    return (CORPUS / f"{name}.ndjson").read_bytes().splitlines()


@pytest.mark.parametrize("date", REVISIONS)
def test_events_are_encoded_as_in_the_corpus(date: str) -> None:
    events = [read(line) for line in lines("published")]
    assert [encode_event(REVISIONS[date].read(event)) for event in events] == lines(date)


@pytest.mark.parametrize("date", REVISIONS)
def test_events_of_a_revision_are_readable(date: str) -> None:
    for line in lines(date):
        event = read(line)
        assert event.type in Contract().events


def test_each_rewritten_type_is_in_the_corpus() -> None:
    published = {read(line).type for line in lines("published")}
    assert {type for revision in REVISIONS.values() for type in revision.rewrites} <= published
    assert MessageType.OPERATION_CANCELLED in published


def test_newest_revision_rewrites_nothing() -> None:
    assert list(REVISIONS) == sorted(REVISIONS) == [OLDEST_REVISION, REVISION]
    assert REVISIONS[REVISION].rewrites == {}


def test_each_revision_has_its_own_identity() -> None:
    identities = Contract().identities
    assert {date: identity.version for date, identity in identities.items()} == {date: date for date in REVISIONS}
    assert len({identity.hash for identity in identities.values()}) == len(REVISIONS)


def test_invalid_cancellation_is_still_rewritten() -> None:
    """Delivery must continue for all readers, whatever an older contract has left in the log."""
    event = structs.replace(read(lines("published")[5]), data=b'{"reason":5}', key="op-9")
    rewritten = json.loads(encode_event(REVISIONS[OLDEST_REVISION].read(event)))
    assert (rewritten["type"], rewritten["data"]["operation_id"], rewritten["data"]["code"]) == (
        "operation:error",
        "op-9",
        "cancelled",
    )
