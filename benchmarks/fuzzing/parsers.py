"""Targets for the parsers of access: tokens, claims, grants, templates, paths, keys and headers.

Each takes any input, and checks what must hold: the parser raises its own errors only, what it accepts is read back as
the same, and no value widens a grant.
"""

import contextlib
import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

from hypothesis import strategies as st

from tidings.access.claims import GrantRules, GrantTemplate, list_values
from tidings.access.credentials import find_credential
from tidings.access.grants import Grants
from tidings.access.signing_keys import UnusableKey, make_secret, parse_keys, sign
from tidings.access.subjects import Credential
from tidings.access.tokens import FixedKeys, TokenPolicy, TokenVerifier, VerifiedToken, read_claims
from tidings.exceptions import AccessError, ConfigError, ContractError, InvalidGrant
from tidings.protocol.paths import Path, PathSet, parse_path

CHANNELS = ("global", "operations", "data", "system")
_SECRET = b"0123456789abcdef0123456789abcdef"
_KEY = make_secret(_SECRET)
_NOW_S = 1_767_225_600
_CLAIMS = {"sub": "ada", "iat": _NOW_S, "exp": _NOW_S + 3_600, "tidings": ["read data/a.*"], "v": ["x", "y"]}
_TOKEN = sign(_CLAIMS, _KEY)
_TEMPLATES = (
    "read operations/{v}.*",
    "read data/{+v}/*",
    "publish data/{v}",
    "cancel operations/{a.b}-*",
    "admin if v=root",
)
_RULES = GrantRules(CHANNELS, templates=_TEMPLATES, grants_claim="")
_VERIFIER = TokenVerifier(FixedKeys([_KEY]), TokenPolicy(), wall_ns=lambda: _NOW_S * 10**9)

# Inputs.

_NAMES = st.sampled_from(
    ["sub", "exp", "iat", "nbf", "aud", "iss", "jti", "tidings", "v", "a", "b", "a.b", "read", "admin"]
)
_PIECES = st.sampled_from(
    ["operations", "data", "global", "/", "*", ".", "-", " ", ":", "{", "}", "{sub}", "{+v}.*", "read ", "publish ",
     "cancel ", "admin", "details", " if ", "=", "a", "é", "\x00", "\x1f", "\n", "\u202e", "\ud800", "e" * 300]
)  # fmt: skip
TEXTS = st.one_of(st.text(max_size=40), st.lists(_PIECES, max_size=8).map("".join))
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda each: st.one_of(st.lists(each, max_size=4), st.dictionaries(st.one_of(_NAMES, TEXTS), each, max_size=4)),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.one_of(_NAMES, TEXTS), JSON, max_size=6)
_CHANGES = st.tuples(st.integers(0, len(_TOKEN)), st.integers(0, 8), st.text(alphabet=".=-_aZ09 +/\n\0é", max_size=4))


def _changed(change: tuple[int, int, str]) -> str:
    at, removed, added = change
    return _TOKEN[:at] + added + _TOKEN[at + removed :]


def _forged(header: Any, claims: Any, *, signed: bool) -> str:
    parts = [json.dumps(part).encode(errors="surrogatepass") for part in (header, claims)]
    unsigned = b".".join(urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = hmac.new(_SECRET if signed else b"other", unsigned, hashlib.sha256).digest()
    return (unsigned + b"." + urlsafe_b64encode(signature).rstrip(b"=")).decode()


_HEADERS = st.one_of(
    st.just({"alg": "HS256"}),
    st.fixed_dictionaries({"alg": st.sampled_from(["none", "HS256", "RS256", "HS512", "", 7])}),
    st.dictionaries(st.sampled_from(["alg", "kid", "crit", "b64", "typ", "zip", "jwk"]), JSON, max_size=4),
)
TOKENS = st.one_of(TEXTS, _CHANGES.map(_changed), st.builds(_forged, _HEADERS, JSON, signed=st.booleans()))

# Targets.


def check_token(text: str) -> None:
    """A token is refused with an error of ours, or it was signed with the secret and its claims are those signed."""
    results: list[VerifiedToken | AccessError] = []
    _VERIFIER.verify(text, results.append)
    (result,) = results
    if isinstance(result, VerifiedToken):
        unsigned, _, signature = text.rstrip("=").rpartition(".")
        expected = hmac.new(_SECRET, unsigned.encode(), hashlib.sha256).digest()
        assert signature == urlsafe_b64encode(expected).rstrip(b"=").decode()
        assert read_claims(text) == result.claims
    with contextlib.suppress(AccessError):
        read_claims(text)


def check_claims(claims: dict[str, Any]) -> None:
    """Claims give grants below their own values only, or an error of ours."""
    grants = _RULES.grants_of(claims)
    values = set(list_values(claims, "v"))
    for path in grants.read.paths:
        if path != Path("global"):
            assert path.key is not None
            assert path.prefix
            assert path.key[:-1] in values
            assert path.key[-1] == {"operations": ".", "data": "/"}[path.channel]
            assert "*" not in path.key
    for publish in grants.publish:
        assert (publish.path.channel, publish.path.key in values, publish.path.prefix) == ("data", True, False)
        assert not publish.types
    assert grants.admin is ("root" in values)
    _RULES.explain(claims)
    with contextlib.suppress(InvalidGrant):
        GrantRules(CHANNELS, grants_claim="tidings").grants_of(claims)


def check_grant(text: str) -> None:
    """A grant is read back as the same from its canonical form, or refused."""
    try:
        grants = Grants.parse([text], CHANNELS)
    except InvalidGrant:
        return
    assert Grants.parse(grants.names(), CHANNELS) == grants


def check_template(text: str) -> None:
    """A template is refused when it is read, or gives grants or none for any claims."""
    try:
        template = GrantTemplate(text)
    except ConfigError:
        return
    Grants.parse(template.expand(_CLAIMS), CHANNELS)
    Grants.parse(template.expand({}), CHANNELS)


def check_path(text: str) -> None:
    """A path is read back as the same, covers itself, or is refused."""
    try:
        paths = parse_path(text, CHANNELS)
    except ContractError:
        return
    for path in paths:
        assert parse_path(str(path), CHANNELS) == (path,)
        assert PathSet.of([path]).covers(path)


def check_keys(text: bytes) -> None:
    """A file of keys is read, or refused."""
    try:
        keys = parse_keys(text)
    except UnusableKey:
        return
    assert all(key.algorithms for key in keys)


def check_credential(headers: dict[str, str], query: str) -> None:
    """A credential is found in a request, or the request is refused; no error contains it."""
    try:
        found = find_credential(headers, query, cookie="session")
    except AccessError:
        return
    assert found is None or isinstance(found, Credential)


_JWKS = st.dictionaries(
    st.sampled_from(["kty", "n", "e", "d", "x", "y", "k", "crv", "alg", "use", "kid", "key_ops"]),
    st.one_of(st.sampled_from(["RSA", "EC", "oct", "OKP", "P-256", "Ed25519", "AQAB", "HS256", "ES256", "sig"]), JSON),
    max_size=6,
)
KEY_FILES = st.one_of(
    st.binary(max_size=100),
    _JWKS.map(lambda fields: json.dumps({"kty": "RSA", **fields}).encode()),
    st.lists(_JWKS, max_size=3).map(lambda listed: json.dumps({"keys": listed}).encode()),
    st.binary(max_size=60).map(lambda body: b"-----BEGIN PUBLIC KEY-----\n" + body + b"\n-----END PUBLIC KEY-----\n"),
)
FIELDS = st.dictionaries(st.sampled_from(["authorization", "cookie"]), st.one_of(TEXTS, TEXTS.map("Bearer {}".format)))
