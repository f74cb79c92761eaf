"""The keys with which tokens are signed and verified, from files and from JWK Sets (RFC 7517, RFC 7518).

A key belongs to one family of algorithms, which its type decides and no token can change: a public key is never used
as the secret of an HMAC (RFC 8725 §2.1).
"""

import logging
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, cast

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from msgspec import Struct

from tidings.access.private_files import open_at_once
from tidings.exceptions import ConfigError

MIN_SECRET_BYTES: Final = 32
"""Size of the shortest secret: as long as the hash of HS256 (RFC 7518 §3.2)."""
MIN_RSA_BITS: Final = 2_048
"""Size of the shortest RSA key (RFC 7518 §3.3)."""
MAX_KEY_FILE_BYTES: Final = 1 << 20
"""Size of a file of keys; that of a JWK Set with 100 certificates is a fifth of it."""
MAX_KEYS: Final = 100
"""Keys of one set: providers publish two to ten."""
_SECRET_ALGORITHMS: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Algorithms of a secret, and the size in bytes that each needs."""
_RSA_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS: Final = (*_SECRET_ALGORITHMS, *_RSA_ALGORITHMS, *_CURVES.values(), "EdDSA")
"""All algorithms of signatures that a hub can verify. `none` is not one."""

logger = logging.getLogger(__name__)


class SigningKey(Struct, frozen=True):
    """A key, and the algorithms that may be used with it."""

    material: Any
    """A secret (bytes), or a public or private key of `cryptography`."""
    algorithms: frozenset[str]
    kid: str | None = None
    """Its id in a JWK Set; None if it has none."""

    def __repr__(self) -> str:
        return f"SigningKey(kid={self.kid!r}, algorithms={sorted(self.algorithms)})"


class UnusableKey(ValueError):
    """The text is not a key that can be used; the message contains nothing of it."""


def make_secret(secret: bytes, algorithms: Iterable[str] = ALGORITHMS) -> SigningKey:
    """Return the key of a shared secret.

    Raises:
        UnusableKey: It is too short, or a public key, which everyone may have.
    """
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(secret)
    except (jwt.InvalidKeyError, RecursionError):
        raise UnusableKey("it is empty, or a public key, and not a secret") from None
    allowed = frozenset(name for name, size in _SECRET_ALGORITHMS.items() if len(secret) >= size)
    if not allowed:
        raise UnusableKey(f"it has {len(secret)} bytes; a secret has {MIN_SECRET_BYTES} or more")
    return _restricted(SigningKey(secret, allowed), algorithms)


def parse_keys(text: bytes, algorithms: Iterable[str] = ALGORITHMS, *, private: bool = False) -> tuple[SigningKey, ...]:
    """Return the keys of a PEM file, a PEM certificate, a JWK or a JWK Set.

    Keys of a set that cannot be used, such as those for encryption, are left out.

    Args:
        text: The contents of the file.
        algorithms: The algorithms that are allowed.
        private: Whether the keys are for signing. A file for verifying must not contain private keys.

    Raises:
        UnusableKey: It has no usable key.
    """
    if len(text) > MAX_KEY_FILE_BYTES:
        raise UnusableKey(f"it is larger than {MAX_KEY_FILE_BYTES >> 20} MiB")
    if b"-----BEGIN" in text and not text.lstrip().startswith(b"{"):  # a JWK may contain its certificate as PEM
        return (_restricted(_from_pem(text, private=private), algorithms),)
    try:
        parsed = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise UnusableKey("it is neither PEM nor JSON") from cause
    if isinstance(parsed, dict) and isinstance(listed := parsed.get("keys"), list):
        return _from_jwk_set(listed, algorithms, private=private)
    if not isinstance(parsed, dict):
        raise UnusableKey("it is not a JWK or a JWK Set")
    return (_restricted(_from_jwk(parsed, private=private), algorithms),)


def _from_jwk_set(listed: list[Any], algorithms: Iterable[str], *, private: bool) -> tuple[SigningKey, ...]:
    if len(listed) > MAX_KEYS:
        raise UnusableKey(f"it has {len(listed):,} keys; a JWK Set has {MAX_KEYS} or fewer")
    keys = []
    for each in listed:
        try:
            keys.append(_restricted(_from_jwk(each, private=private), algorithms))
        except UnusableKey as error:
            logger.debug("a key of a JWK Set is not used: %s", error)
    if not keys:
        raise UnusableKey("it has no key that can verify signatures with an allowed algorithm")
    return tuple(keys)


def _from_jwk(fields: Any, *, private: bool) -> SigningKey:
    if not isinstance(fields, dict) or not isinstance(fields.get("kty"), str):
        raise UnusableKey("it is not a JWK: `kty` is missing")
    if fields.get("use", "sig") != "sig":
        raise UnusableKey("the key is not for signatures")
    operations = fields.get("key_ops")
    if isinstance(operations, list) and not {"verify", "sign"} & {each for each in operations if isinstance(each, str)}:
        raise UnusableKey("the key is not for signatures")
    kid, named = fields.get("kid"), fields.get("alg")
    if not isinstance(kid, str | None) or not isinstance(named, str | None):
        raise UnusableKey("`kid` or `alg` is not text")
    try:
        # `alg` chooses between RS256 and PS256 only; the type of the key decides on the family.
        material = jwt.PyJWK({name: value for name, value in fields.items() if name != "alg"}).key
    except Exception:  # PyJWT and cryptography raise many kinds; their messages may contain the key
        raise UnusableKey("the JWK is not a valid key") from None
    key = make_secret(material) if isinstance(material, bytes) else _asymmetric(material, private=private)
    allowed = key.algorithms if named is None else key.algorithms & {named}
    if not allowed:
        raise UnusableKey(f"its algorithm is not one of {', '.join(sorted(key.algorithms))}")
    return SigningKey(key.material, allowed, kid)


def _from_pem(text: bytes, *, private: bool) -> SigningKey:
    try:
        if b"PRIVATE KEY-----" in text:
            material: Any = load_pem_private_key(text, password=None)
        elif b"-----BEGIN CERTIFICATE" in text:
            material = load_pem_x509_certificate(text).public_key()
        else:
            material = load_pem_public_key(text)
    except TypeError:
        raise UnusableKey("the private key is encrypted") from None
    except Exception:  # cryptography raises ValueError, UnsupportedAlgorithm and others
        raise UnusableKey("it is not a valid PEM key") from None
    return _asymmetric(material, private=private)


def _asymmetric(material: Any, *, private: bool) -> SigningKey:
    is_private = hasattr(material, "private_bytes")
    if is_private and not private:
        raise UnusableKey("it is a private key, which only the issuer needs")
    if private and not is_private:
        raise UnusableKey("it is a public key, which cannot sign")
    public = material.public_key() if is_private else material
    if isinstance(public, rsa.RSAPublicKey):
        if public.key_size < MIN_RSA_BITS:
            raise UnusableKey(f"the RSA key has {public.key_size} bits; {MIN_RSA_BITS:,} or more are needed")
        return SigningKey(material, frozenset(_RSA_ALGORITHMS))
    if isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name in _CURVES:
        return SigningKey(material, frozenset({_CURVES[public.curve.name]}))
    if isinstance(public, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return SigningKey(material, frozenset({"EdDSA"}))
    raise UnusableKey("the type of the key is not RSA, P-256, P-384, P-521 or Ed25519")


def _restricted(key: SigningKey, algorithms: Iterable[str]) -> SigningKey:
    allowed = key.algorithms & set(algorithms)
    if not allowed:
        raise UnusableKey(f"the key is for {', '.join(sorted(key.algorithms))}, none of which is allowed")
    return SigningKey(key.material, allowed, key.kid)


# Files and options.


def check_algorithms(names: Iterable[str], *, option: str) -> tuple[str, ...]:
    """Return the algorithms of an option.

    Raises:
        ConfigError: One is not in `ALGORITHMS`, or there is none.
    """
    chosen = tuple(dict.fromkeys(names))
    for name in chosen:
        if name not in ALGORITHMS:
            raise ConfigError(
                f"invalid algorithm {name[:40]!r}: expected one of {', '.join(ALGORITHMS)}", option=option
            )
    if not chosen:
        raise ConfigError("no algorithm is allowed", option=option, hint=f"Allow one of {', '.join(ALGORITHMS)}.")
    return chosen


def read_secret_file(
    path: Path, *, option: str, algorithms: Iterable[str] = ALGORITHMS, reloads: bool = False
) -> tuple[SigningKey, ...]:
    """Return the secret in a file, without the line end that editors append.

    Args:
        path: The file.
        option: Name of the option, for errors.
        algorithms: Algorithms that the secret may have.
        reloads: Whether the file is read again and again: then it must be a regular file, and no pipe.

    Raises:
        ConfigError: The file cannot be read, or is not a secret of 32 bytes or more.
    """
    text = _read(path, option, secret=True, reloads=reloads).rstrip(b"\r\n")
    try:
        return (make_secret(text, algorithms),)
    except UnusableKey as cause:
        raise ConfigError(
            f"invalid secret in {str(path)!r}: {cause}",
            option=option,
            hint="Create one with `openssl rand -base64 48`. A public key goes into --jwt-public-key.",
        ) from cause


def read_key_file(
    path: Path, *, option: str, algorithms: Iterable[str] = ALGORITHMS, private: bool = False, reloads: bool = False
) -> tuple[SigningKey, ...]:
    """Return the keys in a file: PEM, a PEM certificate, a JWK or a JWK Set.

    Args:
        path: The file.
        option: Name of the option, for errors.
        algorithms: Algorithms that the keys may have.
        private: Whether the keys sign.
        reloads: See `read_secret_file`.

    Raises:
        ConfigError: The file cannot be read, or has no usable key.
    """
    text = _read(path, option, secret=private, reloads=reloads)
    try:
        return parse_keys(text, algorithms, private=private)
    except UnusableKey as cause:
        hint = (
            "Create a key with `openssl genpkey -algorithm ed25519`."
            if private
            else ("Give the public key as PEM, JWK or JWK Set: `openssl pkey -in private.pem -pubout`.")
        )
        raise ConfigError(f"invalid key in {str(path)!r}: {cause}", option=option, hint=hint) from cause


def _read(path: Path, option: str, *, secret: bool, reloads: bool) -> bytes:
    try:
        with open(path, "rb", opener=open_at_once if reloads else None) as file:
            found = os.fstat(file.fileno())
            if reloads and not stat.S_ISREG(found.st_mode):
                raise ConfigError(
                    f"invalid key file {str(path)!r}: expected a regular file",
                    option=option,
                    hint="Store the key in a file: the hub reads it again when it receives SIGHUP.",
                )
            # Root may let a group read a secret, as mounted secrets are.
            readable = stat.S_IROTH if found.st_uid == 0 else stat.S_IROTH | stat.S_IRGRP
            if os.name == "posix" and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                logger.warning("other users may write %s, and so sign tokens: chmod go-w %s", path, path)
            elif os.name == "posix" and secret and found.st_mode & readable:
                logger.warning("other users may read the secret in %s, and so sign tokens: chmod 600 %s", path, path)
            text = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as cause:
        raise ConfigError(
            f"cannot read {str(path)!r}: {cause.strerror or cause}", option=option, hint="Name a readable file."
        ) from cause
    if len(text) > MAX_KEY_FILE_BYTES:
        raise ConfigError(f"{str(path)!r} is larger than {MAX_KEY_FILE_BYTES >> 20} MiB", option=option)
    return text


# Signatures.


def sign(claims: Mapping[str, Any], key: SigningKey, algorithm: str | None = None) -> str:
    """Return a signed token.

    Args:
        claims: Its contents.
        key: A secret or a private key.
        algorithm: One of the key's algorithms; by default the first of them in `ALGORITHMS`.

    Raises:
        UnusableKey: The key does not have the algorithm.
    """
    chosen = algorithm or next(name for name in ALGORITHMS if name in key.algorithms)
    if chosen not in key.algorithms:
        raise UnusableKey(f"the key is for {', '.join(sorted(key.algorithms))}")
    headers = None if key.kid is None else {"kid": key.kid}
    return jwt.encode(cast(dict[str, Any], dict(claims)), key.material, algorithm=chosen, headers=headers)
