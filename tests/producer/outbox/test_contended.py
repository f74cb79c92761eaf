"""Operations that start while another producer still holds them."""

import json
from collections.abc import Iterator

import msgspec
import pytest
from msgspec import Raw
from tests.client.hub_server import QUIET, TIMEOUT_S, HubServer
from tests.client.waiting import PROMPT
from tests.producer.held import Cut, told, until

from tidings.client.drafts import Draft
from tidings.client.publish_queue import QueuedEvent, Rank
from tidings.exceptions import CommandRefused, OperationExists, OperationFenced, OperationFinished, TidingsError
from tidings.producer.outbox.contended import ContendedOperations
from tidings.producer.outbox.outbox import Outbox
from tidings.protocol.message_types import MessageType

PATIENT = msgspec.structs.replace(PROMPT, wait_for_hub=True)
EXISTS, FENCED = OperationExists.code, OperationFenced.code


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer(config=msgspec.structs.replace(QUIET, lease_s=1.0)) as server:
        yield server


def entry(number: int, what: str = "log", key: str | None = "op-1", **data: object) -> QueuedEvent:
    ends = what in ("complete", "failed", "cancelled")
    rank = Rank.LIFECYCLE if ends or what == "start" else Rank.LATEST if what == "progress" else Rank.LOG
    type = f"operation:{what}" if what != "update" else "data:update"
    slot = (type, key) if rank is Rank.LATEST else None
    return QueuedEvent(
        number, Draft(type=type, data=Raw(json.dumps(data).encode()), timestamp="", event_id=""), rank, slot, key, ends
    )


class TestContendedOperations:
    def test_contended_start_holds_back_later_events(self) -> None:
        contended = ContendedOperations()
        assert contended.add_refused(start := entry(1, "start"), EXISTS) == 1
        assert contended.add_refused(sent := entry(2), FENCED) == 1
        assert contended.hold_back(later := entry(3, "complete"))
        assert not contended.hold_back(entry(4, key="op-2"))
        assert not contended.hold_back(entry(5, "update"))
        assert (len(contended), list(contended)) == (3, ["op-1"])
        assert contended.retry() == [start]
        assert contended.retry() == []  # it is on its way
        assert not contended.hold_back(start)
        assert contended.add_refused(start, EXISTS) == 2
        assert contended.retry() == [start]
        assert contended.settle(start) == [sent, later]
        assert len(contended) == 0

    def test_event_behind_a_contended_start_outlives_the_end_of_the_other_attempt(self) -> None:
        contended = ContendedOperations()
        contended.add_refused(start := entry(2, "start"), EXISTS)
        assert contended.add_refused(entry(1, "complete"), OperationFinished.code) == 0  # of an earlier attempt
        assert contended.add_refused(end := entry(3, "complete"), OperationFinished.code) == 1
        contended.retry()
        assert contended.settle(start) == [end]

    @pytest.mark.parametrize(
        ("refused", "code"),
        [
            (entry(1, "start"), OperationFinished.code),
            (entry(1, "start"), FENCED),
            (entry(1, "start", queued=True), EXISTS),
            (entry(1, "progress"), FENCED),
            (entry(1, "update", key="op-1"), EXISTS),
        ],
    )
    def test_other_refusals_are_final(self, refused: QueuedEvent, code: str) -> None:
        assert ContendedOperations().add_refused(refused, code) == 0

    def test_held_back_events_are_conflated_and_bounded(self) -> None:
        contended = ContendedOperations()
        start = entry(1, "start")
        contended.add_refused(start, EXISTS)
        contended.hold_back(entry(2, "progress"))
        contended.hold_back(newest := entry(3, "progress"))
        for number in range(4, 3_000):
            contended.hold_back(entry(number))
        contended.hold_back(end := entry(3_000, "complete"))
        behind = contended.settle(start)
        assert len(behind) == 2_000
        assert newest not in behind  # the oldest of what may go
        assert behind[-1] is end


def begin(outbox: Outbox) -> None:
    outbox.put_nowait(MessageType.OPERATION_START, {"operation_id": "op-1", "name": "import"})


def types(hub: HubServer) -> list[str]:
    return [type for type, _ in told(hub) if type != "alert"]


def test_contended_operation_starts_after_the_dead_producers_lease(hub: HubServer) -> None:
    errors: list[TidingsError] = []
    first = Outbox(hub.url, spool=None)
    begin(first)
    assert first.flush(TIMEOUT_S) == 0
    with Outbox(hub.url, spool=None, on_error=errors.append) as second:
        begin(second)
        second.put_nowait(MessageType.OPERATION_PROGRESS, {"operation_id": "op-1", "progress": 10})
        second.put_nowait("data:update", {"dataset": "prices"})
        until(lambda: "data:update" in types(hub))
        second.put_nowait(MessageType.OPERATION_LOG, {"operation_id": "op-1", "message": "on it"})
        second.put_nowait(MessageType.OPERATION_COMPLETE, {"operation_id": "op-1"})
        until(lambda: len(errors) == 1)  # it was asked for twice
        assert second.statistics().waiting + second.statistics().unacknowledged == 4
        first.close()  # without an end, as one that dies
        assert second.flush(TIMEOUT_S) == 0
    assert types(hub) == ["start", "data:update", "failed", "start", "progress", "log", "complete"]
    assert isinstance(errors[0], CommandRefused)
    assert errors[0].refusal == EXISTS


def test_contended_operation_starts_after_the_other_ends(hub: HubServer) -> None:
    with Outbox(hub.url, spool=None) as first, Outbox(hub.url, spool=None) as second:
        begin(first)
        assert first.flush(TIMEOUT_S) == 0
        begin(second)
        second.put_nowait(MessageType.OPERATION_COMPLETE, {"operation_id": "op-1"})
        until(lambda: second.statistics().waiting == 2)
        failed = {"operation_id": "op-1", "code": "retry", "message": "again", "recoverable": True}
        assert first.put_nowait(MessageType.OPERATION_FAILED, failed)
        assert second.flush(TIMEOUT_S) == 0
    assert types(hub) == ["start", "failed", "start", "complete"]


def test_held_back_events_survive_a_lost_connection(hub: HubServer) -> None:
    with Outbox(hub.url, spool=None) as first, Cut(hub) as cut, Outbox(cut.url, spool=None, options=PATIENT) as second:
        begin(first)
        assert first.flush(TIMEOUT_S) == 0
        begin(second)
        second.put_nowait(MessageType.OPERATION_COMPLETE, {"operation_id": "op-1"})
        until(lambda: second.statistics().waiting == 2)
        cut.drop()
        assert first.put_nowait(MessageType.OPERATION_COMPLETE, {"operation_id": "op-1"})
        assert second.flush(TIMEOUT_S) == 0
    assert types(hub) == ["start", "complete", "start", "complete"]
