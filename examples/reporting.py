"""Report the progress of a job. Start a hub, then run `python examples/reporting.py`; it works without a hub, too."""

import asyncio
import time

import tidings


def load_prices(rows: int = 200) -> int:
    """Run two steps; the second is three times the work of the first."""
    with tidings.operation("Load prices", steps=["fetch", ("parse", 3)]) as op:
        with op.step("fetch"):
            prices = [f"{number}.50" for number in range(rows)]
        op.log(f"{len(prices)} rows fetched")
        total = 0.0
        with op.step("parse") as step:
            for price in step.track(prices, description="Parsing", unit="rows"):
                total += float(price)
                time.sleep(0.001)
        op.complete(result={"rows": len(prices), "sum": total})
    return len(prices)


@tidings.operation("Check prices")
def check_prices(limit: float) -> None:
    """Run as an operation with each call; inside the function it is the current operation."""
    op = tidings.current_operation()
    if op is not None:
        op.progress(50, "comparing")
    if limit < 0:
        raise ValueError("a price below zero")


async def warm_caches() -> None:
    """Run asynchronous code: cancelling the operation cancels the body of its block."""
    async with tidings.operation("Warm caches", total=3) as op, asyncio.TaskGroup() as group:

        async def warm(name: str) -> None:
            await asyncio.sleep(0.01)
            op.advance()
            op.log(f"{name} is warm", level="debug")

        for name in ("prices", "names", "rates"):
            group.create_task(warm(name))


def explore() -> tidings.Operation:
    """Run without a block, as across the cells of a notebook: start, continue, and complete."""
    op = tidings.start("Explore")
    op.indeterminate("looking around")
    op.progress(80, "almost")
    op.complete()
    return op


if __name__ == "__main__":
    load_prices()
    check_prices(1.0)
    try:
        check_prices(-1.0)
    except ValueError as error:
        print(f"failed, and the exception continued: {error}")
    asyncio.run(warm_caches())
    explore()
