"""The command `tidings relay`."""

import asyncio
import os
from typing import TYPE_CHECKING, Annotated

import typer

from tidings.cli.contract.command import ContractOption, chosen_contract
from tidings.cli.durations import read_duration
from tidings.cli.failure import FAILED
from tidings.cli.target import TokenOption, ToOption
from tidings.exceptions import ConfigError

if TYPE_CHECKING:
    from tidings.producer.outbox.queue import OutboxLimits

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
    from tidings.cli.relay.session import run_relay
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
        give_up_s=None if give_up is None else read_duration("give-up", give_up, 0.0, _LONGEST_S),
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


def _limits(buffer: str) -> "OutboxLimits":
    from tidings.cli.units import parse_size
    from tidings.producer.outbox.queue import OutboxLimits

    try:
        size = parse_size(buffer)
    except ValueError as cause:
        raise ConfigError(
            f"--buffer: {cause}", option="buffer", source="argument", hint="Write it like 64MiB."
        ) from cause
    # Of small events, memory goes to what surrounds them: about a kilobyte each.
    return OutboxLimits(events=max(1_000, size >> 10), bytes=max(1 << 20, size))
