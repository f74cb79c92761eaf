import threading

from tests.producer.drafts import draft

from tidings.producer.outbox.pending import PendingEvents
from tidings.producer.outbox.queue import OutboxLimits, QueuedEvent, Rank
from tidings.protocol.payloads import OperationStartData

START = OperationStartData(operation_id="op-1")


class Written(PendingEvents):
    """A ledger with short words for what tests do."""

    def __init__(self) -> None:
        super().__init__(OutboxLimits())
        self.number = 0

    def put(self, type: str, operation_id: str = "op-1") -> None:
        self.number += 1
        kind = type.removeprefix("operation:")
        rank = {"log": Rank.LOG, "progress": Rank.LATEST}.get(kind, Rank.LIFECYCLE)
        event = draft(self.number, type, operation_id)
        if rank is Rank.LIFECYCLE:
            self.holdings.noted(operation_id, event, START if kind == "start" else None)
        self.queue.put(event, rank, operation_id, ends=kind in ("complete", "failed", "cancelled"))

    def send(self, count: int = 1) -> list[QueuedEvent]:
        entries = []
        for _ in range(count):
            entry = self.queue.head()
            assert entry is not None
            self.sent(entry)
            entries.append(entry)
        return entries

    def kinds(self) -> list[str]:
        return [entry.draft.type.removeprefix("operation:") for entry in self.queue]


def written(*kinds: str) -> Written:
    ledger = Written()
    for kind in kinds:
        ledger.put(f"operation:{kind}")
    return ledger


def test_what_a_lost_connection_left_unanswered_comes_before_what_waits() -> None:
    ledger = written("start", "log", "progress", "log", "complete")
    sent = ledger.send(3)
    ledger.settle(sent[1], accepted=True)
    ledger.connection_lost()
    assert ledger.kinds() == ["start", "progress", "log", "complete"]
    assert ledger.statistics().unacknowledged == 0
    assert ledger.left() == 4


def test_what_may_come_later_comes_back_when_nothing_is_on_its_way() -> None:
    ledger = written("start", "log", "complete")
    first, second = ledger.send(2)
    ledger.come_back(first)
    assert not ledger.restore()
    ledger.settle(second, accepted=True)
    assert ledger.restore()
    assert ledger.kinds() == ["start", "complete"]


def test_an_answer_to_what_was_withdrawn_is_nothing() -> None:
    ledger = written("log")
    (entry,) = ledger.send()
    ledger.connection_lost()
    ledger.come_back(entry)
    assert ledger.left() == 1


def test_what_its_end_has_overtaken_is_not_sent_any_more() -> None:
    """The log was full for the start, and had room for the end: the start now would begin another attempt."""
    ledger = written("start", "log", "complete")
    ledger.put("operation:start", "op-2")
    start, line, end, other = ledger.send(4)
    for entry in (start, line, other):
        ledger.come_back(entry)
    assert ledger.settle(end, accepted=True) == [start, line]
    assert ledger.restore()
    assert [entry.key for entry in ledger.queue] == ["op-2"]
    assert ledger.statistics().refused == 2
    assert ledger.holdings.get("op-1") is None


def test_the_next_attempts_start_goes_before_everything() -> None:
    ledger = written("log", "complete")
    ledger.put("operation:log", "op-2")
    ledger.restart(draft(99), "op-1")
    assert ledger.kinds() == ["start", "log", "complete", "log"]
    ledger.restart(draft(100, operation_id="op-2"), "op-2")
    assert [entry.key for entry in ledger.queue][:2] == ["op-2", "op-1"]


def test_dropping_takes_one_operations_events_alone() -> None:
    ledger = written("start", "log", "progress")
    ledger.put("operation:log", "op-2")
    ledger.queue.put(draft(50, "data:update"), Rank.DURABLE, "op-1")
    assert [entry.draft.type for entry in ledger.drop("op-1")] == [
        "operation:start",
        "operation:log",
        "operation:progress",
    ]
    assert ledger.kinds() == ["log", "data:update"]


def test_of_what_is_finished_its_end_and_the_next_attempt_stay() -> None:
    ledger = written("log", "progress", "complete", "start", "log")
    assert [entry.draft.type for entry in ledger.drop_finished("op-1")] == ["operation:log", "operation:progress"]
    assert ledger.kinds() == ["complete", "start", "log"]
    assert ledger.drop_finished("op-9") == []


def test_the_attempt_that_the_hub_names_is_the_operations() -> None:
    ledger = written("start")
    (start,) = ledger.send()
    ledger.settle(start, accepted=True, attempt=7)
    held = ledger.holdings.get("op-1")
    assert held is not None
    assert (held.attempt, held.begun) == (7, True)


def test_waiting_ends_with_the_last_answer_or_with_the_end() -> None:
    ledger = written("log")
    assert ledger.wait_settled(0.01, adopted=False) == 1
    (entry,) = ledger.send()
    ended: list[int] = []
    waiting = threading.Thread(target=lambda: ended.append(ledger.wait_settled(10, adopted=True)))
    ledger.adoption(running=True)
    waiting.start()
    ledger.settle(entry, accepted=True)
    assert ledger.wait_settled(10, adopted=False) == 0
    waiting.join(0.05)
    assert waiting.is_alive(), "what dead producers left is being sent"
    ledger.adoption(running=False)
    waiting.join(10)
    assert ended == [0]
    ledger.put("operation:log")
    ledger.stop()
    assert ledger.wait_settled(10, adopted=True) == 1
