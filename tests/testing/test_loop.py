from functools import partial

import pytest

from tidings.testing.clock import ManualClock
from tidings.testing.loop import ManualLoop


def test_round_runs_only_callbacks_that_were_ready() -> None:
    loop, ran = ManualLoop(ManualClock()), list[str]()

    def first() -> None:
        ran.append("first")
        loop.call_soon(partial(ran.append, "third"))

    loop.call_soon(first)
    loop.call_soon(partial(ran.append, "second"))
    assert not loop.idle
    loop.run_round()
    assert ran == ["first", "second"]
    loop.run_until_idle()
    assert (ran, loop.idle, loop.rounds) == (["first", "second", "third"], True, 2)


def test_timers_run_when_due_and_in_order() -> None:
    clock = ManualClock()
    loop, ran = ManualLoop(clock), list[tuple[str, float]]()

    def note(name: str) -> None:
        ran.append((name, clock.now))

    loop.call_later(2, partial(note, "late"))
    loop.call_later(1, partial(note, "early"))
    loop.call_later(1, partial(note, "next"))
    loop.advance(1.5)
    assert ran == [("early", 1.0), ("next", 1.0)]
    loop.advance(1)
    assert (ran[2:], clock.now) == ([("late", 2.0)], 2.5)


def test_timer_set_by_a_timer_runs_within_the_same_advance() -> None:
    loop, ran = ManualLoop(ManualClock()), list[int]()

    def again() -> None:
        ran.append(len(ran))
        loop.call_later(0.3, again)

    loop.call_later(0.3, again)
    loop.advance(1.0)
    assert ran == [0, 1, 2]


def test_cancelled_callback_does_not_run() -> None:
    loop, ran = ManualLoop(ManualClock()), list[int]()
    loop.call_soon(partial(ran.append, 1)).cancel()
    loop.call_later(1, partial(ran.append, 2)).cancel()
    loop.advance(2)
    assert ran == []


def test_loop_that_never_becomes_idle_raises() -> None:
    loop = ManualLoop(ManualClock())

    def again() -> None:
        loop.call_soon(again)

    again()
    with pytest.raises(RuntimeError, match="not idle"):
        loop.run_until_idle()
