"""The command `tidings relay`.

A relay's figures in words.

One relay from its first connection to its end, and what is told of it meanwhile.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from tidings.cli.contract.command import ContractOption, chosen_contract
from tidings.cli.errors import FAILED, print_stderr
from tidings.cli.options import TokenOption, ToOption, parse_duration_option
from tidings.cli.signals import stop_signals
from tidings.cli.status_line import StatusLine
from tidings.client.url import authority
from tidings.contract.contract import Contract
from tidings.exceptions import ConfigError
from tidings.relay.relay import Relay, RelayOptions, RelayStatistics

if TYPE_CHECKING:
    from tidings.client.publish_queue import QueueLimits

_LONGEST_S = 365 * 86_400.0


def relay(
    source: Annotated[
        str,
        typer.Argument(metavar="URL", help="The other service's: ws://host:port/path.", show_default=False),
    ],
    to: ToOption = None,
    token: TokenOption = None,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:VALUE", help="For the other service's handshake.", show_default=False),
    ] = None,
    prefix: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="What operation ids begin with, where services would clash.", show_default=False
        ),
    ] = "",
    spec: ContractOption = None,
    buffer: Annotated[str, typer.Option(metavar="SIZE", help="What waits at most for a hub that is away.")] = "64MiB",
    give_up: Annotated[
        str | None,
        typer.Option(
            "--give-up",
            metavar="TIME",
            help="End with 1 when the service was away for so long. Default: never.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Republish what another service says over its own WebSocket, until Ctrl-C.

    Both sides are connected again and again. What the service sends twice is stored once. Exit code 0 when everything
    that was read is in the hub, 1 when not.
    """
    from tidings.client.options import LinkOptions, read_token
    from tidings.client.url import authority, hub_url
    from tidings.relay.relay import RelayOptions
    from tidings.relay.source import source_url

    options = RelayOptions(
        source=source_url(source),
        hub=hub_url(to),
        link=LinkOptions(token=read_token(token, os.environ), wait_for_hub=True),
        headers=[_header(each) for each in header or ()],
        prefix=_checked_prefix(prefix),
        limits=_limits(buffer),
        give_up_s=None if give_up is None else parse_duration_option("give-up", give_up, 0.0, _LONGEST_S),
    )
    if options.source.partition("?")[0] == options.hub.partition("?")[0]:
        raise ConfigError(
            f"{authority(options.hub)} cannot be relayed into itself",
            option="url",
            source="argument",
            hint="Name the other service first, and the hub with --to.",
        )
    if not asyncio.run(run_relay(options, chosen_contract(spec))):
        raise typer.Exit(FAILED)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not (colon and name.isascii() and name.replace("-", "").isalnum() and value.isprintable()):
        raise ConfigError(
            f"{name[:40]!r} is no header", option="header", source="argument", hint="Write it like 'Cookie: session=…'."
        )
    return name, value


def _checked_prefix(prefix: str) -> str:
    from tidings.protocol.paths import check_key

    return check_key(prefix) if prefix else ""


def _limits(buffer: str) -> "QueueLimits":
    from tidings.cli.units import parse_size
    from tidings.client.publish_queue import QueueLimits

    try:
        size = parse_size(buffer)
    except ValueError as cause:
        raise ConfigError(
            f"--buffer: {cause}", option="buffer", source="argument", hint="Write it like 64MiB."
        ) from cause
    # Of small events, memory goes to what surrounds them: about a kilobyte each.
    return QueueLimits(events=max(1_000, size >> 10), bytes=max(1 << 20, size))


_NAMES: tuple[tuple[str, str], ...] = (
    ("published", "published"),
    ("known", "known to the hub already"),
    ("direct", "not for others"),
    ("refused", "refused"),
    ("invalid", "invalid"),
    ("unknown", "of unknown types"),
    ("conflated", "superseded while waiting"),
    ("shed", "dropped for want of room"),
    ("left", "waiting"),
)
_ALWAYS = frozenset({"published"})


def format_figures(figures: RelayStatistics) -> str:
    """Return one line: what was read, and what became of it, as far as there is any."""
    parts = [f"{number:,} {name}" for field, name in _NAMES if (number := getattr(figures, field)) or field in _ALWAYS]
    return ", ".join((f"{figures.envelopes:,} read", *parts))


def format_all_figures(figures: RelayStatistics, unknown: dict[str, int]) -> list[str]:
    """Return every figure, one a line, and the unknown types with theirs."""
    rows = [
        ("messages of the service", figures.messages),
        ("envelopes in them", figures.envelopes),
        *((name, getattr(figures, field)) for field, name in _NAMES),
        ("connections to the service", figures.source_connections),
        ("connections to the hub", figures.hub_connections),
        *((f"unknown: {type}", number) for type, number in sorted(unknown.items())),
    ]
    width = max(len(f"{number:,}") for _, number in rows)
    return [f"{number:>{width},}  {name}" for name, number in rows]


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
        return f"{way}  {running.standing}: {format_figures(running.statistics())}"

    line = StatusLine(text)
    running = Relay(options, contract=contract, say=line.say)
    line.say(f"relaying {way}")
    try:
        with line, stop_signals() as stop, _figures_on_signal(running, line):
            await running.run(stop)
    finally:
        figures = running.statistics()
        print_stderr(format_figures(figures))
    return not (figures.left or figures.shed)


@contextlib.contextmanager
def _figures_on_signal(running: Relay, line: StatusLine) -> Iterator[None]:
    """Tell every figure at SIGUSR1, where there is one."""
    number = getattr(signal, "SIGUSR1", None)
    if number is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def tell() -> None:
        line.say("\n".join(format_all_figures(running.statistics(), running.unknown)))

    loop.add_signal_handler(number, tell)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
