from hypothesis import given
from hypothesis import strategies as st

from tidings.client.reconnect import Backoff, Reconnect

POLICY = Reconnect(base_s=1.0, cap_s=8.0, settled_s=10.0)


def always(number: float) -> Backoff:
    return Backoff(POLICY, lambda: number)


def test_backoff_window_doubles_up_to_its_cap() -> None:
    backoff = always(0.5)
    assert [backoff.next_delay() for _ in range(6)] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_backoff_draws_from_the_whole_window() -> None:
    assert always(0.0).next_delay() == 0.0


def test_backoff_resets_after_a_connection_that_lasted() -> None:
    backoff = always(0.5)
    for _ in range(4):
        backoff.next_delay()
    assert backoff.next_delay(lasted_s=10.0) == 0.5
    assert backoff.next_delay(lasted_s=9.9) == 1.0, "one that was dropped soon goes on where it was"


@given(st.lists(st.tuples(st.floats(0, 60), st.floats(0, 30), st.floats(0, 1, exclude_max=True)), max_size=30))
def test_backoff_is_between_the_hubs_delay_and_the_cap(waits: list[tuple[float, float, float]]) -> None:
    numbers = iter([number for _, _, number in waits])
    backoff = Backoff(POLICY, lambda: next(numbers))
    for lasted_s, retry_after_s, _ in waits:
        delay = backoff.next_delay(lasted_s=lasted_s, retry_after_s=retry_after_s)
        assert retry_after_s <= delay <= retry_after_s + POLICY.cap_s


def test_backoff_base_above_the_cap_is_capped() -> None:
    assert Backoff(Reconnect(base_s=5.0, cap_s=1.0), lambda: 0.5).next_delay() == 0.5
