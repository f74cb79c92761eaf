"""One relay from its first connection to its end, and what is told of it meanwhile."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator

from tidings.cli.failure import write_lines
from tidings.cli.relay.figures import full_figures, short_figures
from tidings.cli.status_line import StatusLine
from tidings.cli.stopping import stop_signals
from tidings.client.url import authority
from tidings.contract.contract import Contract
from tidings.relay.relay import Relay, RelayOptions


async def run_relay(options: RelayOptions, contract: Contract) -> bool:
    """Relay until Ctrl-C or SIGTERM.

    Returns:
        Whether the hub has everything that was read and that it takes.

    Raises:
        SourceGone: The service was away for too long.
        ClientError: The hub ended the connection for good.
    """
    way = f"{authority(options.source)} → {authority(options.hub)}"

    def text() -> str:
        return f"{way}  {relay.standing}: {short_figures(relay.statistics())}"

    line = StatusLine(text)
    relay = Relay(options, contract=contract, say=line.say)
    line.say(f"relaying {way}")
    try:
        with line, stop_signals() as stop, _figures_on_signal(relay, line):
            await relay.run(stop)
    finally:
        figures = relay.statistics()
        write_lines(short_figures(figures))
    return not (figures.left or figures.shed)


@contextlib.contextmanager
def _figures_on_signal(relay: Relay, line: StatusLine) -> Iterator[None]:
    """Tell every figure at SIGUSR1, where there is one."""
    number = getattr(signal, "SIGUSR1", None)
    if number is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def tell() -> None:
        line.say("\n".join(full_figures(relay.statistics(), relay.unknown)))

    loop.add_signal_handler(number, tell)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
