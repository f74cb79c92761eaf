"""The commands `tidings license …`: issue, show and verify licenses (docs/access.md, "License")."""

import secrets
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import Struct

from tidings.access.license import (
    License,
    decode_license,
    issue_license,
    read_license_file,
    read_private_key,
    read_public_key,
    verify_license,
)
from tidings.access.tokens import is_name
from tidings.cli.commands import PlainCommand, make_group
from tidings.cli.errors import exit_codes_epilog, print_stderr
from tidings.cli.hub_settings import ConfigOption, JsonOption, find_settings
from tidings.cli.options import parse_duration_option
from tidings.cli.text import sanitize
from tidings.cli.units import describe_span
from tidings.exceptions import ConfigError, InvalidTimestamp, LicenseExpired
from tidings.printable import escape_json
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds

MAX_LIFE_S = 100 * 366 * 86_400.0
_NS = 1_000_000_000


license = make_group(
    "license",
    "Issue, show and verify licenses.",
    {"issue": ("create", "new", "sign"), "show": ("info", "inspect", "print"), "verify": ("check",)},
)

FileArgument = Annotated[
    Path | None,
    typer.Argument(metavar="FILE", help="License. Default: that of the hub's options.", show_default=False),
]


@license.command(cls=PlainCommand)
def issue(
    private_key: Annotated[
        Path, typer.Option("--private-key", metavar="FILE", help="Ed25519 key of the issuer (PEM).", show_default=False)
    ],
    subject: Annotated[
        str, typer.Option(metavar="NAME", help="Company or person that the license is for.", show_default=False)
    ],
    expires: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Time of expiry: 365d from the beginning on, or an RFC 3339 time.", show_default=False
        ),
    ],
    begins: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="RFC 3339 time of the beginning. Default: now.", show_default=False),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Id of the license. Default: random.", show_default=False)
    ] = None,
) -> None:
    """Sign a license, and print it on stdout.

    Keys come from `openssl genpkey -algorithm ed25519 -out license.key`
    and `openssl pkey -in license.key -pubout -out license.pub`.
    """
    now_ns = time.time_ns() // _NS * _NS
    begins_ns = now_ns if begins is None else _parse_time("begins", begins)
    if "T" in expires:
        expires_ns = _parse_time("expires", expires)
    else:
        expires_ns = begins_ns + int(parse_duration_option("expires", expires, 1, MAX_LIFE_S) * _NS)
    made = License(
        license_id=id or f"lic-{secrets.token_hex(6)}",
        subject=subject,
        issued_ns=now_ns,
        begins_ns=begins_ns,
        expires_ns=expires_ns,
    )
    for name, value in (("subject", subject), ("id", made.license_id)):
        if not is_name(value):
            raise ConfigError(f"invalid {name}: expected 1–255 printable characters", option=name, source="argument")
    key = read_private_key(private_key)
    text = issue_license(made, key)
    # A license that cannot be read back is not issued.
    verify_license(text.encode(), "to issue", key.public_key(), max(now_ns, begins_ns))
    typer.echo(text)
    print_stderr(f"issued the {made}: from {_time(begins_ns)} to {_time(expires_ns)}")


@license.command(cls=PlainCommand)
def show(file: FileArgument = None, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show what a license contains, without verifying it; needs no key."""
    path = _find_file(file, config)
    _print(_view(decode_license(read_license_file(path), str(path)), verified=False), as_json)


@license.command(cls=PlainCommand, epilog=exit_codes_epilog(failed="the license has expired"))
def verify(
    file: FileArgument = None,
    license_public_key: Annotated[
        Path | None,
        typer.Option(
            "--license-public-key",
            metavar="FILE",
            help="Ed25519 key of the issuer (PEM). Default: that of the hub's options.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a license; the exit code is 1 if it has expired, and 2 if the hub would refuse it."""
    path = _find_file(file, config)
    public_key = license_public_key or find_settings(config=config).license_public_key
    if public_key is None:
        raise ConfigError(
            "no public key is named",
            option="license-public-key",
            hint="Pass --license-public-key, or set TIDINGS_LICENSE_PUBLIC_KEY.",
        )
    found = verify_license(read_license_file(path), str(path), read_public_key(public_key), time.time_ns())
    view = _view(found, verified=True)
    _print(view, as_json)
    if view.state == "expired":
        raise LicenseExpired(f"the {found} expired at {view.expires_at}", hint="Ask the issuer for a renewed one.")


class LicenseView(Struct, frozen=True, kw_only=True):
    """A license as it is shown."""

    license_id: str
    subject: str
    issued_at: str
    begins_at: str
    expires_at: str
    state: str
    """`valid`, `expired` or `not yet valid`, by the clock of this machine."""
    verified: bool
    """Whether the signature was verified."""


def _view(found: License, *, verified: bool) -> LicenseView:
    now_ns = time.time_ns()
    state = "expired" if now_ns >= found.expires_ns else "valid" if now_ns >= found.begins_ns else "not yet valid"
    return LicenseView(
        license_id=found.license_id,
        subject=found.subject,
        issued_at=_time(found.issued_ns),
        begins_at=_time(found.begins_ns),
        expires_at=_time(found.expires_ns),
        state=state,
        verified=verified,
    )


def _print(view: LicenseView, as_json: bool) -> None:
    if as_json:
        typer.echo(escape_json(msgspec.json.encode(view)))
        return
    left_s = (to_nanoseconds(view.expires_at) - time.time_ns()) / 1e9
    span = f"in {describe_span(left_s)}" if left_s > 0 else f"{describe_span(-left_s)} ago"
    lines = {
        "license": sanitize(view.license_id),
        "for": sanitize(view.subject),
        "begins": view.begins_at,
        "expires": f"{view.expires_at}, {span}",
        "state": view.state,
        "signature": "verified" if view.verified else "not verified: `tidings license verify` does",
    }
    width = max(map(len, lines))
    for name, value in lines.items():
        typer.echo(f"{name:{width}}  {value}")


def _find_file(file: Path | None, config: Path | None) -> Path:
    found = file or find_settings(config=config).license
    if found is None:
        raise ConfigError(
            "no license is named", option="license", hint="Pass the FILE, or set TIDINGS_LICENSE as for the hub."
        )
    return found


def _parse_time(option: str, text: str) -> int:
    try:
        return to_nanoseconds(text)
    except InvalidTimestamp as cause:
        raise ConfigError(
            f"--{option}: invalid time {text[:40]!r}: expected RFC 3339",
            option=option,
            source="argument",
            hint=f"Pass --{option} 2027-01-31T00:00:00Z.",
        ) from cause


def _time(unix_ns: int) -> str:
    return from_nanoseconds(unix_ns - unix_ns % _NS)
