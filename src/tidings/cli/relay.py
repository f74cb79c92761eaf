"""The command `tidings relay`: runs one relay to its end, and reports its statistics."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Annotated

import typer

from tidings.cli.contract.command import ContractOption, chosen_contract
from tidings.cli.errors import FAILED, print_stderr
from tidings.cli.options import ToOption, parse_duration_option
from tidings.cli.signals import stop_signals
from tidings.cli.status_line import StatusLine
from tidings.cli.units import parse_size
from tidings.client.options import LinkOptions
from tidings.client.publish_queue import QueueLimits
from tidings.client.url import authority, resolve_hub_url
from tidings.contract.contract import Contract
from tidings.exceptions import ConfigError
from tidings.protocol.paths import check_key
from tidings.relay.relay import Relay, RelayOptions, RelayStatistics
from tidings.relay.source import source_url

_MAX_GIVE_UP_S = 365 * 86_400.0


def relay(
    source: Annotated[
        str,
        typer.Argument(metavar="URL", help="WebSocket of the other service: ws://host:port/path.", show_default=False),
    ],
    to: ToOption = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME:VALUE",
            help="Header for the handshake with the other service; repeatable.",
            show_default=False,
        ),
    ] = None,
    prefix: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Prefix for operation ids, to keep services apart.", show_default=False),
    ] = "",
    spec: ContractOption = None,
    buffer: Annotated[
        str, typer.Option(metavar="SIZE", help="Maximum backlog while the hub is unreachable.")
    ] = "64MiB",
    give_up: Annotated[
        str | None,
        typer.Option(
            "--give-up",
            metavar="TIME",
            help="Exit with 1 after the service was unreachable for this long. Default: never.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Republish the events of another service's WebSocket until Ctrl-C.

    Both sides reconnect automatically. Events that the service sends twice are stored once. Exit code: 0 if the hub has
    every event that was read, else 1.
    """
    options = RelayOptions(
        source=source_url(source),
        hub=resolve_hub_url(to),
        link=LinkOptions(wait_for_hub=True, wait_for_token=True),
        headers=[_header(each) for each in header or ()],
        prefix=_checked_prefix(prefix),
        limits=_limits(buffer),
        give_up_s=None if give_up is None else parse_duration_option("give-up", give_up, 0.0, _MAX_GIVE_UP_S),
    )
    if options.source.partition("?")[0] == options.hub.partition("?")[0]:
        raise ConfigError(
            f"{authority(options.hub)} cannot be relayed into itself",
            option="url",
            source="argument",
            hint="Pass the other service first, and the hub with --to.",
        )
    if not asyncio.run(run_relay(options, chosen_contract(spec))):
        raise typer.Exit(FAILED)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    name, value = name.strip(), value.strip()
    if not (colon and name.isascii() and name.replace("-", "").isalnum() and value.isprintable()):
        raise ConfigError(
            f"invalid header {name[:40]!r}: expected NAME:VALUE",
            option="header",
            source="argument",
            hint="Write it like 'Cookie: session=…'.",
        )
    return name, value


def _checked_prefix(prefix: str) -> str:
    return check_key(prefix) if prefix else ""


def _limits(buffer: str) -> "QueueLimits":
    from tidings.client.publish_queue import QueueLimits

    try:
        size = parse_size(buffer)
    except ValueError as cause:
        raise ConfigError(
            f"--buffer: {cause}", option="buffer", source="argument", hint="Pass --buffer 64MiB."
        ) from cause
    # The overhead of an event is about a kilobyte of memory, which dominates for small ones.
    return QueueLimits(events=max(1_000, size >> 10), bytes=max(1 << 20, size))


_NAMES: tuple[tuple[str, str], ...] = (
    ("published", "published"),
    ("known", "already in the hub"),
    ("direct", "addressed to this connection only"),
    ("refused", "refused"),
    ("invalid", "invalid"),
    ("unknown", "of unknown types"),
    ("conflated", "superseded while waiting"),
    ("shed", "dropped because the backlog was full"),
    ("left", "waiting"),
)
_ALWAYS = frozenset({"published"})


def format_figures(figures: RelayStatistics) -> str:
    """Return one line: the number of envelopes read, and of each outcome that occurred."""
    parts = [f"{number:,} {name}" for field, name in _NAMES if (number := getattr(figures, field)) or field in _ALWAYS]
    return ", ".join((f"{figures.envelopes:,} read", *parts))


def format_all_figures(figures: RelayStatistics, unknown: dict[str, int]) -> list[str]:
    """Return every number, one per line, and those of unknown types."""
    rows = [
        ("messages from the service", figures.messages),
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
        Whether the hub has every event that was read, except those it refused.

    Raises:
        SourceGone: The service was unreachable for too long.
        ClientError: The hub ended the connection permanently.
    """
    route = f"{authority(options.source)} → {authority(options.hub)}"

    def text() -> str:
        return f"{route}  {running.standing}: {format_figures(running.statistics())}"

    line = StatusLine(text)
    running = Relay(options, contract=contract, report=line.print)
    line.print(f"relaying {route}")
    try:
        with line, stop_signals() as stop, _figures_on_signal(running, line):
            await running.run(stop)
    finally:
        figures = running.statistics()
        print_stderr(format_figures(figures))
    return not (figures.left or figures.shed)


@contextlib.contextmanager
def _figures_on_signal(running: Relay, line: StatusLine) -> Iterator[None]:
    """Print every number on SIGUSR1, on systems that have it."""
    number = getattr(signal, "SIGUSR1", None)
    if number is None:
        yield
        return
    loop = asyncio.get_running_loop()

    def print_all() -> None:
        line.print("\n".join(format_all_figures(running.statistics(), running.unknown)))

    loop.add_signal_handler(number, print_all)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)
