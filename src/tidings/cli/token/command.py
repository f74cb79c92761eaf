"""The commands `tidings token …`: issue and inspect tokens, and revoke credentials (docs/access.md, "Tokens")."""

import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from msgspec import structs

from tidings.access.claims import DEFAULT_GRANTS_CLAIM, GrantRules, list_values
from tidings.access.control import MAX_CREDENTIAL_LIFE_S
from tidings.access.grants import Grants, has_literal_star
from tidings.access.signing_keys import (
    ALGORITHMS,
    SigningKey,
    check_algorithms,
    read_key_file,
    read_secret_file,
    sign,
)
from tidings.access.subjects import RESERVED_SUBJECTS
from tidings.access.tokens import TokenPolicy, is_name, is_time, read_claims
from tidings.cli.commands import PlainCommand, make_group
from tidings.cli.errors import FAILED, ExitCode, exit_codes_epilog, exit_on_error, print_stderr
from tidings.cli.hub_settings import ConfigOption, JsonOption, find_settings
from tidings.cli.options import UrlOption, parse_duration_option
from tidings.cli.serve.token_access import make_policy
from tidings.cli.text import sanitize
from tidings.cli.token.inspection import describe, find_keys, make_report, read_token, refused_as_failure
from tidings.client.http import HTTPClient
from tidings.contract.contract import Contract
from tidings.exceptions import ConfigError, InvalidGrant
from tidings.printable import escape_json, escape_lines
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds

_NS: Final = 1_000_000_000


token = make_group(
    "token",
    "Issue and inspect tokens, and revoke tokens and keys of a running hub.",
    {
        "issue": ("create", "new", "sign", "add"),
        "inspect": ("show", "decode", "verify", "check", "debug"),
        "revoke": ("rm", "remove", "delete"),
    },
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
    config: ConfigOption = None,
) -> None:
    """Sign a token, and print it on stdout.

    The hub verifies it with the same secret, or with the public key. With --config, secret, issuer and audience are by
    default the hub's. Nothing else is printed on stdout:
    TOKEN=$(tidings token issue --subject nightly --grant 'publish operations/nightly.*' --secret-file secret)
    """
    templates: Sequence[str] = ()
    if config is not None:
        hub = find_settings(config=config)
        templates = hub.grant_template
        secret_file = secret_file or (hub.jwt_secret_file if key is None else None)
        issuer, audience = issuer or next(iter(hub.jwt_issuer), None), audience or list(hub.jwt_audience[:1])
    signer = _find_signer(secret_file, key, algorithm)
    grants = tuple(dict.fromkeys(grant or ()))
    _check_grants(grants)
    credential_id = id or secrets.token_hex(8)
    for name, value in (("subject", subject), ("id", credential_id)):
        if not is_name(value):
            raise ConfigError(f"invalid {name}: expected 1–255 printable characters", option=name, source="argument")
    if subject in RESERVED_SUBJECTS:
        raise ConfigError(f"invalid subject {subject!r}: it is reserved", option="subject", source="argument")
    now_ms = time.time_ns() // 1_000_000
    expiry = now_ms // 1_000 + int(parse_duration_option("expires", expires, 1, MAX_CREDENTIAL_LIFE_S))
    claims: dict[str, object] = {
        "sub": subject,
        # To the millisecond: a token that replaces one revoked in the same second was issued after that.
        "iat": now_ms / 1_000,
        "exp": expiry,
        "jti": credential_id,
        DEFAULT_GRANTS_CLAIM: list(grants),
    }
    if issuer is not None:
        claims["iss"] = issuer
    if audience:
        claims["aud"] = audience[0] if len(audience) == 1 else audience
    shown: Sequence[str] = grants
    if templates:
        shown = GrantRules(Contract().channels, templates=templates, option="grant-template").grants_of(claims).names()
    typer.echo(sign(claims, signer, algorithm))
    print_stderr(
        f"issued the token {credential_id} of {sanitize(subject)}: {', '.join(shown) or 'no grants'}; "
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
    for text in filter(has_literal_star, texts):
        print_stderr(f"note: {text!r}: `*` stands for other characters only at the end of a path")


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
    text = read_token(file)
    policy = TokenPolicy(issuers=tuple(issuer or ()), audiences=tuple(audience or ()), name_claim=name_claim)
    if config is not None:
        hub = find_settings(config=config)
        secret_file, key, jwks_url, template = (
            hub.jwt_secret_file,
            hub.jwt_public_key,
            hub.jwks_url,
            list(hub.grant_template),
        )
        policy = make_policy(hub)
    with refused_as_failure():
        if config is None and not audience:
            policy = structs.replace(policy, audiences=tuple(list_values(read_claims(text), "aud")))
        rules = GrantRules(Contract().channels, templates=template or (), grants_claim=grants_claim, option="template")
        report = make_report(text, find_keys(secret_file, key, jwks_url), policy, rules)
    if as_json:
        typer.echo(escape_json(msgspec.json.format(msgspec.json.encode(report))))
    else:
        typer.echo(escape_lines("\n".join(describe(report))))
    if report.code:
        raise typer.Exit(FAILED)


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
    with refused_as_failure():
        claims = read_claims(read_token(from_file or "-"))
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
