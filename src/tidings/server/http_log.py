"""Reading the log for a request: one page, awaited."""

import asyncio

from tidings.exceptions import LogError
from tidings.log.base import Log, Page, Query


async def read_page(log: Log, query: Query) -> Page:
    """Read one page.

    Raises:
        LogError: The log cannot be read.
    """
    reading: asyncio.Future[Page | LogError] = asyncio.get_running_loop().create_future()

    def done(result: Page | LogError) -> None:
        if not reading.done():
            reading.set_result(result)

    log.read(query, done)
    page = await reading
    if isinstance(page, LogError):
        raise page
    return page
