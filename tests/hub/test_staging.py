from collections.abc import Sequence

import pytest
from tests.hub.events import make_entry, make_event

from tidings.exceptions import LogError, LogFull
from tidings.hub.staging import PublishCallback, Staging
from tidings.log.base import EventToAppend, Outcome, PublishResult
from tidings.log.memory import MemoryLog

ID = "0123456789abcdef"


class Publisher:
    """Stages events and records their results."""

    def __init__(self) -> None:
        self.log = MemoryLog("e")
        self.staging = Staging()
        self.appended = 0
        self.results: list[tuple[str, int | str, bool]] = []

    def settled(self, name: str) -> PublishCallback:
        def settled(result: Outcome) -> None:
            if isinstance(result, PublishResult):
                self.results.append((name, result.offset, result.duplicate))
            else:
                self.results.append((name, result.code, False))

        return settled

    def publish(self, name: str, *, event_id: str | None = None, data: bytes = b"{}", scope: str = "") -> None:
        entry = make_entry(make_event(data=data, event_id=event_id), scope)
        self.staging.add(entry, self.settled(name))

    def _appended(self, outcomes: Sequence[Outcome] | LogError) -> None:
        assert not isinstance(outcomes, LogError)
        self.appended += self.staging.appended().settle(outcomes)

    def append(self, most: int = 100, max_bytes: int = 1 << 20) -> list[str | None]:
        batch = self.staging.take(most, max_bytes)
        entries = [staged.entry for staged in batch.staged]
        self.log.append(entries, self._appended)
        return [entry.event.event_id for entry in entries]


def test_settle_reports_offsets_in_order() -> None:
    publisher = Publisher()
    for name in "abc":
        publisher.publish(name)
    assert len(publisher.staging) == 3
    publisher.append()
    assert publisher.results == [("a", 1, False), ("b", 2, False), ("c", 3, False)]
    assert len(publisher.staging) == 0


def test_take_is_bounded_and_keeps_the_order() -> None:
    publisher = Publisher()
    ids = [f"{number:016}" for number in range(5)]
    for event_id in ids:
        publisher.publish(event_id, event_id=event_id)
    assert [publisher.append(2) for _ in range(3)] == [ids[:2], ids[2:4], ids[4:]]
    assert [offset for _, offset, _ in publisher.results] == [1, 2, 3, 4, 5]


def test_take_is_bounded_by_bytes() -> None:
    publisher = Publisher()
    ids = [f"{number:016}" for number in range(5)]
    for event_id, size in zip(ids, (400, 400, 400, 5_000, 100), strict=True):
        publisher.publish(event_id, event_id=event_id, data=b'"%b"' % (b"x" * (size - 2)))
    assert [publisher.append(max_bytes=1_000) for _ in range(4)] == [ids[:2], ids[2:3], ids[3:4], ids[4:]]


def test_repeated_event_id_returns_the_first_event() -> None:
    publisher = Publisher()
    publisher.publish("first", event_id=ID)
    publisher.publish("same tick", event_id=ID)
    assert publisher.results == []
    publisher.append()
    publisher.publish("later", event_id=ID)
    publisher.append()
    assert publisher.results == [("first", 1, False), ("same tick", 1, True), ("later", 1, True)]
    assert len(publisher.staging) == 0


def test_event_id_is_known_after_the_append_before_it() -> None:
    publisher = Publisher()
    publisher.publish("first", event_id=ID)
    batch = publisher.staging.take(10, 1 << 20)
    publisher.publish("during the append", event_id=ID)
    assert len(publisher.staging) == 2
    publisher.log.append([staged.entry for staged in batch.staged], publisher._appended)
    publisher.append()
    assert publisher.results == [("first", 1, False), ("during the append", 1, True)]
    assert publisher.appended == 1


def test_event_id_of_another_event_is_refused() -> None:
    publisher = Publisher()
    publisher.publish("first", event_id=ID)
    publisher.publish("other", event_id=ID, data=b"[]")
    publisher.append()
    assert publisher.results == [("first", 1, False), ("other", "event_id_reused", False)]


def test_event_ids_are_unique_per_scope() -> None:
    publisher = Publisher()
    publisher.publish("mine", event_id=ID, scope="me")
    publisher.publish("yours", event_id=ID, scope="you")
    publisher.append()
    assert publisher.results == [("mine", 1, False), ("yours", 2, False)]


def test_failed_batch_reports_to_all_and_frees_its_event_ids() -> None:
    publisher = Publisher()
    publisher.publish("first", event_id=ID)
    publisher.publish("again", event_id=ID)
    publisher.staging.take(10, 1 << 20)
    publisher.staging.appended().fail(LogFull("no room"))
    assert publisher.results == [("first", "log_full", False), ("again", "log_full", False)]
    publisher.publish("retried", event_id=ID)
    publisher.append()
    assert publisher.results[2:] == [("retried", 1, False)]


def test_failing_callback_does_not_block_the_others() -> None:
    publisher = Publisher()

    def broken(result: Outcome) -> None:
        raise RuntimeError("as if a future had been cancelled")

    publisher.staging.add(make_entry(make_event()), broken)
    publisher.publish("other")
    publisher.append()
    assert publisher.results == [("other", 2, False)]


def test_step_is_due_between_the_events_around_it() -> None:
    publisher = Publisher()
    steps: list[str] = []
    for name in ("a", "b"):
        publisher.publish(name)
    publisher.staging.add_step(lambda: steps.append("after b"))
    publisher.publish("c")
    publisher.staging.add_step(lambda: steps.append("after c"))
    for taken, due in ((2, "after b"), (1, "after c")):
        assert publisher.staging.due_step() is None
        assert len(publisher.append()) == taken
        step = publisher.staging.due_step()
        assert step is not None
        step()
        assert steps[-1] == due
    assert not publisher.staging.waits


def test_step_is_due_after_the_events_before_it_are_dropped() -> None:
    publisher = Publisher()
    publisher.publish("a")
    publisher.staging.take(10, 1 << 20)
    publisher.publish("b")
    publisher.staging.add_step(lambda: None)
    assert publisher.staging.due_step() is None
    for batch in publisher.staging.drop():
        batch.fail(LogFull("no room"))
    assert [name for name, code, _ in publisher.results if code == "log_full"] == ["a", "b"]
    assert publisher.staging.waits
    assert publisher.staging.due_step() is not None
    assert not publisher.staging.waits


@pytest.mark.parametrize("max_events", [1, 2, 100])
def test_stage_is_full_until_events_are_appended(max_events: int) -> None:
    staging = Staging(max_events=max_events)
    for _ in range(max_events):
        assert not staging.full
        staging.add(make_entry(make_event()), lambda _: None)
    assert staging.full
    staging.take(1, 1 << 20)
    staging.appended()
    assert not staging.full


def test_batch_of_a_log_that_takes_a_few_events_has_no_more() -> None:
    publisher = Publisher()
    asked: list[int] = []

    def count_fitting(batch: Sequence[EventToAppend]) -> int:
        asked.append(len(batch))
        return min(len(batch), 3)

    publisher.staging = Staging(count_fitting=count_fitting)
    for number in range(8):
        publisher.publish(str(number))
    assert [len(publisher.append(most=4)) for _ in range(4)] == [3, 3, 2, 0]
    assert asked == [4, 4, 2, 0]
    assert [name for name, _, _ in publisher.results] == [str(number) for number in range(8)]
