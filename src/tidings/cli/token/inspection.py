"""The findings of `tidings token inspect`: the contents of a token, its grants, and whether a hub would accept it."""

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import typer
from msgspec import Struct

from tidings.access.claims import GrantRules, list_values
from tidings.access.fetching import HttpAnswer, HttpFetcher, check_url
from tidings.access.signing_keys import SigningKey, UnusableKey, parse_keys, read_key_file, read_secret_file
from tidings.access.subjects import API_KEY_PREFIX
from tidings.access.tokens import (
    FixedKeys,
    TokenPolicy,
    TokenVerifier,
    VerifiedToken,
    is_time,
    read_claims,
    read_header,
)
from tidings.cli.errors import FAILED, print_error
from tidings.cli.units import describe_span
from tidings.exceptions import AccessError, AuthenticationUnavailable, ConfigError, InvalidGrant
from tidings.protocol.codes import error_data
from tidings.protocol.timestamps import from_nanoseconds

_MAX_INPUT_BYTES: Final = 1 << 20
_NS: Final = 1_000_000_000
_KEY_ID_CHARS: Final = 8
"""Characters of an API key's id, which is public; nothing of the rest is printed."""


class TokenReport(Struct, kw_only=True, omit_defaults=True):
    """The contents of a token, and how a hub would judge it."""

    algorithm: str
    kid: str | None = None
    claims: Mapping[str, Any]
    verified: bool | None = None
    """Whether a hub with these keys would accept it; None if no key was given."""
    code: str = ""
    """Code of the reason why not."""
    reason: str = ""
    hint: str = ""
    subject: str = ""
    grants: list[str] = []
    notes: list[str] = []
    """Templates that give no grant, or do not use a value, and why."""


def make_report(text: str, keys: tuple[SigningKey, ...] | None, policy: TokenPolicy, rules: GrantRules) -> TokenReport:
    """Return the report on a token.

    Args:
        text: The token.
        keys: Keys with which it is verified; None to leave that out.
        policy: Requirements on its claims.
        rules: The rules by which the hub grants.

    Raises:
        InvalidToken: It is not a token.
        TokenTooLarge: It is longer than a hub reads.
    """
    header, claims = read_header(text), read_claims(text)
    report = TokenReport(algorithm=header.algorithm, kid=header.kid, claims=claims)
    if keys is not None:
        TokenVerifier(FixedKeys(keys), policy, wall_ns=time.time_ns).verify(
            text, lambda result: _note_result(report, result)
        )
    report.subject = report.subject or next(iter(list_values(claims, policy.name_claim)), "")
    report.notes = rules.explain(claims)
    try:
        report.grants = rules.grants_of(claims).names()
    except AccessError as error:
        _note_refusal(report, error)
    return report


@contextmanager
def refused_as_failure() -> Iterator[None]:
    """Exit with 1 for a token that is refused: it is the subject of the command, and not its credential."""
    try:
        yield
    except AccessError as error:
        print_error(error)
        raise typer.Exit(FAILED) from error


def _note_result(report: TokenReport, result: VerifiedToken | AccessError) -> None:
    if isinstance(result, AccessError):
        _note_refusal(report, result)
        return
    report.verified = True
    report.subject = result.name


def _note_refusal(report: TokenReport, error: AccessError) -> None:
    if report.code:
        return
    data = error_data(error)
    report.verified = None if report.verified is None and isinstance(error, InvalidGrant) else False
    report.code, report.reason, report.hint = data.code, data.message, data.hint or ""


def read_token(file: str) -> str:
    """Return the token in a file, or on stdin for `-`, without what often surrounds it.

    Raises:
        ConfigError: The file cannot be read, has no token but an API key, or its name is a token.
    """
    if file.count(".") == 2 and file.startswith("ey"):
        raise ConfigError(
            "a token as an argument: other users see it in the list of processes",
            option="file",
            source="argument",
            hint='Pass it on stdin: `tidings token inspect <<< "$TIDINGS_TOKEN"`.',
        )
    try:
        if file == "-":
            content = sys.stdin.buffer.read(_MAX_INPUT_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(_MAX_INPUT_BYTES + 1)
    except OSError as cause:
        raise ConfigError(
            f"cannot read {file!r}: {cause.strerror or cause}",
            option="file",
            source="argument",
            hint="Name a file that can be read, or pass the token on stdin.",
        ) from cause
    text = content.decode(errors="replace").strip().strip("\"'")
    text = text[7:].lstrip() if text[:7].lower() == "bearer " else text
    if not text.startswith(API_KEY_PREFIX):
        return text
    id = text.split("_")[1][:_KEY_ID_CHARS]
    raise ConfigError(
        f"this is the API key {id}, and no token",
        option="file",
        source="argument",
        hint=f"`tidings key list` shows its grants, and `tidings key revoke {id}` revokes it.",
    )


def find_keys(secret_file: Path | None, key: Path | None, jwks_url: str | None) -> tuple[SigningKey, ...] | None:
    """Return the keys of a secret, of a key file or of a JWK Set; None where none is given.

    Raises:
        ConfigError: They cannot be used.
        typer.Exit: The JWK Set cannot be fetched.
    """
    if sum(given is not None for given in (secret_file, key, jwks_url)) > 1:
        raise ConfigError("several sources of keys", option="key", source="argument", hint="Pass one of them.")
    if secret_file is not None:
        return read_secret_file(secret_file, option="secret-file")
    if key is not None:
        return read_key_file(key, option="key")
    if jwks_url is None:
        return None
    check_url(jwks_url, option="jwks-url")
    with refused_as_failure():
        return asyncio.run(_fetch_keys(jwks_url))


async def _fetch_keys(url: str) -> tuple[SigningKey, ...]:
    answering: asyncio.Future[HttpAnswer | AuthenticationUnavailable] = asyncio.get_running_loop().create_future()
    HttpFetcher()(url, {}, answering.set_result)
    answer = await answering
    if isinstance(answer, AuthenticationUnavailable):
        raise AuthenticationUnavailable(f"cannot fetch {url}: {answer.message}")
    if answer.status != 200:
        raise AuthenticationUnavailable(f"cannot fetch {url}: the status is {answer.status}")
    try:
        return parse_keys(answer.body)
    except UnusableKey as cause:
        raise AuthenticationUnavailable(f"{url} has no keys: {cause}") from cause


def describe(report: TokenReport) -> list[str]:
    """Return the report as lines; a caller escapes what cannot be printed."""
    rows = [
        ("algorithm", report.algorithm + (f", key {report.kid}" if report.kid else "")),
        ("subject", report.subject or "none"),
        ("id", str(report.claims.get("jti", "none"))),
        *((label, _describe_time(report.claims.get(name))) for name, label in _TIMES if name in report.claims),
        ("signature", _VERDICTS[report.verified] if not report.code else f"{report.reason} ({report.code})"),
        *([("hint", report.hint)] if report.code else []),
        ("grants", ", ".join(report.grants) or "none"),
        *(("no grant", note) for note in report.notes),
    ]
    lines = [f"{label:<11}{value}" for label, value in rows]
    return [*lines, "claims", msgspec.json.format(msgspec.json.encode(report.claims)).decode()]


_TIMES: Final = (("iat", "issued"), ("nbf", "valid from"), ("exp", "expires"))
_VERDICTS: Final = {
    True: "correct: a hub with this key accepts the token",
    None: "not verified; pass --secret-file, --key or --jwks-url",
    False: "wrong",
}


def _describe_time(value: object) -> str:
    if not is_time(value):
        return f"{value!r:.40} (not a time)"
    left_s = float(value) - time.time()
    distance = f"in {describe_span(left_s)}" if left_s > 0 else f"{describe_span(-left_s)} ago"
    return f"{from_nanoseconds(int(value) * _NS)} ({distance})"
