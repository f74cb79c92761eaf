import threading

import pytest
from tests.producer.drafts import draft

from tidings.client.publish_queue import QueuedEvent, QueueLimits, Rank
from tidings.producer.outbox.contended import operation_of
from tidings.producer.outbox.holder import OutboxHolder
from tidings.producer.outbox.pending import PendingEvents
from tidings.protocol.messages import Accepted, Attached, Verdict
from tidings.protocol.payloads import OperationStartData

START = OperationStartData(operation_id="op-1")


ACCEPTED = Accepted(position="e:1")


class Written(PendingEvents):
    """Pending events with short words for what tests do."""

    def __init__(self) -> None:
        super().__init__(QueueLimits())
        self.number = 0

    def add(self, type: str, operation_id: str = "op-1") -> None:
        self.number += 1
        kind = type.removeprefix("operation:")
        rank = {"log": Rank.LOG, "progress": Rank.LATEST}.get(kind, Rank.LIFECYCLE)
        event = draft(self.number, type, operation_id)
        ends = kind in ("complete", "failed", "cancelled")
        assert self.offer(event, rank, operation_id, ends=ends, start=START if kind == "start" else None)

    def kinds(self) -> list[str]:
        return [entry.draft.type.removeprefix("operation:") for entry in self]


def written(*kinds: str) -> Written:
    pending = Written()
    for kind in kinds:
        pending.add(f"operation:{kind}")
    return pending


def types(entries: list[QueuedEvent]) -> list[str]:
    return [entry.draft.type for entry in entries]


def test_unanswered_events_of_a_lost_connection_go_first() -> None:
    pending = written("start", "log", "progress", "log", "complete")
    sent = pending.take(3)
    pending.accept(sent[1], ACCEPTED)
    pending.connection_lost()
    assert pending.kinds() == ["start", "progress", "log", "complete"]
    assert pending.statistics().unacknowledged == 0
    assert pending.left == 4


def test_event_given_back_waits_until_nothing_is_in_flight() -> None:
    pending = written("start", "log", "complete")
    first, second = pending.take(2)
    pending.give_back(first)
    assert not pending.resume()
    pending.accept(second, ACCEPTED)
    assert pending.resume()
    assert pending.kinds() == ["start", "complete"]


def test_answer_after_a_lost_connection_is_ignored() -> None:
    pending = written("log")
    (entry,) = pending.take(1)
    pending.connection_lost()
    pending.give_back(entry)
    assert pending.left == 1


def test_events_overtaken_by_their_end_are_dropped() -> None:
    """The log was full for the start and had room for the end: sent now, the start would begin another attempt."""
    pending = written("start", "log", "complete")
    pending.add("operation:start", "op-2")
    start, line, end, other = pending.take(4)
    for entry in (start, line, other):
        pending.give_back(entry)
    assert pending.accept(end, ACCEPTED) == [start, line]
    assert pending.resume()
    assert [entry.key for entry in pending] == ["op-2"]
    assert pending.statistics().refused == 2
    assert pending.held("op-1") is None


def test_restart_goes_before_all_waiting_events() -> None:
    pending = written("log", "complete")
    pending.add("operation:log", "op-2")
    pending.restart({"op-1": draft(99)})
    assert pending.kinds() == ["start", "log", "complete", "log"]
    pending.restart({"op-2": draft(100, operation_id="op-2")})
    assert [entry.key for entry in pending][:2] == ["op-2", "op-1"]


def test_abandon_drops_only_the_operations_events() -> None:
    pending = written("start", "log", "progress")
    pending.add("operation:log", "op-2")
    pending.offer(draft(50, "data:update"), Rank.DURABLE, "op-1")
    assert types(pending.abandon({"op-1"})) == ["operation:start", "operation:log", "operation:progress"]
    assert pending.kinds() == ["log", "data:update"]


def test_finished_attempt_keeps_its_end_and_the_next_attempt() -> None:
    pending = written("log", "progress", "complete", "start", "log")
    assert types(pending.drop_finished({"op-1"})) == ["operation:log", "operation:progress"]
    assert pending.kinds() == ["complete", "start", "log"]
    assert pending.drop_finished({"op-9"}) == []


def test_verdicts_of_many_operations_walk_the_waiting_events_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pending = PendingEvents(QueueLimits(events=10_000))
    ids = [f"op-{number}" for number in range(300)]
    for operation_id in ids:
        pending.hold(operation_id, lease_s=None, trace_id=None, on_cancel=None, on_lost=None)
        pending.confirm(operation_id, 1)
        pending.offer(draft(1, "operation:log", operation_id), Rank.LIFECYCLE, operation_id)
    asked = 0

    def counting(entry: QueuedEvent) -> str | None:
        nonlocal asked
        asked += 1
        return operation_of(entry)

    monkeypatch.setattr("tidings.producer.outbox.pending.operation_of", counting)
    holder = OutboxHolder("p-1", None, pending=pending, report=lambda error: None)
    for verdict in ("lost", "finished"):
        asked = 0
        verdicts = [Verdict(operation_id=id, attempt=1, verdict=verdict) for id in ids]
        holder.attached(Attached(producer_id="p-1", lease_s=30.0, operations=verdicts))
        assert asked <= 3 * len(ids)


def test_accepted_start_sets_the_attempt() -> None:
    pending = written("start")
    (start,) = pending.take(1)
    pending.accept(start, Accepted(position="e:1", attempt=7))
    held = pending.held("op-1")
    assert held is not None
    assert (held.attempt, held.begun) == (7, True)


def test_wait_settled_ends_with_the_last_answer_or_the_stop() -> None:
    pending = written("log")
    assert pending.wait_settled(0.01) == 1
    (entry,) = pending.take(1)
    ended: list[int] = []
    waiting = threading.Thread(target=lambda: ended.append(pending.wait_closable(10)))
    pending.note_recovery(running=True)
    waiting.start()
    pending.accept(entry, ACCEPTED)
    assert pending.wait_settled(10) == 0
    waiting.join(0.05)
    assert waiting.is_alive(), "what dead producers left is being sent"
    pending.note_recovery(running=False)
    waiting.join(60)
    assert ended == [0]
    pending.add("operation:log")
    pending.stop()
    assert pending.wait_closable(10) == 1
