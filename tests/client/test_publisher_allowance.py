import asyncio

from hypothesis import given
from hypothesis import strategies as st

from tidings.client.publisher import SendWindow


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_room_is_counted_in_publications_and_in_bytes() -> None:
    allowance = SendWindow(2, 100)
    assert allowance.take_nowait(90)
    assert not allowance.take_nowait(20)
    assert allowance.take_nowait(10)
    assert not allowance.take_nowait(0)
    allowance.give(10)
    assert allowance.take_nowait(10)


async def test_one_that_is_larger_than_everything_goes_alone() -> None:
    allowance = SendWindow(5, 100)
    assert allowance.take_nowait(500)
    assert not allowance.take_nowait(1)
    allowance.give(500)
    assert allowance.take_nowait(1)


async def test_first_come_is_first_served() -> None:
    allowance = SendWindow(1, 100)
    await allowance.take(1)
    order: list[int] = []

    async def one(number: int) -> None:
        await allowance.take(1)
        order.append(number)

    tasks = [asyncio.create_task(one(number)) for number in range(4)]
    await settle()
    assert not allowance.take_nowait(1), "nobody overtakes those who wait"
    for _ in range(4):
        allowance.give(1)
        await settle()
    assert order == [0, 1, 2, 3]
    await asyncio.gather(*tasks)


async def test_who_is_cancelled_while_waiting_lets_the_next_one_through() -> None:
    allowance = SendWindow(2, 10)
    await allowance.take(8)
    large = asyncio.create_task(allowance.take(10))
    small = asyncio.create_task(allowance.take(2))
    await settle()
    assert not small.done()
    large.cancel()
    await asyncio.wait_for(small, 1)


async def test_who_is_cancelled_in_the_moment_of_the_grant_gives_it_back() -> None:
    allowance = SendWindow(1, 10)
    await allowance.take(1)
    waiting = asyncio.create_task(allowance.take(1))
    await settle()
    allowance.give(1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    assert allowance.take_nowait(1)


async def test_room_that_comes_just_after_a_cancellation_goes_to_the_next() -> None:
    allowance = SendWindow(1, 10)
    await allowance.take(1)
    doomed = asyncio.create_task(allowance.take(1))
    next_one = asyncio.create_task(allowance.take(1))
    await settle()
    doomed.cancel()
    allowance.give(1)
    await asyncio.wait_for(next_one, 1)
    assert doomed.cancelled()
    assert not allowance.take_nowait(1)


@given(st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.integers(0, 3)), max_size=25))
def test_whatever_happens_all_room_comes_back(script: list[tuple[int, bool, int]]) -> None:
    async def run() -> None:
        allowance = SendWindow(3, 40)

        async def one(size: int) -> None:
            await allowance.take(size)
            try:
                await asyncio.sleep(0)
            finally:
                allowance.give(size)

        tasks = []
        for size, cancel, ticks in script:
            task = asyncio.create_task(one(size))
            tasks.append(task)
            for _ in range(ticks):
                await asyncio.sleep(0)
            if cancel:
                task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        assert all(allowance.take_nowait(13) for _ in range(3))

    asyncio.run(run())
