"""The options that name a hub and who we are, the same for every command that talks to one.

Durations on the command line: `10s`, `1h30m`, or a plain number of seconds.
"""

from typing import Annotated

import typer

from tidings.cli.units import format_duration, parse_duration
from tidings.client.options import TOKEN_VARIABLE
from tidings.client.url import DEFAULT_URL, VARIABLE
from tidings.exceptions import ConfigError

UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", envvar=VARIABLE, help=f"The hub's. Default: {DEFAULT_URL}", show_default=False
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to", "--url", metavar="URL", envvar=VARIABLE, help=f"The hub's. Default: {DEFAULT_URL}", show_default=False
    ),
]
"""Likewise, where something else is read than the hub."""
TokenOption = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", envvar=TOKEN_VARIABLE, help="For the hub.", show_default=False),
]


MAX_LEASE_S = 86_400.0
"""As the contract has it (CONTRACT §4)."""
MAX_GRACE_S = 86_400.0


def parse_duration_option(option: str, text: str, least_s: float, most_s: float) -> float:
    """Return the seconds that an option's value means.

    Args:
        option: Its name, without the dashes.
        text: What was written.
        least_s: What it must be at least.
        most_s: What it may be at most.

    Raises:
        ConfigError: It is no duration, or out of these bounds.
    """
    try:
        seconds = parse_duration(text)
    except ValueError as cause:
        raise ConfigError(
            f"--{option}: {cause}", option=option, source="argument", hint="Write it like 30s."
        ) from cause
    if not least_s <= seconds <= most_s:
        raise ConfigError(
            f"--{option}: {text!r} is not within {format_duration(least_s)} to {format_duration(most_s)}",
            option=option,
            source="argument",
            hint="Write it like 30s.",
        )
    return seconds
