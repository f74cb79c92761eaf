from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from tidings.client.pending import Draft
from tidings.contract.contract import Contract
from tidings.producer.outbox.queue import OutboxLimits, OutboxQueue, QueuedEvent, Rank, rank_of

EVENTS = Contract().events


def draft(name: str, size: int = 2) -> Draft:
    return Draft(type="data:update", data=Raw(b"x" * size), timestamp=name, event_id="0123456789abcdef")


def drained(queue: OutboxQueue) -> list[str]:
    names = []
    while queue:
        head = queue.head()
        assert head is not None
        assert queue.pop() is head
        names.append(head.draft.timestamp)
    assert queue.head() is None
    return names


def test_ranks_follow_the_catalogue() -> None:
    assert rank_of(EVENTS["operation:progress"]) is Rank.LATEST
    assert rank_of(EVENTS["operation:log"]) is Rank.LOG
    assert rank_of(EVENTS["data:update"]) is Rank.DURABLE
    for type in ("operation:start", "operation:complete", "operation:failed", "operation:cancelled"):
        assert rank_of(EVENTS[type]) is Rank.LIFECYCLE
    assert rank_of(None) is Rank.DURABLE


def test_order_is_kept_and_latest_moves_to_the_end() -> None:
    queue = OutboxQueue(OutboxLimits())
    queue.put(draft("p1"), Rank.LATEST, "a")
    queue.put(draft("log"), Rank.LOG, "a")
    queue.put(draft("other"), Rank.LATEST, "b")
    queue.put(draft("p2"), Rank.LATEST, "a")
    assert drained(queue) == ["log", "other", "p2"]
    assert queue.conflated == 1


def test_a_full_queue_sheds_the_least_worthy_oldest_first() -> None:
    queue = OutboxQueue(OutboxLimits(events=4))
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


def test_a_start_or_an_end_is_never_shed() -> None:
    queue = OutboxQueue(OutboxLimits(events=2))
    assert queue.put(draft("start"), Rank.LIFECYCLE, "a")
    assert queue.put(draft("end"), Rank.LIFECYCLE, "a")
    assert not queue.put(draft("start2"), Rank.LIFECYCLE, "b")
    assert drained(queue) == ["start", "end"]


def test_bytes_are_a_bound_too() -> None:
    queue = OutboxQueue(OutboxLimits(bytes=100))
    assert queue.put(draft("one", 60), Rank.LOG, "a")
    assert queue.put(draft("two", 60), Rank.LOG, "a")
    assert len(queue) == 1
    assert not queue.put(draft("huge", 101), Rank.LIFECYCLE, "a")
    assert drained(queue) == ["two"], "nothing is shed in vain for what would never fit"


def test_what_comes_back_takes_its_place_unless_it_is_superseded() -> None:
    queue = OutboxQueue(OutboxLimits())
    for name, rank in (("1", Rank.LOG), ("2", Rank.LATEST), ("3", Rank.LIFECYCLE)):
        queue.put(draft(name), rank, "a")
    taken = [queue.pop() for _ in range(3)]
    queue.put(draft("4"), Rank.LATEST, "a")
    queue.put(draft("5"), Rank.LOG, "a")
    queue.put_back(taken)
    assert drained(queue) == ["1", "3", "4", "5"]
    assert queue.conflated == 1


def test_what_is_put_first_goes_before_everything_the_last_of_them_first() -> None:
    queue = OutboxQueue(OutboxLimits())
    queue.put(draft("1"), Rank.LOG, "a")
    queue.put_first(draft("first"), Rank.LIFECYCLE, "a")
    queue.put_first(draft("before that"), Rank.LIFECYCLE, "b")
    queue.put(draft("2"), Rank.LOG, "a")
    assert drained(queue) == ["before that", "first", "1", "2"]


def test_what_is_dropped_is_gone_and_frees_its_room() -> None:
    queue = OutboxQueue(OutboxLimits(events=3))
    queue.put(draft("1"), Rank.DURABLE, "a")
    queue.put(draft("p"), Rank.LATEST, "a")
    queue.put(draft("2"), Rank.DURABLE, "b")
    assert [entry.draft.timestamp for entry in queue.drop(lambda entry: entry.key == "a")] == ["1", "p"]
    assert queue.put(draft("p2"), Rank.LATEST, "a")
    assert queue.put(draft("3"), Rank.DURABLE, "b")
    assert drained(queue) == ["2", "p2", "3"]
    assert (queue.conflated, queue.shed) == (0, 0)


def test_the_oldest_is_stamped_where_it_stands() -> None:
    queue = OutboxQueue(OutboxLimits())
    queue.put(draft("unstamped"), Rank.LATEST, "a", at_ns=7)
    queue.put(draft("later"), Rank.LOG, "a")
    head = queue.stamp_head(draft("stamped"))
    assert (head.at_ns, head.draft.timestamp) == (7, "stamped")
    assert queue.head() is head
    queue.put(draft("newer"), Rank.LATEST, "a")
    assert drained(queue) == ["later", "newer"], "it is superseded as before"


def test_what_comes_back_to_a_full_queue_is_judged_with_the_rest() -> None:
    queue = OutboxQueue(OutboxLimits(events=2))
    queue.put(draft("1"), Rank.LOG, "a")
    queue.put(draft("2"), Rank.LIFECYCLE, "a")
    taken = [queue.pop(), queue.pop()]
    queue.put(draft("3"), Rank.DURABLE, "a")
    queue.put_back(taken)
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
def test_it_is_bounded_ordered_and_accounts_for_everything(script: list[tuple[str, Rank, int, int]]) -> None:
    limits = OutboxLimits(events=8, bytes=150)
    queue = OutboxQueue(limits)
    taken: list[QueuedEvent] = []
    put = gone = 0
    for kind, rank, number, size in script:
        if kind == "put":
            put += 1
            if queue.put(draft(str(put), size), rank, str(number)):
                assert len(queue) <= limits.events
        elif kind == "pop":
            taken.extend(queue.pop() for _ in range(min(number, len(queue))))
        else:
            back, taken = taken[:number], taken[number:]
            gone += len(taken)
            taken = []
            queue.put_back(back)
    waiting = [int(name) for name in drained(queue)]
    assert waiting == sorted(waiting)
    assert len(waiting) == len(set(waiting))
    assert put == len(waiting) + len(taken) + gone + queue.shed + queue.conflated
