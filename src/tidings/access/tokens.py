"""JSON Web Tokens: verification of signatures and claims (RFC 7519, RFC 8725), and the subjects that they name.

No error contains anything of a token: neither its text nor its claims.
"""

from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeGuard

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct

from tidings.access.claims import GrantRules, list_values
from tidings.access.control import MAX_CREDENTIAL_LIFE_S
from tidings.access.grants import Grants
from tidings.access.signing_keys import ALGORITHMS, SigningKey
from tidings.access.subjects import (
    API_KEY_PREFIX,
    MAX_CREDENTIAL_BYTES,
    AccessRequest,
    Authenticated,
    Credential,
    Subject,
)
from tidings.exceptions import (
    AccessError,
    InvalidToken,
    TokenExpired,
    TokenNotYetValid,
    TokenTooLarge,
    TokenTruncated,
    UnknownSigningKey,
    WrongAlgorithm,
    WrongAudience,
    WrongIssuer,
)

DEFAULT_LEEWAY_S: Final = 30.0
"""Difference of clocks that is tolerated, in seconds; identity providers recommend up to a minute."""
MAX_NAME_CHARS: Final = 255
"""Length of the name of a subject, and of the id of a credential."""
_MAX_CANDIDATES: Final = 10
"""Keys that are tried for a token that names none."""
_END_OF_TIME_S: Final = 253_402_300_800
"""The end of the year 9999."""
_SIGNATURES = jwt.PyJWS(algorithms=ALGORITHMS)


class TokenHeader(Struct, frozen=True):
    """The header of a token: what is needed to find its key."""

    algorithm: str
    kid: str | None = None


KeysFound = Callable[[Sequence[SigningKey] | AccessError], None]
"""Called once with the keys that a token may be signed with, or with the reason why there is none."""


class KeySource(Protocol):
    """Where the keys come from that verify tokens."""

    def find(self, header: TokenHeader, found: KeysFound) -> None:
        """Find the keys of a token; `found` is called within the call, or later if keys must be fetched."""


class FixedKeys:
    """Keys that do not change, such as those of a file."""

    def __init__(self, keys: Iterable[SigningKey]) -> None:
        self._keys = tuple(keys)

    def find(self, header: TokenHeader, found: KeysFound) -> None:
        """See `KeySource.find`."""
        found(matching_keys(self._keys, header))


def matching_keys(keys: Iterable[SigningKey], header: TokenHeader) -> tuple[SigningKey, ...] | AccessError:
    """Return the keys that may have signed a token: by its algorithm, and by its `kid` if both have one.

    Returns:
        WrongAlgorithm or UnknownSigningKey, if there is no such key.
    """
    able = [key for key in keys if header.algorithm in key.algorithms]
    if not able:
        return WrongAlgorithm("the token is signed with an algorithm for which the hub has no key")
    exact = tuple(key for key in able if key.kid is not None and key.kid == header.kid)
    if exact:
        return exact
    unnamed = tuple(key for key in able if key.kid is None or header.kid is None)[:_MAX_CANDIDATES]
    return unnamed or UnknownSigningKey("the hub has no key with the `kid` of the token")


class TokenPolicy(Struct, frozen=True, kw_only=True):
    """Requirements on the claims of a token."""

    issuers: tuple[str, ...] = ()
    """Accepted values of `iss`; empty accepts any."""
    audiences: tuple[str, ...] = ()
    """Accepted values of `aud`; empty accepts only tokens without one (RFC 7519 §4.1.3)."""
    algorithms: tuple[str, ...] = ALGORITHMS
    """Accepted algorithms; a key restricts them further."""
    leeway_s: float = DEFAULT_LEEWAY_S
    require_expiry: bool = True
    """Whether a token without `exp` is refused."""
    max_life_s: float = MAX_CREDENTIAL_LIFE_S
    """Longest time between `iat` and `exp`, or from now to `exp`, in seconds."""
    name_claim: str = "sub"
    """Claim with the name of the subject."""


class VerifiedToken(Struct, frozen=True):
    """A token with a correct signature, whose claims are as the policy requires."""

    claims: Mapping[str, Any]
    name: str
    expires_ns: int | None
    issued_ns: int | None
    credential_id: str

    def __repr__(self) -> str:
        return "VerifiedToken(…)"


def read_header(token: str) -> TokenHeader:
    """Return the header of a token, which nothing has verified yet.

    Raises:
        TokenTooLarge: The token is longer than `MAX_CREDENTIAL_BYTES`.
        InvalidToken: It is not a token.
    """
    if len(token) > MAX_CREDENTIAL_BYTES:
        raise TokenTooLarge(f"the token has {len(token):,} characters; {MAX_CREDENTIAL_BYTES:,} are allowed")
    if token.startswith(_BEGINNING) and token.isascii() and token.count(".") < 2:
        raise TokenTruncated("the token is cut off: expected three parts between dots")
    if not token.isascii() or token.count(".") != 2:
        raise InvalidToken("the token is not a JWT: expected three parts between dots", hint=SEND_WHOLE)
    text = token.partition(".")[0]
    try:
        fields = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise InvalidToken("the token is not a JWT, or is cut off", hint=SEND_WHOLE) from None
    if not isinstance(fields, dict):
        raise InvalidToken("the token is not a JWT: its header is not a JSON object", hint=SEND_WHOLE)
    algorithm, kid = fields.get("alg"), fields.get("kid")
    if not isinstance(algorithm, str) or not isinstance(kid, str | None):
        raise InvalidToken("the header of the token names no algorithm, or its `kid` is not text")
    if _is_of_another_kind(fields.get("typ")):
        raise InvalidToken(
            "the JWT is of another kind than a token: `typ` names it", hint="Send an access token or an id token."
        )
    if "crit" in fields:  # RFC 7515 §4.1.11: it must be understood, and the hub understands none
        raise InvalidToken("the token needs an extension (`crit`) that the hub does not have")
    return TokenHeader(algorithm, kid)


def _is_of_another_kind(typ: object) -> bool:
    """Return whether the `typ` of a JWT names another purpose than access (RFC 8725 §3.11).

    An issuer signs these with the same key: licenses, logout tokens, DPoP proofs. `JWT` names no purpose, and many
    issuers write names of their own.
    """
    if not isinstance(typ, str):
        return typ is not None
    kind = typ.lower().removeprefix("application/")
    return kind.endswith("+jwt") and kind != "at+jwt"


_BEGINNING: Final = "eyJ"
"""Beginning of a JSON object in Base64, as that of each header."""
_SIGNATURE_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64, "ES256": 64, "ES384": 96, "ES512": 132, "EdDSA": 64}
"""Size of a signature; that of RSA is the size of the key."""
SEND_WHOLE: Final = "Send the whole token as it was issued, without quotes, blanks or line ends."


def read_claims(token: str) -> Mapping[str, Any]:
    """Return the claims of a token, which nothing has verified: to show them, and not to act on them.

    Raises:
        TokenTooLarge, InvalidToken: See `read_header`; or its claims are not a JSON object.
    """
    read_header(token)
    text = token.split(".")[1]
    try:
        return _parse_claims(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError:
        raise InvalidToken("the claims of the token are cut off", hint=SEND_WHOLE) from None


class TokenVerifier:
    """Verifies tokens.

    Args:
        keys: Where the keys come from.
        policy: Requirements on the claims.
        wall_ns: Returns nanoseconds since 1970.
    """

    def __init__(self, keys: KeySource, policy: TokenPolicy, *, wall_ns: Callable[[], int]) -> None:
        self._keys = keys
        self._policy = policy
        self._wall_ns = wall_ns

    def verify(self, token: str, done: Callable[[VerifiedToken | AccessError], None]) -> None:
        """Verify `token`; `done` is called once, within the call, or later if keys must be fetched."""
        try:
            header = read_header(token)
            if header.algorithm not in self._policy.algorithms:
                raise WrongAlgorithm(
                    "the token is signed with an algorithm that the hub does not accept",
                    hint=f"Sign it with one of {', '.join(self._policy.algorithms)}.",
                )
        except AccessError as error:
            done(error)
            return
        self._keys.find(header, lambda found: done(self._verify_with(token, header, found)))

    def _verify_with(
        self, token: str, header: TokenHeader, found: Sequence[SigningKey] | AccessError
    ) -> VerifiedToken | AccessError:
        if isinstance(found, AccessError):
            return found
        try:
            return check_claims(_verified_claims(token, header, found), self._policy, self._wall_ns())
        except AccessError as error:
            return error


def _verified_claims(token: str, header: TokenHeader, keys: Sequence[SigningKey]) -> Mapping[str, Any]:
    for key in keys:
        try:
            content = _SIGNATURES.decode(token, key.material, algorithms=[header.algorithm])
            break
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            continue  # another key without `kid`
    else:
        bits = [key.material.key_size for key in keys if isinstance(key.material, rsa.RSAPublicKey)]
        expected = _SIGNATURE_BYTES.get(header.algorithm) or min(bits, default=0) // 8
        if len(token.rpartition(".")[2]) * 6 // 8 < expected:
            raise TokenTruncated("the token is cut off: its signature is too short")
        raise InvalidToken("the signature of the token is wrong", hint="Get a new token from the issuer of this hub.")
    return _parse_claims(content)


def _parse_claims(content: bytes) -> Mapping[str, Any]:
    try:
        claims = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise InvalidToken("the claims of the token are not valid JSON") from None
    if not isinstance(claims, dict):
        raise InvalidToken("the claims of the token are not a JSON object")
    return claims


def check_claims(claims: Mapping[str, Any], policy: TokenPolicy, now_ns: int) -> VerifiedToken:
    """Check the claims of a token whose signature is correct.

    Raises:
        TokenExpired, TokenNotYetValid, WrongIssuer, WrongAudience, InvalidToken: They are not as `policy` requires.
    """
    expires_ns, issued_ns = _check_times(claims, policy, now_ns)
    if policy.issuers and claims.get("iss") not in policy.issuers:
        raise WrongIssuer("the token is from an issuer that the hub does not trust, or names none")
    audience = claims.get("aud", [])
    given = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else [None]
    if given and not any(each in policy.audiences for each in given if isinstance(each, str)):
        raise WrongAudience("the token is for another audience")
    if policy.audiences and not given:
        raise WrongAudience("the token names no audience (`aud`)")
    credential_id = claims.get("jti", "")
    if not isinstance(credential_id, str) or (credential_id and not is_name(credential_id)):
        raise InvalidToken(f"the id of the token (`jti`) is not text of up to {MAX_NAME_CHARS} printable characters")
    names = list(list_values(claims, policy.name_claim))
    name = names[0] if len(names) == 1 else ""  # nothing shows which one of several is meant
    if not is_name(name):
        raise InvalidToken(
            f"the token names no subject: `{policy.name_claim}` is not one text of 1–{MAX_NAME_CHARS} printable "
            "characters"
        )
    return VerifiedToken(claims, name, expires_ns, issued_ns, credential_id)


def _check_times(claims: Mapping[str, Any], policy: TokenPolicy, now_ns: int) -> tuple[int | None, int | None]:
    leeway_ns = int(policy.leeway_s * 1e9)
    expires_ns, issued_ns, begins_ns = (_time_ns(claims, name) for name in ("exp", "iat", "nbf"))
    if expires_ns is None and policy.require_expiry:
        raise TokenExpired("the token has no expiry (`exp`)", hint="Issue tokens with `exp`.")
    if expires_ns is not None and expires_ns + leeway_ns <= now_ns:
        late = describe_skew(now_ns - expires_ns)
        raise TokenExpired(
            f"the token expired {late} ago",
            hint=f"Get a new token. If this one is new, the hub's clock is {late} ahead of the issuer's, or more.",
        )
    early_ns = max(begins_ns or 0, issued_ns or 0)
    if early_ns - leeway_ns > now_ns:
        ahead = describe_skew(early_ns - now_ns)
        raise TokenNotYetValid(
            f"the token is valid in {ahead}",
            hint=f"Wait, or correct the clocks: the issuer's is {ahead} ahead of the hub's, or more.",
        )
    began_ns = min(now_ns if issued_ns is None else issued_ns, now_ns)
    if expires_ns is not None and expires_ns - began_ns > policy.max_life_s * 1e9:
        raise InvalidToken(
            f"the token is valid for more than {describe_skew(int(policy.max_life_s * 1e9))}",
            hint="Issue tokens with a shorter life.",
        )
    return None if expires_ns is None else expires_ns + leeway_ns, issued_ns


def _time_ns(claims: Mapping[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None:
        return None
    if not is_time(value):
        raise InvalidToken(f"`{name}` is not a number of seconds since 1970")
    return int(value * 1_000_000_000)


def is_time(value: object) -> TypeGuard[int | float]:
    """Return whether the value of a claim is a time (RFC 7519 §2, NumericDate) until the end of the year 9999."""
    # JSON has no NaN, and `True` is an int for Python only.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _END_OF_TIME_S


def describe_skew(duration_ns: int) -> str:
    """Return a duration for a person, in its largest unit: `45 s`, `12 min`, `3 h`, `2 days`."""
    seconds = max(1, round(duration_ns / 1e9))
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{round(seconds / size):,} {unit}"
    return f"{seconds} s"


def is_name(text: str) -> bool:
    """Return whether `text` can name a subject or a credential."""
    return 1 <= len(text) <= MAX_NAME_CHARS and text.isprintable()


class TokenAuthenticator:
    """The `tidings.access.subjects.Authenticator` of JSON Web Tokens.

    Args:
        keys: Where the keys come from.
        policy: Requirements on the claims.
        rules: What the claims grant.
        wall_ns: Returns nanoseconds since 1970.
    """

    method = "token"
    generation = 0
    """See `LastingAuthenticator`: a key that its issuer withdraws calls `withdrawn` of `RemoteKeys`."""

    def __init__(self, keys: KeySource, policy: TokenPolicy, rules: GrantRules, *, wall_ns: Callable[[], int]) -> None:
        self._verifier = TokenVerifier(keys, policy, wall_ns=wall_ns)
        self._rules = rules
        self._leeway_ns = int(policy.leeway_s * 1e9)

    def accepts(self, credential: Credential) -> bool:
        """See `Authenticator.accepts`: everything but API keys, so that a token that is cut off gets its own error."""
        return not credential.value.startswith(API_KEY_PREFIX)

    def authenticate(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        """See `Authenticator.authenticate`."""
        self._verifier.verify(credential.value, lambda token: done(self._subject(token)))

    def _subject(self, token: VerifiedToken | AccessError) -> Subject | AccessError:
        if isinstance(token, AccessError):
            return token
        try:
            grants: Grants = self._rules.grants_of(token.claims)
        except AccessError as error:
            return error
        return Subject(
            name=token.name,
            grants=grants,
            expires_ns=token.expires_ns,
            leeway_ns=self._leeway_ns,
            issued_ns=token.issued_ns,
            credential_id=token.credential_id,
        )
