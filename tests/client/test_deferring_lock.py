import threading

from tidings.client.deferring_lock import BoundedLock, DeferringLock

TIMEOUT_S = 60.0


def test_action_added_by_the_holder_runs_when_it_releases_the_lock() -> None:
    lock = DeferringLock()
    ran: list[str] = []

    def interrupted() -> None:
        lock.run(lambda: ran.append("second"))
        ran.append("first")

    lock.run(interrupted)
    assert ran == ["first", "second"]
    with lock, lock.mutex:
        assert lock.held
        lock.run(lambda: ran.append("third"))
        assert ran == ["first", "second"]
    assert ran == ["first", "second", "third"]
    assert not lock.held


def test_failing_action_does_not_keep_the_lock_or_the_next_action() -> None:
    lock = DeferringLock()
    ran: list[int] = []

    def fail() -> None:
        lock.run(lambda: ran.append(1))
        raise ValueError("why")

    lock.run(fail)
    assert ran == [1]
    other = threading.Thread(target=lambda: lock.run(lambda: ran.append(2)))
    other.start()
    other.join(TIMEOUT_S)
    assert ran == [1, 2]


def test_action_of_a_thread_that_must_not_wait_is_run_by_the_holder() -> None:
    """The holder waits for the other thread, as a finalizer does that runs foreign code."""
    lock = DeferringLock()
    ran: list[int] = []
    with lock, lock.mutex:
        other = threading.Thread(target=lambda: lock.run(lambda: ran.append(threading.get_ident())))
        other.start()
        other.join(TIMEOUT_S)
        assert not other.is_alive()
        assert ran == []
    assert ran == [threading.get_ident()]


def test_actions_of_many_threads_never_overlap_and_keep_their_order() -> None:
    lock = DeferringLock()
    inside = 0
    ran: list[tuple[int, int]] = []

    def add(thread: int) -> None:
        for number in range(500):
            lock.run(lambda number=number: enter((thread, number)))  # type: ignore[misc]

    def enter(what: tuple[int, int]) -> None:
        nonlocal inside
        inside += 1
        assert inside == 1
        ran.append(what)
        inside -= 1

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    for first in range(4):
        assert [number for which, number in ran if which == first] == list(range(500))


def test_bounded_locks_taken_in_opposite_orders_do_not_hang() -> None:
    first, second = BoundedLock(), BoundedLock()
    meeting = threading.Barrier(2, timeout=TIMEOUT_S)
    done: list[str] = []

    def take(outer: BoundedLock, inner: BoundedLock) -> None:
        with outer.guard():
            meeting.wait()
            with inner.guard():
                done.append("both")

    threads = [threading.Thread(target=take, args=locks) for locks in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    assert done == ["both", "both"]
    # Neither lock is left behind.
    other = threading.Thread(target=lambda: take_alone(first, second))
    other.start()
    other.join(TIMEOUT_S)
    assert not other.is_alive()


def take_alone(*locks: BoundedLock) -> None:
    for lock in locks:
        with lock.guard():
            pass
