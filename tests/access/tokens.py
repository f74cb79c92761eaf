"""Keys and tokens for tests."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tidings.access.claims import GrantRules
from tidings.access.signing_keys import SigningKey, make_secret
from tidings.access.subjects import AccessRequest, Credential, Subject
from tidings.access.tokens import FixedKeys, TokenAuthenticator, TokenPolicy
from tidings.exceptions import AccessError
from tidings.testing.clock import ManualClock

CHANNELS = ("global", "operations", "data", "system")
SECRET = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
NOW = ManualClock().wall_ns() // 10**9
ISSUER, AUDIENCE = "https://issuer.example", "tidings"


@cache
def private_key(algorithm: str) -> Any:
    if algorithm[:2] in ("RS", "PS"):
        return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    curves: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    return ec.generate_private_key(curves[algorithm])


def public_pem(algorithm: str) -> bytes:
    pem: bytes = private_key(algorithm).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def private_pem(algorithm: str) -> bytes:
    pem: bytes = private_key(algorithm).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def jwk(algorithm: str, *, private: bool = False, **fields: Any) -> dict[str, Any]:
    key = private_key(algorithm)
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key if private else key.public_key(), as_dict=True)
    return {**made, **fields}


def jwk_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ada",
        "iat": NOW,
        "exp": NOW + 3_600,
        "jti": "token-1",
        "tidings": ["read operations/acme.*"],
        **changes,
    }
    return {name: value for name, value in made.items() if value is not None}


def token(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def forged(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(payload).encode(), signature)
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def payload_of(text: str) -> str:
    part = text.split(".")[1]
    return urlsafe_b64decode(part + "=" * (-len(part) % 4)).decode()


def authenticator(
    *keys: SigningKey, clock: ManualClock | None = None, rules: GrantRules | None = None, **policy: Any
) -> TokenAuthenticator:
    return TokenAuthenticator(
        FixedKeys(keys or (make_secret(SECRET),)),
        TokenPolicy(**{"issuers": (ISSUER,), "audiences": (AUDIENCE,), **policy}),
        rules or GrantRules(CHANNELS),
        wall_ns=(clock or ManualClock()).wall_ns,
    )


def judge(checker: TokenAuthenticator, text: str) -> Subject | AccessError:
    results: list[Subject | AccessError] = []
    checker.authenticate(Credential(text, "header"), AccessRequest(), results.append)
    assert len(results) == 1
    return results[0]
