"""The commands `tidings token …`: issue and inspect tokens, and revoke credentials (docs/access.md, "Tokens")."""

import asyncio
import secrets
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer
from msgspec import Struct

from tidings.access.claims import DEFAULT_GRANTS_CLAIM, GrantRules, list_values
from tidings.access.control import MAX_CREDENTIAL_LIFE_S
from tidings.access.fetching import HttpAnswer, HttpFetcher, check_url
from tidings.access.grants import Grants
from tidings.access.signing_keys import (
    ALGORITHMS,
    SigningKey,
    UnusableKey,
    check_algorithms,
    parse_keys,
    read_key_file,
    read_secret_file,
    sign,
)
from tidings.access.tokens import (
    FixedKeys,
    TokenPolicy,
    TokenVerifier,
    VerifiedToken,
    is_name,
    is_time,
    read_claims,
    read_header,
)
from tidings.cli.commands import PlainCommand, PlainGroup
from tidings.cli.errors import FAILED, ExitCode, exit_codes_epilog, exit_on_error, print_error, print_stderr
from tidings.cli.hub_settings import ConfigOption, JsonOption, find_settings
from tidings.cli.options import UrlOption, parse_duration_option
from tidings.cli.text import sanitize
from tidings.cli.units import describe_span
from tidings.client.http import HTTPClient
from tidings.contract.contract import Contract
from tidings.exceptions import AccessError, AuthenticationUnavailable, ConfigError, InvalidGrant
from tidings.printable import escape_json, escape_lines
from tidings.protocol.codes import error_data
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds

_MAX_INPUT_BYTES: Final = 1 << 20
_NS: Final = 1_000_000_000


class _TokenGroup(PlainGroup):
    guesses = {  # noqa: RUF012
        **dict.fromkeys(("create", "new", "sign", "add"), "issue"),
        **dict.fromkeys(("show", "decode", "verify", "check", "debug"), "inspect"),
        **dict.fromkeys(("rm", "remove", "delete"), "revoke"),
    }


token = typer.Typer(
    name="token",
    cls=_TokenGroup,
    rich_markup_mode=None,
    add_completion=False,
    help="Issue and inspect tokens, and revoke tokens and keys of a running hub.",
)

SecretOption = Annotated[
    Path | None,
    typer.Option("--secret-file", metavar="FILE", help="File of the secret, shared with the hub.", show_default=False),
]
AudienceOption = Annotated[
    list[str] | None,
    typer.Option("--audience", metavar="TEXT", help="Audience (`aud`); repeatable.", show_default=False),
]


@token.command(cls=PlainCommand)
def issue(
    subject: Annotated[
        str, typer.Option(metavar="NAME", help="Person or program that uses the token.", show_default=False)
    ],
    grant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GRANT",
            help="Permission, such as 'read operations/acme.*'; repeatable. See docs/access.md.",
            show_default=False,
        ),
    ] = None,
    expires: Annotated[str, typer.Option(metavar="TIME", help="Time until the token expires, up to 366d.")] = "8h",
    secret_file: SecretOption = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="File of the private key: PEM or JWK.", show_default=False),
    ] = None,
    algorithm: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Algorithm of the signature. Default: that of the key.", show_default=False),
    ] = None,
    issuer: Annotated[str | None, typer.Option(metavar="TEXT", help="Issuer (`iss`).", show_default=False)] = None,
    audience: AudienceOption = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Id of the token. Default: random.", show_default=False)
    ] = None,
) -> None:
    """Sign a token, and print it on stdout.

    The hub verifies it with the same secret, or with the public key.
    TIDINGS_TOKEN=$(tidings token issue --subject nightly \
    --grant 'publish operations/nightly.*' --secret-file secret)
    """
    signer = _find_signer(secret_file, key, algorithm)
    grants = tuple(dict.fromkeys(grant or ()))
    _check_grants(grants)
    credential_id = id or secrets.token_hex(8)
    for name, value in (("subject", subject), ("id", credential_id)):
        if not is_name(value):
            raise ConfigError(f"invalid {name}: expected 1–255 printable characters", option=name, source="argument")
    now = time.time_ns() // _NS
    expiry = now + int(parse_duration_option("expires", expires, 1, MAX_CREDENTIAL_LIFE_S))
    claims: dict[str, object] = {
        "sub": subject,
        "iat": now,
        "exp": expiry,
        "jti": credential_id,
        DEFAULT_GRANTS_CLAIM: grants,
    }
    if issuer is not None:
        claims["iss"] = issuer
    if audience:
        claims["aud"] = audience[0] if len(audience) == 1 else audience
    typer.echo(sign(claims, signer, algorithm))
    print_stderr(
        f"issued the token {credential_id} of {sanitize(subject)}: {', '.join(grants) or 'no grants'}; "
        f"it expires at {from_nanoseconds(expiry * _NS)}"
    )


def _find_signer(secret_file: Path | None, key: Path | None, algorithm: str | None) -> SigningKey:
    allowed = ALGORITHMS if algorithm is None else check_algorithms([algorithm], option="algorithm")
    if (secret_file is None) == (key is None):
        raise ConfigError(
            "a token is signed with a secret or with a private key",
            option="secret-file",
            source="argument",
            hint="Pass --secret-file FILE (`openssl rand -base64 48`), or --key FILE "
            "(`openssl genpkey -algorithm ed25519`).",
        )
    if secret_file is not None:
        return read_secret_file(secret_file, option="secret-file", algorithms=allowed)[0]
    assert key is not None
    return read_key_file(key, option="key", algorithms=allowed, private=True)[0]


def _check_grants(texts: Sequence[str]) -> None:
    try:
        Grants.parse(texts, ())
    except InvalidGrant as cause:
        raise ConfigError(f"--grant: {cause}", option="grant", source="argument", hint=cause.hint) from cause


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


@token.command(cls=PlainCommand, epilog=exit_codes_epilog(failed="a hub would refuse the token, or another error"))
def inspect(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="File of the token; - is stdin.", show_default=False)
    ] = "-",
    secret_file: SecretOption = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="File of public keys: PEM, JWK or JWK Set.", show_default=False),
    ] = None,
    jwks_url: Annotated[
        str | None, typer.Option("--jwks-url", metavar="URL", help="Address of a JWK Set.", show_default=False)
    ] = None,
    issuer: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="Accepted issuer; repeatable.", show_default=False)
    ] = None,
    audience: AudienceOption = None,
    template: Annotated[
        list[str] | None,
        typer.Option(metavar="GRANT", help="Template of grants, as in docs/access.md; repeatable.", show_default=False),
    ] = None,
    grants_claim: Annotated[
        str, typer.Option("--grants-claim", metavar="NAME", help="Claim that holds grants.")
    ] = DEFAULT_GRANTS_CLAIM,
    name_claim: Annotated[
        str, typer.Option("--name-claim", metavar="NAME", help="Claim with the name of the subject.")
    ] = "sub",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the claims of a token, its grants, and whether a hub would accept it.

    The token is read from stdin or a file, so that it is not in the list of processes.
    Without a key, its signature is not verified. Issuer and audience are checked if given.
    With --config, all options but FILE come from the hub's.
    """
    text = _read_token(file)
    if config is not None:
        hub = find_settings(config=config)
        secret_file, key, jwks_url = hub.jwt_secret_file, hub.jwt_public_key, hub.jwks_url
        issuer, audience, template = list(hub.jwt_issuer), list(hub.jwt_audience), list(hub.grant_template)
        name_claim = hub.jwt_subject_claim
    with _refused_as_failure():
        header, claims = read_header(text), read_claims(text)
    report = TokenReport(algorithm=header.algorithm, kid=header.kid, claims=claims)
    keys = _find_keys(secret_file, key, jwks_url)
    rules = GrantRules(Contract().channels, templates=template or (), grants_claim=grants_claim, option="template")
    if keys is not None:
        policy = TokenPolicy(
            issuers=tuple(issuer or ()),
            audiences=tuple(audience or list_values(claims, "aud")),
            require_expiry=True,
            name_claim=name_claim,
        )
        TokenVerifier(FixedKeys(keys), policy, wall_ns=time.time_ns).verify(
            text, lambda result: _note_result(report, result)
        )
    report.subject = report.subject or next(iter(list_values(claims, name_claim)), "")
    report.notes = rules.explain(claims)
    try:
        report.grants = rules.grants_of(claims).names()
    except AccessError as error:
        _note_refusal(report, error)
    if as_json:
        typer.echo(escape_json(msgspec.json.format(msgspec.json.encode(report))))
    else:
        typer.echo(escape_lines("\n".join(_describe(report))))
    if report.code:
        raise typer.Exit(FAILED)


@contextmanager
def _refused_as_failure() -> Iterator[None]:
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


def _read_token(file: str) -> str:
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
            f"cannot read {file!r}: {cause.strerror or cause}", option="file", source="argument"
        ) from cause
    text = content.decode(errors="replace").strip().strip("\"'")
    return text[7:].lstrip() if text[:7].lower() == "bearer " else text


def _find_keys(secret_file: Path | None, key: Path | None, jwks_url: str | None) -> tuple[SigningKey, ...] | None:
    if sum(given is not None for given in (secret_file, key, jwks_url)) > 1:
        raise ConfigError("several sources of keys", option="key", source="argument", hint="Pass one of them.")
    if secret_file is not None:
        return read_secret_file(secret_file, option="secret-file")
    if key is not None:
        return read_key_file(key, option="key")
    if jwks_url is None:
        return None
    check_url(jwks_url, option="jwks-url")
    with _refused_as_failure():
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


def _describe(report: TokenReport) -> list[str]:
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


@token.command(cls=PlainCommand, epilog=exit_codes_epilog(ExitCode.NO_HUB))
def revoke(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="SUBJECT", help="Subject, all of whose credentials so far are revoked.", show_default=False
        ),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Id of a token (`jti`) or API key.", show_default=False)
    ] = None,
    from_file: Annotated[
        str | None,
        typer.Option(
            "--from-file", metavar="FILE", help="File of the token to revoke; - is stdin.", show_default=False
        ),
    ] = None,
    issued_before: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="RFC 3339 time: later credentials of the subject count. Default: now.",
            show_default=False,
        ),
    ] = None,
    url: UrlOption = None,
) -> None:
    """Revoke credentials in a running hub; their connections are closed within a second.

    Needs a key or token with the grant `admin` (TIDINGS_TOKEN).
    """
    body = _revocation_of(subject, id, from_file, issued_before)
    with exit_on_error(), HTTPClient(url) as client:
        answer = client.revoke(body)
    what = f"everything of {sanitize(subject)}" if subject is not None else f"the credential {body['credential_id']}"
    before = answer.get("issued_before") if isinstance(answer, dict) else None
    typer.echo(f"revoked {sanitize(what)}" + (f" that was issued before {sanitize(str(before))}" if before else ""))
    if isinstance(answer, dict) and answer.get("stored") is False:
        print_stderr("note: the hub's log could not store it yet; it counts all the same, and the hub tries again")


def _revocation_of(
    subject: str | None, id: str | None, from_file: str | None, issued_before: str | None
) -> dict[str, str]:
    if sum(given is not None for given in (subject, id, from_file)) != 1:
        raise ConfigError(
            "expected one of SUBJECT, --id and --from-file",
            option="subject",
            source="argument",
            hint="`tidings token revoke ada` revokes everything of a subject, --id one token or key.",
        )
    if subject is not None:
        body = {"subject": subject}
        if issued_before is not None:
            to_nanoseconds(issued_before)  # an invalid time is reported without asking the hub
            body["issued_before"] = issued_before
        return body
    if issued_before is not None:
        raise ConfigError("--issued-before is for a SUBJECT", option="issued-before", source="argument")
    if id is not None:
        return {"credential_id": id}
    with _refused_as_failure():
        claims = read_claims(_read_token(from_file or "-"))
    found, expiry = claims.get("jti"), claims.get("exp")
    if not isinstance(found, str) or not found:
        raise ConfigError(
            "the token has no id (`jti`)",
            option="from-file",
            source="argument",
            hint="Revoke its subject: `tidings token revoke SUBJECT`.",
        )
    body = {"credential_id": found}
    if is_time(expiry):
        body["expires_at"] = from_nanoseconds((int(expiry) + _CLOCK_MARGIN_S) * _NS)
    return body


_CLOCK_MARGIN_S: Final = 86_400
"""Time for which a revocation is kept after the expiry of its token, which the hub's leeway and clock may extend."""
