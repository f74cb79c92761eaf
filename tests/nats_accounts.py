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


class Key:
    """A new key pair of an operator, an account or a user."""

    def __init__(self, prefix: int) -> None:
        self.seed: bytes = nkeys.encode_seed(bytes(nacl.signing.SigningKey.generate()), prefix)
        self._pair = nkeys.from_seed(bytearray(self.seed))
        self.public: str = self._pair.public_key.decode()

    def sign(self, subject: "Key", name: str, claims: dict[str, Any], expires: float | None = None) -> str:
        """Return a token about a key."""
        body = {"iat": int(time.time()), "iss": self.public, "name": name, "sub": subject.public, "nats": claims}
        if expires is not None:
            body["exp"] = int(expires)
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
        system = Key(nkeys.PREFIX_BYTE_ACCOUNT)
        account = {"limits": _ACCOUNT_LIMITS, "type": "account", "version": 2}
        own = self._key.sign(self._key, "operator", {"type": "operator", "version": 2, "system_account": system.public})
        tokens = {
            self._account.public: self._key.sign(self._account, "hubs", account),
            # The system account has no JetStream.
            system.public: self._key.sign(system, "SYS", {**account, "limits": {**_ACCOUNT_LIMITS, **_NO_STREAMS}}),
        }
        preload = "\n".join(f"{public}: {token}" for public, token in tokens.items())
        self.configuration = (
            f"operator: {own}\nsystem_account: {system.public}\nresolver: MEMORY\nresolver_preload: {{\n{preload}\n}}\n"
        )
        """The part of the configuration of nats-server."""

    def write_credentials(
        self, path: Path, publish: Sequence[str], subscribe: Sequence[str], expires: float | None = None
    ) -> None:
        """Write the file of a new user, who may publish and subscribe to some subjects only."""
        user = Key(nkeys.PREFIX_BYTE_USER)
        claims = {
            **_UNLIMITED,
            "pub": {"allow": list(publish)},
            "sub": {"allow": list(subscribe)},
            "type": "user",
            "version": 2,
        }
        token = self._account.sign(user, "hub", claims, expires)
        path.write_text(
            f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
        )


_NO_STREAMS = {"mem_storage": 0, "disk_storage": 0, "streams": 0, "consumer": 0}


def new_user_key() -> Key:
    """Return the key of a user without a token: an NKey."""
    return Key(nkeys.PREFIX_BYTE_USER)
