import threading

import pytest

from tidings.producer.signals import DeferSignals


def test_outside_of_the_region_things_happen_at_once() -> None:
    done: list[str] = []
    DeferSignals().run(lambda: done.append("now"))
    assert done == ["now"]


def test_inside_they_are_put_off_to_its_outermost_end() -> None:
    region, done = DeferSignals(), list[str]()
    with region:
        with region:
            region.run(lambda: done.append("first"))
            region.run(lambda: done.append("second"))
        assert done == []
    assert done == ["first", "second"]


def test_what_was_put_off_may_raise_as_a_handler_may() -> None:
    region = DeferSignals()

    def leave() -> None:
        raise SystemExit(3)

    def work() -> None:
        with region:
            region.run(leave)

    with pytest.raises(SystemExit):
        work()


def test_other_threads_are_not_its_business() -> None:
    region, done = DeferSignals(), list[str]()
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with region:
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert entered.wait(10)
        region.run(lambda: done.append("now"))
        assert done == ["now"]
    finally:
        leave.set()
        thread.join()
