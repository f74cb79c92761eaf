"""Options that several commands share: the hub, and durations such as `10s` or `1h30m`."""

import contextlib
import re
from typing import Annotated

import typer

from tidings.cli.units import format_duration, parse_duration
from tidings.client.url import DEFAULT_URL, URL_VARIABLE
from tidings.exceptions import ConfigError, InvalidPosition
from tidings.protocol.positions import parse_since
from tidings.protocol.timestamps import from_nanoseconds

_URL_HELP = f"URL of the hub. Default: {DEFAULT_URL}"
UrlOption = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", envvar=URL_VARIABLE, help=_URL_HELP, show_default=False),
]
ToOption = Annotated[
    str | None,
    typer.Option("--to", "--url", metavar="URL", envvar=URL_VARIABLE, help=_URL_HELP, show_default=False),
]
"""The option for the hub of commands that read from elsewhere and write to the hub."""
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Operation id.", show_default=False)]

PARENT_VARIABLE = "TIDINGS_PARENT"
"""Environment variable with the id of the operation that a command is a part of; `tidings run` sets it for its own."""
ParentOption = Annotated[
    str | None,
    typer.Option(
        "--parent",
        metavar="ID",
        envvar=PARENT_VARIABLE,
        help="Id of the operation that this one is a part of. Default: the `tidings run` around it.",
        show_default=False,
    ),
]

MAX_LEASE_S = 86_400.0
"""Longest lease, in seconds, that the protocol allows; docs/protocol/operations.md, "Leases"."""
MAX_GRACE_S = 86_400.0
_BARE = re.compile(r"\s*\d+(\.\d+)?\s*", re.ASCII)


def parse_since_option(text: str) -> str | float:
    """Return where `--since` starts: as the hub reads it, or the age of the first events in seconds.

    Raises:
        ConfigError: It is neither.
    """
    # A position has a colon, a time has a T, and an age has neither.
    with contextlib.suppress(ValueError):
        return parse_duration(text)
    try:
        parse_since(text)
    except InvalidPosition as error:
        raise ConfigError(
            f"--since: invalid start {text!r}: expected an age, an RFC 3339 time, a position, snapshot, now or first",
            option="since",
            source="argument",
            hint="Pass --since 6h for the events of six hours, or --since first for all.",
        ) from error
    return text


def resolve_since(since: str | float, now_s: float) -> str:
    """Return where to start, as the hub reads it.

    Args:
        since: The result of `parse_since_option`.
        now_s: Time by the hub's clock, seconds since 1970.
    """
    return since if isinstance(since, str) else from_nanoseconds(max(0, int((now_s - since) * 1e9)))


def parse_duration_option(option: str, text: str, minimum_s: float, maximum_s: float) -> float:
    """Return the value of a duration option, in seconds.

    Args:
        option: Name of the option, without dashes.
        text: Text of the value.
        minimum_s: Lower bound, in seconds.
        maximum_s: Upper bound, in seconds.

    Raises:
        ConfigError: The value is not a duration, or out of bounds.
    """
    try:
        seconds = parse_duration(text)
    except ValueError as cause:
        hint = f"Pass --{option} {text.strip()}s for seconds." if _BARE.fullmatch(text) else f"Pass --{option} 30s."
        raise ConfigError(f"--{option}: {cause}", option=option, source="argument", hint=hint) from cause
    if not minimum_s <= seconds <= maximum_s:
        bounds = f"{format_duration(minimum_s)} to {format_duration(maximum_s)}"
        raise ConfigError(
            f"--{option}: invalid duration {text!r}: expected {bounds}",
            option=option,
            source="argument",
            hint="Pass a duration within these bounds.",
        )
    return seconds
