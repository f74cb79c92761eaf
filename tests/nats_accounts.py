"""Users of a nats-server that are identified by keys: an operator with accounts, as `nsc` makes it, and plain NKeys.

The tokens (JWT) have the form that https://docs.nats.io/running-a-nats-service/configuration/securing_nats/auth_intro/jwt
describes; what is signed here with an operator's key takes the place of `nsc`.
"""

import base64
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nacl.signing
import nkeys

_UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
_ACCOUNT_LIMITS = {
    **_UNLIMITED,
    "imports": -1,
    "exports": -1,
    "wildcards": True,
    "conn": -1,
    "leaf": -1,
    "mem_storage": -1,
    "disk_storage": -1,
    "streams": -1,
    "consumer": -1,
}
_NO_STREAMS = {"mem_storage": 0, "disk_storage": 0, "streams": 0, "consumer": 0}
"""The limits of a system account."""


class Key:
    """A new key pair of an operator, an account or a user."""

    def __init__(self, prefix: int) -> None:
        self.seed: bytes = nkeys.encode_seed(bytes(nacl.signing.SigningKey.generate()), prefix)
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public: str = self._pair.public_key.decode()

    def sign(self, subject: "Key", name: str, claims: dict[str, Any]) -> str:
        """Return a token about a key."""
        body = {"iat": int(time.time()), "iss": self.public, "name": name, "sub": subject.public, "nats": claims}
        body["jti"] = base64.b32encode(hashlib.sha256(json.dumps(body).encode()).digest()).decode().rstrip("=")
        head = f"{_encode({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_encode(body)}"
        return f"{head}.{_encode_bytes(self._pair.sign(head.encode()))}"


def _encode(value: object) -> str:
    return _encode_bytes(json.dumps(value).encode())


def _encode_bytes(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


class Operator:
    """An operator with one account that has JetStream."""

    def __init__(self) -> None:
        self._key = Key(nkeys.PREFIX_BYTE_OPERATOR)
        self._account = Key(nkeys.PREFIX_BYTE_ACCOUNT)
        self._system = Key(nkeys.PREFIX_BYTE_ACCOUNT)
        own = {"type": "operator", "version": 2, "system_account": self._system.public}
        self._token = self._key.sign(self._key, "operator", own)
        self._revoked: dict[str, int] = {}

    @property
    def configuration(self) -> str:
        """The part of the configuration of nats-server."""
        account = {"limits": _ACCOUNT_LIMITS, "revocations": self._revoked, "type": "account", "version": 2}
        system = {"limits": {**_ACCOUNT_LIMITS, **_NO_STREAMS}, "type": "account", "version": 2}
        return (
            f"operator: {self._token}\n"
            f"system_account: {self._system.public}\nresolver: MEMORY\nresolver_preload: {{\n"
            f"{self._account.public}: {self._key.sign(self._account, 'hubs', account)}\n"
            f"{self._system.public}: {self._key.sign(self._system, 'SYS', system)}\n}}\n"
        )

    def revoke(self, user: Key) -> None:
        """Revoke a user in the configuration."""
        self._revoked[user.public] = int(time.time()) + 1

    def write_credentials(self, path: Path, publish: Sequence[str], subscribe: Sequence[str]) -> Key:
        """Write the file of a new user, who may publish and subscribe to some subjects only; return the user."""
        user = Key(nkeys.PREFIX_BYTE_USER)
        claims = {
            **_UNLIMITED,
            "pub": {"allow": list(publish)},
            "sub": {"allow": list(subscribe)},
            "type": "user",
            "version": 2,
        }
        token = self._account.sign(user, "hub", claims)
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )
        return user


def new_user_key() -> Key:
    """Return the key of a user without a token: an NKey."""
    return Key(nkeys.PREFIX_BYTE_USER)
