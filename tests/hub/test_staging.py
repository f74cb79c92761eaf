from collections.abc import Sequence

from tests.hub.events import make_draft, make_event

from tidings.exceptions import EventIDReused, LogFull, TidingsError
from tidings.hub.staging import PublishCallback, PublishResult, Staging
from tidings.log.memory import MemoryLog

ID = "0123456789abcdef"


class Publisher:
    """Stages events and keeps what it is told."""

    def __init__(self) -> None:
        self.log = MemoryLog("e")
        self.staging = Staging(self.log)
        self.told: list[tuple[str, int | str, bool]] = []

    def settled(self, name: str) -> PublishCallback:
        def settled(result: PublishResult | TidingsError) -> None:
            if isinstance(result, PublishResult):
                self.told.append((name, result.offset, result.duplicate))
            else:
                self.told.append((name, result.code, False))

        return settled

    def publish(self, name: str, *, event_id: str | None = None, data: bytes = b"{}", scope: str = "") -> None:
        draft = make_draft(make_event(data=data, event_id=event_id), scope)
        self.staging.add(draft, self.settled(name))

    def append(self, most: int = 100) -> list[str | None]:
        batch = self.staging.take(most)
        drafts = [staged.draft for staged in batch.staged]
        self.log.append(drafts, lambda first: self.staging.appended().commit(int(str(first))))
        return [draft.event.event_id for draft in drafts]


def test_a_batch_is_told_its_offsets_in_order() -> None:
    publisher = Publisher()
    for name in "abc":
        publisher.publish(name)
    assert len(publisher.staging) == 3
    publisher.append()
    assert publisher.told == [("a", 1, False), ("b", 2, False), ("c", 3, False)]
    assert len(publisher.staging) == 0


def test_at_most_so_many_are_taken_and_the_rest_in_its_order() -> None:
    publisher = Publisher()
    ids = [f"{number:016}" for number in range(5)]
    for event_id in ids:
        publisher.publish(event_id, event_id=event_id)
    assert [publisher.append(2) for _ in range(3)] == [ids[:2], ids[2:4], ids[4:]]
    assert [offset for _, offset, _ in publisher.told] == [1, 2, 3, 4, 5]


def test_the_same_event_id_again_is_the_first_event() -> None:
    publisher = Publisher()
    publisher.publish("first", event_id=ID)
    publisher.publish("same tick", event_id=ID)
    assert publisher.told == []
    publisher.append()
    publisher.publish("later", event_id=ID)
    assert publisher.told == [("first", 1, False), ("same tick", 1, True), ("later", 1, True)]
    assert len(publisher.staging) == 0


def test_while_the_log_appends_an_event_id_is_known_too() -> None:
    publisher = Publisher()
    publisher.publish("first", event_id=ID)
    batch = publisher.staging.take(10)
    publisher.publish("meanwhile", event_id=ID)
    assert len(publisher.staging) == 1
    assert publisher.staging.appended() is batch
    batch.commit(7)
    assert publisher.told == [("first", 7, False), ("meanwhile", 7, True)]


def test_an_event_id_of_another_event_is_refused_wherever_it_is() -> None:
    publisher = Publisher()
    publisher.publish("first", event_id=ID)
    publisher.publish("staged", event_id=ID, data=b"[]")
    publisher.append()
    results: list[PublishResult | TidingsError] = []
    publisher.staging.add(make_draft(make_event(data=b"[]", event_id=ID)), results.append)
    assert publisher.told == [("staged", "event_id_reused", False), ("first", 1, False)]
    (error,) = results
    assert isinstance(error, EventIDReused)
    assert error.position == "e:1"


def test_event_ids_are_apart_in_each_scope() -> None:
    publisher = Publisher()
    publisher.publish("mine", event_id=ID, scope="me")
    publisher.publish("yours", event_id=ID, scope="you")
    publisher.append()
    assert publisher.told == [("mine", 1, False), ("yours", 2, False)]


def test_a_batch_that_is_dropped_tells_everyone_and_forgets_its_event_ids() -> None:
    publisher = Publisher()
    publisher.publish("first", event_id=ID)
    publisher.publish("again", event_id=ID)
    publisher.staging.take(10)
    publisher.staging.appended().fail(LogFull("no room"))
    assert publisher.told == [("first", "log_full", False), ("again", "log_full", False)]
    publisher.publish("anew", event_id=ID)
    publisher.append()
    assert publisher.told[2:] == [("anew", 1, False)]


def test_one_that_cannot_be_told_keeps_nobody_else_from_it() -> None:
    publisher = Publisher()

    def broken(result: PublishResult | TidingsError) -> None:
        raise RuntimeError("as if a future had been cancelled")

    publisher.staging.add(make_draft(make_event()), broken)
    publisher.publish("other")
    publisher.append()
    assert publisher.told == [("other", 2, False)]


def traces(staging: Staging, keys: Sequence[str]) -> list[str | None]:
    return [staging.operations.trace_id(key) for key in keys]


def test_operations_are_seen_from_staging_to_the_tail() -> None:
    log = MemoryLog("e")
    staging = Staging(log)
    for key in "ab":
        staging.add(make_draft(make_event("operation:start", key, trace_id=f"t{key}")), lambda _: None)
    assert traces(staging, "ab") == ["ta", "tb"]
    batch = staging.take(1)
    assert traces(staging, "ab") == ["ta", "tb"]
    staging.appended()
    assert traces(staging, "ab") == [None, "tb"]
    staging.committed(batch)
    assert traces(staging, "ab") == ["ta", "tb"]
    log.append([batch.staged[0].draft], lambda _: None)
    staging.folded()
    assert traces(staging, "ab") == ["ta", "tb"]
    staging.clear()
    assert traces(staging, "ab") == ["ta", None]
