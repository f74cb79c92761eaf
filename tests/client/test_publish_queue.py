from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tidings.client.drafts import Draft, make_unstamped
from tidings.client.publish_queue import PublishQueue, QueuedEvent, QueueLimits, Rank, WindowLimits, rank_of
from tidings.contract.contract import Contract
from tidings.protocol.messages import Accepted

EVENTS = Contract().events


def draft(name: str, size: int = 2) -> Draft:
    return Draft(type="data:update", data=Raw(b"x" * size), timestamp=name, event_id="0123456789abcdef")


def names(entries: Iterable[QueuedEvent]) -> list[str]:
    return [entry.draft.timestamp for entry in entries]


def drained(queue: PublishQueue) -> list[str]:
    taken = names(queue)
    assert names(queue.take(1_000)) == taken
    assert queue.take(1_000) == []
    return taken


def test_rank_follows_the_catalogue() -> None:
    assert rank_of(EVENTS["operation:progress"]) is Rank.LATEST
    assert rank_of(EVENTS["operation:log"]) is Rank.LOG
    assert rank_of(EVENTS["data:update"]) is Rank.DURABLE
    for type in ("operation:start", "operation:complete", "operation:failed", "operation:cancelled"):
        assert rank_of(EVENTS[type]) is Rank.LIFECYCLE
    assert rank_of(None) is Rank.DURABLE


def test_queue_keeps_order_and_moves_latest_to_the_end() -> None:
    queue = PublishQueue(QueueLimits())
    queue.put(draft("p1"), Rank.LATEST, "a")
    queue.put(draft("log"), Rank.LOG, "a")
    queue.put(draft("other"), Rank.LATEST, "b")
    queue.put(draft("p2"), Rank.LATEST, "a")
    assert drained(queue) == ["log", "other", "p2"]
    assert queue.conflated == 1


def test_full_queue_sheds_the_oldest_of_the_lowest_rank() -> None:
    queue = PublishQueue(QueueLimits(events=4))
    queue.put(draft("start"), Rank.LIFECYCLE, "a")
    queue.put(draft("log1"), Rank.LOG, "a")
    queue.put(draft("p"), Rank.LATEST, "a")
    queue.put(draft("update"), Rank.DURABLE, "a")
    assert queue.put(draft("log2"), Rank.LOG, "a"), "progress goes first"
    assert queue.put(draft("update2"), Rank.DURABLE, "a"), "then a log line"
    assert queue.put(draft("log3"), Rank.LOG, "a"), "the newest line is worth more than the oldest"
    assert queue.put(draft("complete"), Rank.LIFECYCLE, "a"), "an end is worth any line"
    assert not queue.put(draft("log4"), Rank.LOG, "a"), "and a line is worth nothing that is left"
    assert queue.put(draft("complete2"), Rank.LIFECYCLE, "a"), "an end outranks what is durable"
    assert drained(queue) == ["start", "update2", "complete", "complete2"]
    assert queue.shed == 6


def test_start_or_end_is_never_shed() -> None:
    queue = PublishQueue(QueueLimits(events=2))
    assert queue.put(draft("start"), Rank.LIFECYCLE, "a")
    assert queue.put(draft("end"), Rank.LIFECYCLE, "a")
    assert not queue.put(draft("start2"), Rank.LIFECYCLE, "b")
    assert drained(queue) == ["start", "end"]


def test_queue_is_bounded_by_bytes() -> None:
    queue = PublishQueue(QueueLimits(bytes=100))
    assert queue.put(draft("one", 60), Rank.LOG, "a")
    assert queue.put(draft("two", 60), Rank.LOG, "a")
    assert queue.waiting == 1
    assert not queue.put(draft("huge", 101), Rank.LIFECYCLE, "a")
    assert drained(queue) == ["two"], "nothing is shed in vain for what would never fit"


def test_event_put_back_takes_its_place_unless_superseded() -> None:
    queue = PublishQueue(QueueLimits())
    for name, rank in (("1", Rank.LOG), ("2", Rank.LATEST), ("3", Rank.LIFECYCLE)):
        queue.put(draft(name), rank, "a")
    assert len(queue.take(3)) == 3
    queue.put(draft("4"), Rank.LATEST, "a")
    queue.put(draft("5"), Rank.LOG, "a")
    queue.connection_lost()
    assert drained(queue) == ["1", "3", "4", "5"]
    assert queue.conflated == 1


def test_event_put_first_goes_before_all_others() -> None:
    queue = PublishQueue(QueueLimits())
    queue.put(draft("1"), Rank.LOG, "a")
    queue.put_first(draft("first"), Rank.LIFECYCLE, "a")
    queue.put_first(draft("before that"), Rank.LIFECYCLE, "b")
    queue.put(draft("2"), Rank.LOG, "a")
    assert drained(queue) == ["before that", "first", "1", "2"]


def test_dropped_event_frees_its_room() -> None:
    queue = PublishQueue(QueueLimits(events=3))
    queue.put(draft("1"), Rank.DURABLE, "a")
    queue.put(draft("p"), Rank.LATEST, "a")
    queue.put(draft("2"), Rank.DURABLE, "b")
    assert names(queue.drop(lambda entry: entry.key == "a")) == ["1", "p"]
    assert queue.put(draft("p2"), Rank.LATEST, "a")
    assert queue.put(draft("3"), Rank.DURABLE, "b")
    assert drained(queue) == ["2", "p2", "3"]
    assert (queue.conflated, queue.shed) == (0, 0)


def test_unstamped_event_gets_time_and_id_when_taken() -> None:
    queue = PublishQueue(QueueLimits())
    queue.put(make_unstamped("data:update", {}), Rank.LATEST, "a", at_ns=7)
    queue.put(draft("later"), Rank.LOG, "a")
    (first,) = queue.take(1)
    assert (first.at_ns, first.draft.timestamp) == (7, "1970-01-01T00:00:00.000000007Z")
    assert len(first.draft.event_id) == 36
    queue.connection_lost()
    assert queue.take(1) == [first]
    queue.connection_lost()
    queue.put(make_unstamped("data:update", {}), Rank.LATEST, "a", at_ns=8)
    assert names(queue) == ["later", ""], "it is superseded as before"


def test_event_put_back_into_a_full_queue_may_be_shed() -> None:
    queue = PublishQueue(QueueLimits(events=2))
    queue.put(draft("1"), Rank.LOG, "a")
    queue.put(draft("2"), Rank.LIFECYCLE, "a")
    assert len(queue.take(2)) == 2
    queue.put(draft("3"), Rank.DURABLE, "a")
    queue.connection_lost()
    assert drained(queue) == ["2", "3"]
    assert queue.shed == 1


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from(list(Rank)), st.integers(0, 3), st.integers(1, 40)),
            st.tuples(st.just("pop"), st.just(Rank.LOG), st.integers(1, 5), st.just(0)),
            st.tuples(st.just("back"), st.just(Rank.LOG), st.integers(0, 5), st.just(0)),
        ),
        max_size=120,
    )
)
def test_queue_is_bounded_ordered_and_counts_everything(script: list[tuple[str, Rank, int, int]]) -> None:
    limits = QueueLimits(events=8, bytes=150)
    queue = PublishQueue(limits)
    taken: list[QueuedEvent] = []
    put = gone = 0
    for kind, rank, number, size in script:
        if kind == "put":
            put += 1
            if queue.put(draft(str(put), size), rank, str(number)):
                assert queue.waiting <= limits.events
        elif kind == "pop":
            taken.extend(queue.take(number))
        else:
            for entry in taken[number:]:
                queue.accept(entry, Accepted(position="e:1"))
                gone += 1
            taken = []
            queue.connection_lost()
    assert queue.unacknowledged == len(taken)
    waiting = [int(name) for name in drained(queue)]
    assert waiting == sorted(waiting)
    assert len(waiting) == len(set(waiting))
    assert put == len(waiting) + len(taken) + gone + queue.shed + queue.conflated
    assert gone == queue.accepted


def queue_of(*sizes: int, window: WindowLimits, limits: QueueLimits = QueueLimits()) -> PublishQueue:  # noqa: B008
    queue = PublishQueue(limits, window)
    for number, size in enumerate(sizes):
        queue.put(draft(str(number), size), Rank.DURABLE)
    return queue


class TestWindow:
    def test_window_counts_events_and_bytes(self) -> None:
        queue = queue_of(90, 10, 5, window=WindowLimits(events=2, bytes=100))
        first, second = queue.take(10)
        queue.refuse(second)
        assert names(queue.take(10)) == ["2"]
        queue.put(draft("3", 6), Rank.DURABLE)
        assert queue.take(10) == []
        queue.accept(first, Accepted(position="e:1"))
        assert names(queue.take(10)) == ["3"]

    def test_event_larger_than_the_window_goes_alone(self) -> None:
        queue = queue_of(500, 1, 501, 2, window=WindowLimits(events=5, bytes=100))
        for size in (500, 1, 501, 2):
            (entry,) = queue.take(10)
            assert len(entry.draft.data) == size
            assert queue.take(10) == []
            queue.accept(entry, Accepted(position="e:1"))

    def test_withdrawn_event_frees_its_room(self) -> None:
        queue = queue_of(8, 10, 2, window=WindowLimits(events=2, bytes=10))
        (first,) = queue.take(10)
        large = next(iter(queue))
        assert queue.take(10) == [], "the large event is not overtaken"
        queue.withdraw(large)
        assert names(queue.take(10)) == ["2"]
        queue.withdraw(first)
        queue.withdraw(first)
        assert (queue.unacknowledged, queue.left) == (1, 1)

    @given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["accept", "refuse", "withdraw", "lost"]))))
    def test_window_gets_all_room_back(self, script: list[tuple[int, str]]) -> None:
        queue = PublishQueue(QueueLimits(), WindowLimits(events=3, bytes=40))
        for size, answer in script:
            queue.put(draft("", size), Rank.DURABLE)
            taken = queue.take(10)
            assert sum(len(entry.draft.data) for entry in taken) <= 40 or len(taken) == 1
            if not taken:
                continue
            if answer == "accept":
                queue.accept(taken[0], Accepted(position="e:1"))
            elif answer == "refuse":
                queue.refuse(taken[-1])
            elif answer == "withdraw":
                queue.withdraw(taken[0])
            else:
                queue.connection_lost()
        queue.connection_lost()
        queue.drop(lambda entry: True)
        for _ in range(3):
            queue.put(draft("", 13), Rank.DURABLE)
        assert len(queue.take(10)) == 3


class TestRetrying:
    def test_queue_sends_one_event_at_a_time_after_a_refusal(self) -> None:
        queue = queue_of(1, 1, 1, 1, window=WindowLimits())
        first, second = queue.take(2)
        queue.give_back(first)
        assert queue.retrying
        assert queue.take(10) == []
        assert not queue.resume(), "another event is in flight"
        queue.give_back(second)
        assert queue.resume()
        assert names(queue.take(10)) == ["0"]
        assert queue.take(10) == []
        queue.accept(first, Accepted(position="e:1"))
        assert not queue.retrying
        assert names(queue.take(10)) == ["1", "2", "3"]

    def test_lost_connection_puts_everything_back_in_order(self) -> None:
        queue = queue_of(1, 1, 1, 1, window=WindowLimits())
        first, second, _ = queue.take(3)
        queue.give_back(second)
        queue.accept(first, Accepted(position="e:1"))
        queue.connection_lost()
        assert names(queue) == ["1", "2", "3"]
        assert queue.take(10) == [], "the hub could not store events a moment ago"
        assert queue.resume()
        assert names(queue.take(10)) == ["1"]

    def test_answer_after_a_lost_connection_changes_nothing(self) -> None:
        queue = queue_of(1, window=WindowLimits())
        (entry,) = queue.take(1)
        queue.connection_lost()
        queue.give_back(entry)
        assert (queue.left, queue.retrying) == (1, False)


def test_unaddressed_refusal_concerns_the_event_left_when_all_others_are_answered() -> None:
    queue = PublishQueue(QueueLimits())
    for name in ("one", "two", "three", "later"):
        queue.put(draft(name), Rank.DURABLE)
    first, second, third = queue.take(3)
    queue.note_unaddressed()
    assert queue.take_unaddressed() == [], "it may be any of three"
    assert queue.take(1) == [], "a further event in flight would make it four"
    queue.accept(first, Accepted(position="e:1"))
    assert queue.take_unaddressed() == []
    queue.accept(third, Accepted(position="e:2"))
    assert queue.take_unaddressed() == [second]
    queue.refuse(second)
    assert names(queue.take(1)) == ["later"]


def test_lost_connection_forgets_unaddressed_refusals() -> None:
    queue = PublishQueue(QueueLimits())
    for name in ("one", "two"):
        queue.put(draft(name), Rank.DURABLE)
    queue.take(2)
    queue.note_unaddressed()
    queue.connection_lost()
    assert names(queue.take(2)) == ["one", "two"]
    assert queue.take_unaddressed() == []
