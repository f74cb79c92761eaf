"""The commands `tidings key …`: API keys, in the file that the hub reads while it runs (docs/access.md, "Keys")."""

import sys
import time
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from msgspec import Struct
from rich.console import Console
from rich.text import Text

from tidings.access.grants import Grants, has_literal_star
from tidings.access.key_file import KeyFile
from tidings.access.keys import ApiKey
from tidings.cli.commands import PlainCommand, make_group
from tidings.cli.errors import print_stderr
from tidings.cli.hub_settings import ConfigOption, DataOption, find_settings
from tidings.cli.options import parse_duration_option
from tidings.cli.serve.settings import ServeSettings
from tidings.cli.streams import OutputFailed
from tidings.cli.summary import format_ago
from tidings.cli.text import aligned, sanitize
from tidings.cli.units import describe_span
from tidings.contract.contract import Contract
from tidings.contract.loading import load_contract
from tidings.exceptions import ConfigError, InvalidGrant
from tidings.printable import escape_json
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds

MAX_LIFE_S = 100 * 366 * 86_400.0


key = make_group(
    "key",
    "Add, list and revoke API keys; a running hub follows within a second.",
    {"add": ("create", "new", "issue"), "list": ("ls", "show"), "revoke": ("rm", "remove", "delete")},
)

KeysOption = Annotated[
    str | None,
    typer.Option(
        "--keys", metavar="FILE", help="File of the API keys. Default: that of the data folder.", show_default=False
    ),
]


@key.command(cls=PlainCommand)
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Program or person that uses the key.")],
    grant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GRANT",
            help="Permission, such as 'read operations/acme.*'; repeatable. See docs/access.md.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Time until the key expires, such as 90d. Default: never.", show_default=False
        ),
    ] = None,
    another: Annotated[
        bool, typer.Option("--another", help="Add a second key of this name; without --grant, with its grants.")
    ] = False,
    keys: KeysOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Add a key, and print it on stdout, this once.

    The file stores only a hash of it. Nothing else is printed on stdout:
    KEY=$(tidings key add nightly --grant 'publish operations/nightly.*')
    """
    settings = find_settings(keys=keys, data=data, config=config)
    file = _key_file(settings)
    grants = tuple(dict.fromkeys(grant or ()))
    _check_grants(grants, settings)
    now_ns = time.time_ns()
    expires_ns = None
    if expires is not None:
        expires_ns = now_ns + int(parse_duration_option("expires", expires, 1, MAX_LIFE_S) * 1e9)
    made = file.add(name, grants, now_ns=now_ns, expires_ns=expires_ns, another=another)
    assert made is not None  # only a first key may find others
    added, text = made
    try:
        typer.echo(text)
    except OutputFailed:  # as on a full disk: no one has the key, and its name is taken
        print_stderr(f"note: the key {added.id} of {added.name} could not be shown, and is revoked")
        file.revoke(added.id, now_ns=time.time_ns())
        raise
    until = "never expires" if added.expires is None else f"expires at {added.expires}"
    print_stderr(
        f"added the key {added.id} of {added.name}: {', '.join(added.grants)}; it {until}",
        "This is the only time that the key is shown.",
    )


@key.command("list", cls=PlainCommand)
def list_keys(
    all: Annotated[bool, typer.Option("--all", "-a", help="List revoked and expired keys, too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    keys: KeysOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """List the keys, without their secrets: a table on a terminal, and tab-separated columns in a pipe.

    The columns are id, name, state, creation, expiry, last use and grants.
    """
    file = _key_file(find_settings(keys=keys, data=data, config=config))
    now_ns = time.time_ns()
    used = file.read_used()
    found = [_view(each, used.get(each.id), now_ns) for each in (file.read() if file.exists() else [])]
    shown = [each for each in found if all or each.state == "active"]
    if as_json:
        for view in shown:
            typer.echo(escape_json(msgspec.json.encode(view)))
    elif sys.stdout.isatty():
        _print_table(shown, len(found), now_ns)
    else:
        for view in shown:
            cells = (view.id, view.name, view.state, view.created, view.expires, view.last_used, ", ".join(view.grants))
            typer.echo("\t".join(sanitize(cell) for cell in cells))


@key.command(cls=PlainCommand)
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME|ID", help="Name of the keys, or id of one key.")],
    keys: KeysOption = None,
    data: DataOption = None,
    config: ConfigOption = None,
) -> None:
    """Revoke a key by its id, or all keys of a name; their connections are closed within a second."""
    revoked = _key_file(find_settings(keys=keys, data=data, config=config)).revoke(name, now_ns=time.time_ns())
    for each in revoked:
        typer.echo(f"revoked the key {each.id} of {sanitize(each.name)}")
    if not revoked:
        print_stderr("note: it was revoked already")


def _key_file(settings: ServeSettings) -> KeyFile:
    """Return the file of the keys.

    Raises:
        ConfigError: The hub keeps its log in memory, and no file is named.
    """
    path = settings.key_file
    if path is None:
        raise ConfigError(
            "this hub keeps its log in memory, and has no file of keys",
            option="keys",
            hint="Name the file with --keys, or a data folder with --data.",
        )
    return KeyFile(path)


def _check_grants(grants: Sequence[str], settings: ServeSettings) -> None:
    """Check that each grant is one, and warn if its channel is not one of the contract's.

    Raises:
        ConfigError: One is not a grant.
        InvalidContract: The contract of the configuration cannot be loaded.
    """
    channels = (Contract() if settings.contract is None else load_contract(settings.contract)).channels
    for text in grants:
        try:
            Grants.parse([text], channels)
        except InvalidGrant as cause:
            raise ConfigError(f"--grant: {cause}", option="grant", source="argument", hint=cause.hint) from cause
        if has_literal_star(text):
            print_stderr(f"note: {text!r}: `*` stands for other characters only at the end of a path")
        channel = text.split(" ")[1].partition("/")[0] if " " in text.strip() else "*"
        if channel != "*" and channel not in channels:
            print_stderr(f"note: the contract has no channel {channel!r}; it has {', '.join(channels)}")


class KeyView(Struct, frozen=True, kw_only=True):
    """One key in a list."""

    id: str
    name: str
    state: str
    """`active`, `expired` or `revoked`."""
    grants: tuple[str, ...]
    created: str
    expires: str | None
    revoked: str | None
    last_used: str | None
    """When a client last authenticated with it, to the minute; None if it never did."""


def _view(each: ApiKey, used_ns: int | None, now_ns: int) -> KeyView:
    return KeyView(
        id=each.id,
        name=each.name,
        state="revoked" if each.revoked is not None else "active" if each.is_live(now_ns) else "expired",
        grants=each.grants,
        created=each.created,
        expires=each.expires,
        revoked=each.revoked,
        last_used=None if used_ns is None else from_nanoseconds(used_ns - used_ns % 10**9),
    )


def _print_table(views: Sequence[KeyView], count: int, now_ns: int) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if not views:
        console.print("no keys; add one with `tidings key add NAME --grant GRANT`")
    else:
        rows = [[Text(title, "dim") for title in ("id", "name", "state", "expires", "last used", "grants")]]
        rows += [[Text(cell) for cell in _cells(view, now_ns)] for view in views]
        for line in aligned(rows, width=console.width):
            console.print(line)
    if len(views) < count:
        hidden = count - len(views)
        console.print(Text(f"… {hidden:,} revoked or expired key{'s' if hidden > 1 else ''}; --all lists them", "dim"))


def _cells(view: KeyView, now_ns: int) -> tuple[str, ...]:
    expires = "never"
    if view.expires is not None:
        left_s = (to_nanoseconds(view.expires) - now_ns) / 1e9
        expires = f"in {describe_span(left_s)}" if left_s > 0 else format_ago(-left_s)
    used = "never" if view.last_used is None else format_ago((now_ns - to_nanoseconds(view.last_used)) / 1e9)
    return view.id, sanitize(view.name), view.state, expires, used, sanitize(", ".join(view.grants))
