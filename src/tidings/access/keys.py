"""API keys: the secrets of programs, stored hashed (docs/access.md, "Keys").

A key is `tdk_ID_SECRET`. The id is public: it names the key in lists, logs and revocations. The secret has 256 random
bits, so a plain SHA-256 protects it in the file; the slow hashes for passwords make up for secrets that can be guessed.
"""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec
from msgspec import Struct, structs

from tidings.access.grants import Grants
from tidings.access.subjects import API_KEY_PREFIX, AccessRequest, Authenticated, Credential, Subject
from tidings.exceptions import (
    AccessError,
    ApiKeyExpired,
    CredentialRevoked,
    InvalidKeyFile,
    InvalidTimestamp,
    UnknownApiKey,
)
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds

FORMAT_VERSION: Final = 1
MAX_API_KEYS: Final = 10_000
"""Keys in one file, revoked ones included."""
MAX_NAME_CHARS: Final = 255
_ID_BYTES: Final = 5
_SECRET_BYTES: Final = 32
_KEY: Final = re.compile(API_KEY_PREFIX + r"(?P<id>[a-z2-7]{8})_(?P<secret>[a-z2-7]{52})")
_NO_HASH: Final = bytes(32)


class ApiKey(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One key as the file describes it: everything but its secret."""

    id: str
    name: str
    """The subject: 1–255 printable characters. Keys of one name are the same subject."""
    sha256: str
    """SHA-256 of the whole key, in hexadecimal."""
    grants: tuple[str, ...]
    created: str
    """RFC 3339, as all times in the file."""
    expires: str | None = None
    revoked: str | None = None

    def is_live(self, now_ns: int) -> bool:
        """Return whether the key is accepted at a time, in nanoseconds since 1970."""
        return self.revoked is None and (self.expires is None or now_ns < to_nanoseconds(self.expires))


class _Header(Struct, frozen=True):
    tidings_keys: int


def generate_key(name: str, grants: Iterable[str], *, now_ns: int, expires_ns: int | None = None) -> tuple[ApiKey, str]:
    """Return a new key and its text, which is stored nowhere."""
    id, secret = _random_text(_ID_BYTES), _random_text(_SECRET_BYTES)
    text = f"{API_KEY_PREFIX}{id}_{secret}"
    key = ApiKey(
        id=id,
        name=name,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        grants=tuple(grants),
        # To the millisecond: a key that replaces one revoked in the same second was issued after that.
        created=from_nanoseconds(now_ns - now_ns % 1_000_000),
        expires=None if expires_ns is None else from_nanoseconds(expires_ns - expires_ns % 1_000_000_000),
    )
    return key, text


def _random_text(size: int) -> str:
    return base64.b32encode(secrets.token_bytes(size)).decode().rstrip("=").lower()


def encode_keys(keys: Iterable[ApiKey]) -> bytes:
    """Return the contents of a key file: one line of JSON with the version, and one for each key."""
    lines = [msgspec.json.encode(_Header(tidings_keys=FORMAT_VERSION)), *map(msgspec.json.encode, keys)]
    return b"\n".join(lines) + b"\n"


def decode_keys(data: bytes, source: str) -> list[ApiKey]:
    """Return the keys in the contents of a key file.

    Args:
        data: The contents.
        source: Name of the file, for errors.

    Raises:
        InvalidKeyFile: The file is damaged, of a newer version, or has too many keys.
    """
    keys: list[ApiKey] = []
    known: set[str] = set()
    lines = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    if not lines:
        raise InvalidKeyFile(f"invalid key file {source}: it is empty")
    for number, line in lines:
        try:
            if number == lines[0][0]:
                _check_version(msgspec.json.decode(line, type=_Header).tidings_keys)
                continue
            key = msgspec.json.decode(line, type=ApiKey)
            _check(key, known)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as cause:
            raise InvalidKeyFile(f"invalid key file {source}, line {number}: {cause}") from cause
        keys.append(key)
    if len(keys) > MAX_API_KEYS:
        raise InvalidKeyFile(
            f"invalid key file {source}: {len(keys):,} keys, at most {MAX_API_KEYS:,} are possible",
            hint="Delete the lines of revoked keys, or use tokens.",
        )
    return keys


def encode_key(key: ApiKey) -> bytes:
    """Return the line of one key in a key file."""
    return msgspec.json.encode(key)


def decode_key(line: bytes) -> ApiKey:
    """Return the key in a line that `encode_key` returned.

    Raises:
        ValueError: It did not.
    """
    try:
        key = msgspec.json.decode(line, type=ApiKey)
    except RecursionError as cause:
        raise ValueError("the line is nested too deeply") from cause
    _check(key, set())
    return key


def merge_keys(own: Iterable[ApiKey], shared: Iterable[ApiKey]) -> list[ApiKey]:
    """Return the keys of a file and of other nodes: of a key that both have, the shared line, which is the newest.

    A key that either of them revokes is revoked, and one of another secret is never replaced.
    """
    merged = {key.id: key for key in own}
    for key in shared:
        known = merged.setdefault(key.id, key)
        if known.sha256 == key.sha256:
            merged[key.id] = structs.replace(key, revoked=key.revoked or known.revoked)
    return list(merged.values())


def _check_version(version: int) -> None:
    if version != FORMAT_VERSION:
        raise ValueError(f"version {version} is not supported; this tidings reads version {FORMAT_VERSION}")


def _check(key: ApiKey, known: set[str]) -> None:
    if key.id in known:
        raise ValueError(f"the id {key.id!r} is repeated")
    known.add(key.id)
    if not is_valid_name(key.name):
        raise ValueError(f"invalid name: expected 1–{MAX_NAME_CHARS} printable characters")
    if len(bytes.fromhex(key.sha256)) != len(_NO_HASH):
        raise ValueError("invalid sha256: expected 64 hexadecimal digits")
    for time in (key.created, key.expires, key.revoked):
        if time is not None:
            try:
                to_nanoseconds(time)
            except InvalidTimestamp as cause:
                raise ValueError(f"invalid time {time[:40]!r}: expected RFC 3339") from cause


def is_valid_name(name: str) -> bool:
    """Return whether `name` can be that of a key."""
    return 1 <= len(name) <= MAX_NAME_CHARS and name.isprintable() and name.strip() == name


class _Entry(Struct, frozen=True):
    key: ApiKey
    hash: bytes
    subject: Subject


class ApiKeyAuthenticator:
    """Verifies API keys.

    Args:
        channels: The channels of the contract, for grants of `*`.
        now_ns: Returns nanoseconds since 1970.
        refresh: Called for a key that is not known, before it is refused: it may have been added just now, and calls
            `replace_keys` then.
    """

    method = "key"

    def __init__(
        self, channels: Iterable[str], now_ns: Callable[[], int], refresh: Callable[[], None] = lambda: None
    ) -> None:
        self.generation = 0
        """See `LastingAuthenticator`."""
        self._refresh = refresh
        self._channels = tuple(channels)
        self._now_ns = now_ns
        self._entries: dict[str, _Entry] = {}
        self._used: dict[str, int] = {}

    def replace_keys(self, keys: Iterable[ApiKey]) -> None:
        """Accept `keys` and no others from now on.

        Raises:
            InvalidKeyFile: A key has an invalid grant; the keys so far stay.
        """
        parsed: dict[tuple[str, ...], Grants] = {}  # equal grants are one object, and so are the lanes of their readers
        entries: dict[str, _Entry] = {}
        for key in keys:
            known = self._entries.get(key.id)
            if known is not None and known.key == key:
                entries[key.id] = known
                parsed.setdefault(key.grants, known.subject.grants)
                continue
            try:
                grants = parsed.get(key.grants) or Grants.parse(key.grants, self._channels)
            except AccessError as cause:
                raise InvalidKeyFile(
                    f"the key {key.id} of {key.name!r}: {cause}", hint=cause.hint or "Correct its grants."
                ) from cause
            parsed[key.grants] = grants
            subject = Subject(
                name=key.name,
                grants=grants,
                expires_ns=None if key.expires is None else to_nanoseconds(key.expires),
                issued_ns=to_nanoseconds(key.created),
                credential_id=key.id,
            )
            entries[key.id] = _Entry(key, bytes.fromhex(key.sha256), subject)
        self._entries = entries
        self.generation += 1

    def check_grants(self, key: ApiKey) -> None:
        """Check that `replace_keys` would accept a key.

        Raises:
            AccessError: It has an invalid grant.
        """
        Grants.parse(key.grants, self._channels)

    def accepts(self, credential: Credential) -> bool:
        """See `Authenticator.accepts`."""
        return credential.value.startswith(API_KEY_PREFIX)

    def authenticate(self, credential: Credential, request: AccessRequest, done: Authenticated) -> None:
        """See `Authenticator.authenticate`; `done` is called within the call."""
        done(self._find(credential.value))

    def take_used(self) -> Mapping[str, int]:
        """Return the keys that were accepted since the last call: their ids, with the time in nanoseconds."""
        used, self._used = self._used, {}
        return used

    def _find(self, value: str) -> Subject | AccessError:
        match = _KEY.fullmatch(value)
        if match is None:
            return UnknownApiKey(
                "malformed API key", hint="Send the key as `tidings key add` printed it: 65 characters from tdk_ on."
            )
        if match["id"] not in self._entries:
            self._refresh()
        entry = self._entries.get(match["id"])
        same = hmac.compare_digest(hashlib.sha256(value.encode()).digest(), entry.hash if entry else _NO_HASH)
        if entry is None or not same:
            return UnknownApiKey(f"the hub has no API key {match['id']}" if entry is None else "wrong API key")
        key, subject, now_ns = entry.key, entry.subject, self._now_ns()
        if key.revoked is not None:
            return CredentialRevoked(f"the API key {key.id} of {key.name!r} was revoked at {key.revoked}")
        if subject.expires_ns is not None and now_ns >= subject.expires_ns:
            return ApiKeyExpired(f"the API key {key.id} of {key.name!r} expired at {key.expires}")
        self._used[key.id] = now_ns
        return subject
