"""Licenses: JWTs signed with Ed25519, verified offline (docs/access.md, "License").

A license names who it is for, its id, and when it begins and ends. Its header names the key that signed it, so that a
license of another key and a damaged one are distinguished.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any, Final

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from msgspec import Struct

from tidings.access.private_files import read_private
from tidings.exceptions import ConfigError, InvalidLicense, LicenseNotYetValid, LicenseOfAnotherKey
from tidings.protocol.timestamps import MAX_YEAR, from_nanoseconds

MAX_LICENSE_BYTES: Final = 64 << 10
LEEWAY_S: Final = 300
"""By how many seconds the clocks of issuer and hub may differ: Kerberos allows as much (RFC 4120 §8.2)."""
_ALGORITHM: Final = "EdDSA"
_TYPE: Final = "tidings-license+jwt"
"""`typ` of the header: a license is not accepted as a token, nor a token as a license (RFC 8725 §3.11)."""
_MAX_SECONDS: Final = (MAX_YEAR - 1970) * 365 * 86_400
_NS: Final = 1_000_000_000
_MAX_TEXT_CHARS: Final = 255
_DAMAGED: Final = "Copy the file again, whole, or ask the issuer for it."


class License(Struct, frozen=True, kw_only=True):
    """The contents of a license. Times are in nanoseconds since 1970."""

    license_id: str
    subject: str
    """Company or person that it is for."""
    issued_ns: int
    begins_ns: int
    expires_ns: int

    def __str__(self) -> str:
        return f"license {self.license_id} of {self.subject}"


class _Claims(Struct, frozen=True):
    jti: str
    sub: str
    iat: int
    exp: int
    nbf: int | None = None


def issue_license(license: License, key: Ed25519PrivateKey) -> str:
    """Return a license as the text of its file."""
    claims = {
        "jti": license.license_id,
        "sub": license.subject,
        "iat": license.issued_ns // _NS,
        "nbf": license.begins_ns // _NS,
        "exp": license.expires_ns // _NS,
    }
    headers = {"typ": _TYPE, "kid": key_id(key.public_key())}
    return jwt.encode(claims, key, algorithm=_ALGORITHM, headers=headers)


def decode_license(text: bytes, source: str) -> License:
    """Return the contents of a license without verifying it.

    Raises:
        InvalidLicense: It is damaged.
    """
    _check_form(text, source)
    try:
        claims = jwt.decode(text.strip().decode(), options={"verify_signature": False})
    except (jwt.PyJWTError, RecursionError, ValueError) as cause:
        raise InvalidLicense(f"invalid license {source}: it is damaged", hint=_DAMAGED) from cause
    return _from_claims(claims, source)


def verify_license(text: bytes, source: str, key: Ed25519PublicKey, now_ns: int) -> License:
    """Return the contents of a license that is signed with `key` and has begun; it may have expired.

    Args:
        text: The contents of its file.
        source: Name of the file, for errors.
        key: The key of the issuer.
        now_ns: Current time, nanoseconds since 1970.

    Raises:
        InvalidLicense: It is damaged.
        LicenseOfAnotherKey: It was signed with another key.
        LicenseNotYetValid: It begins later than in `LEEWAY_S`, or was issued in the future.
    """
    kid = _check_form(text, source)
    own = key_id(key)
    if kid is not None and kid != own:
        raise LicenseOfAnotherKey(
            f"invalid license {source}: it was signed with the key {kid[:80]}, and this hub trusts {own}",
            hint="Use the public key of the issuer (--license-public-key), or ask it for a license.",
        )
    try:
        claims = jwt.decode(
            text.strip().decode(),
            key,
            algorithms=[_ALGORITHM],
            # The times are judged here: an expired license has a grace.
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except jwt.InvalidSignatureError as cause:
        message = f"invalid license {source}: its signature is wrong"
        if kid is None:
            raise LicenseOfAnotherKey(f"{message}: it was signed with another key, or was changed") from cause
        raise InvalidLicense(f"{message}: it was changed or damaged", hint=_DAMAGED) from cause
    except (jwt.PyJWTError, RecursionError, ValueError) as cause:
        raise InvalidLicense(f"invalid license {source}: it is damaged", hint=_DAMAGED) from cause
    license = _from_claims(claims, source)
    begins_ns = max(license.begins_ns, license.issued_ns)
    if now_ns < begins_ns - LEEWAY_S * _NS:
        raise LicenseNotYetValid(
            f"the {license} begins at {from_nanoseconds(begins_ns)}",
            hint=f"The clock of this machine shows {_time(now_ns)}, which is {_span((begins_ns - now_ns) // _NS)} "
            "earlier. Set the clock if it is wrong.",
        )
    return license


def _check_form(text: bytes, source: str) -> str | None:
    """Check the header, and return the id of the key that it names."""
    if len(text) > MAX_LICENSE_BYTES:
        raise InvalidLicense(f"invalid license {source}: it is larger than {MAX_LICENSE_BYTES >> 10} KiB")
    if not text.strip():
        raise InvalidLicense(f"invalid license {source}: the file is empty", hint=_DAMAGED)
    try:
        header = jwt.get_unverified_header(text.strip().decode("ascii"))
    except (jwt.PyJWTError, RecursionError, ValueError) as cause:
        raise InvalidLicense(f"invalid license {source}: it is not a license, or is cut off", hint=_DAMAGED) from cause
    if header.get("typ") != _TYPE or header.get("alg") != _ALGORITHM:
        raise InvalidLicense(
            f"invalid license {source}: it is another kind of token",
            hint=f"A license has `typ` {_TYPE!r} and `alg` {_ALGORITHM!r}; `tidings license issue` makes one.",
        )
    kid = header.get("kid")
    return kid if isinstance(kid, str) else None


def _from_claims(claims: dict[str, Any], source: str) -> License:
    try:
        found = msgspec.convert(claims, _Claims)
    except msgspec.ValidationError as cause:
        raise InvalidLicense(f"invalid license {source}: {cause}", hint=_DAMAGED) from cause
    begins = found.iat if found.nbf is None else found.nbf
    for text in (found.jti, found.sub):
        if not (1 <= len(text) <= _MAX_TEXT_CHARS and text.isprintable()):
            raise InvalidLicense(
                f"invalid license {source}: expected an id and a subject of 1–{_MAX_TEXT_CHARS} printable characters"
            )
    if not all(0 <= each <= _MAX_SECONDS for each in (found.iat, found.exp, begins)):
        raise InvalidLicense(f"invalid license {source}: a time is out of range")
    return License(
        license_id=found.jti,
        subject=found.sub,
        issued_ns=found.iat * _NS,
        begins_ns=begins * _NS,
        expires_ns=found.exp * _NS,
    )


def key_id(key: Ed25519PublicKey) -> str:
    """Return the id of a public key: the first 16 characters of its hash, in base64url."""
    digest = hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).digest()
    return base64.urlsafe_b64encode(digest)[:16].decode()


def read_public_key(path: Path) -> Ed25519PublicKey:
    """Return the public key in a PEM file.

    Raises:
        InvalidLicense: It cannot be read, or is not an Ed25519 public key.
        UnsafeFile: Other users can change it.
    """
    hint = "Use the issuer's PEM file: `openssl pkey -in license.key -pubout` writes it."
    try:
        key = load_pem_public_key(read_private(path, "public key", secret=False))
    except OSError as cause:
        raise InvalidLicense(f"cannot read the public key {path}: {cause.strerror or cause}", hint=hint) from cause
    except Exception as cause:  # cryptography raises ValueError, UnsupportedAlgorithm and others
        if isinstance(cause, ConfigError):
            raise
        raise InvalidLicense(f"invalid public key {path}: expected PEM", hint=hint) from cause
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidLicense(f"invalid public key {path}: expected an Ed25519 key", hint=hint)
    return key


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """Return the private key in a PEM file, which only its owner may read.

    Raises:
        InvalidLicense: It cannot be read, or is not an Ed25519 private key.
        UnsafeFile: Other users can read it.
    """
    hint = "Create one with `openssl genpkey -algorithm ed25519 -out license.key`."
    try:
        key = load_pem_private_key(read_private(path, "private key"), password=None)
    except OSError as cause:
        raise InvalidLicense(f"cannot read the private key {path}: {cause.strerror or cause}", hint=hint) from cause
    except Exception as cause:  # cryptography raises ValueError, TypeError, UnsupportedAlgorithm and others
        if isinstance(cause, ConfigError):
            raise
        raise InvalidLicense(
            f"invalid private key {path}: expected PEM without a password", hint=hint
        ) from None  # the cause may hold parts of the key
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidLicense(f"invalid private key {path}: expected an Ed25519 key", hint=hint)
    return key


def read_license_file(path: Path) -> bytes:
    """Return the contents of a license file, which other users may read and not change.

    Raises:
        InvalidLicense: It cannot be read.
        UnsafeFile: Other users can change it.
    """
    try:
        return read_private(path, "license", secret=False)
    except OSError as cause:
        raise InvalidLicense(
            f"cannot read the license {path}: {cause.strerror or cause}", hint="Check the path of the license."
        ) from cause


def _time(unix_ns: int) -> str:
    return from_nanoseconds(unix_ns - unix_ns % _NS)


def _span(seconds: int) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:,} {unit}"
    return f"{seconds} s"
