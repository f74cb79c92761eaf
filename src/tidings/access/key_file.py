"""The file of API keys: changed by commands, read by the hub when it changes.

The times of last use are in a file of their own beside it, so that the hub never writes the keys, and a hub with a
read-only key file works.
"""

import contextlib
import errno
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import structs

from tidings.access.keys import (
    MAX_NAME_CHARS,
    ApiKey,
    ApiKeyAuthenticator,
    decode_keys,
    encode_keys,
    generate_key,
    is_valid_name,
    merge_keys,
)
from tidings.access.private_files import FileStamp, file_stamp, locked, read_private, write_private
from tidings.access.subjects import RESERVED_SUBJECTS
from tidings.exceptions import ConfigError, InvalidKeyFile, UnsafeFile
from tidings.private_folder import make_private_folder
from tidings.protocol.timestamps import from_nanoseconds, to_nanoseconds

KEY_FILE: Final = "keys.jsonl"
"""Name of the file in a data folder."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FULL_HINT: Final = "Free disk space. Until then, `tidings token revoke --id ID` ends a key at the running hub."
KEEP_REVOKED_NS: Final = 90 * 86_400 * 10**9
"""How long a revoked key stays in the file, and is refused as such."""
_THING: Final = "key file"


class KeyFile:
    """The API keys in one file.

    Args:
        path: The file; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._used_path = path.with_name(f"{path.name}.used")

    def exists(self) -> bool:
        """Return whether there is a file."""
        return self.path.exists()

    def read(self) -> list[ApiKey]:
        """Return all keys, revoked and expired ones included.

        Raises:
            UnsafeFile: Other users can read or write the file.
            InvalidKeyFile: It is damaged, or cannot be read.
        """
        try:
            data = read_private(self.path, _THING)
        except OSError as cause:
            raise InvalidKeyFile(
                f"cannot read the key file {self.path}: {cause.strerror or cause}",
                hint="Run the command as the user of the hub, or name another file with --keys."
                if isinstance(cause, PermissionError)
                else "Create a key with `tidings key add`, or name another file with --keys.",
            ) from cause
        return decode_keys(data, str(self.path))

    def add(
        self,
        name: str,
        grants: Iterable[str],
        *,
        now_ns: int,
        expires_ns: int | None = None,
        another: bool = False,
        first: bool = False,
    ) -> tuple[ApiKey, str] | None:
        """Add a key, and return it with its text, which is stored nowhere.

        Args:
            name: The subject.
            grants: Its grants; none for those of the subject's other key.
            now_ns: Current time, nanoseconds since 1970.
            expires_ns: When it expires; None for never.
            another: Whether the subject may have a key already, as when keys are rotated.
            first: Add the key only if there is no file yet; return None otherwise.

        Raises:
            ConfigError: The name is invalid or in use, or there are no grants.
            UnsafeFile: Other users can read or write the file.
            InvalidKeyFile: It is damaged, or cannot be read or written.
        """
        if not is_valid_name(name):
            raise ConfigError(
                f"invalid name {name[:80]!r}: expected 1–{MAX_NAME_CHARS} printable characters",
                option="name",
                hint="Name the program or person that uses the key, such as `nightly-import`.",
            )
        if name in RESERVED_SUBJECTS:
            raise ConfigError(f"invalid name {name!r}: it is reserved", option="name", hint="Choose another name.")
        with self._changing():
            if first and self.exists():
                return None
            keys = self.read() if self.exists() else []
            made = _add(keys, name, tuple(grants), now_ns, expires_ns, another)
            self._write(keys, now_ns)
            return made

    def revoke(self, name_or_id: str, *, now_ns: int) -> list[ApiKey]:
        """Revoke the key with an id, or all keys of a name, and return those that were accepted until now.

        Raises:
            ConfigError: No key has this name or id.
            UnsafeFile: Other users can read or write the file.
            InvalidKeyFile: It is damaged, or cannot be read or written.
        """
        with self._changing():
            keys = self.read()
            chosen = [key for key in keys if key.id == name_or_id] or [key for key in keys if key.name == name_or_id]
            if not chosen:
                raise ConfigError(
                    f"no key has the name or id {name_or_id[:80]!r}",
                    option="name",
                    hint="List the keys with `tidings key list`.",
                )
            revoked = [key for key in chosen if key.revoked is None]
            time = from_nanoseconds(now_ns - now_ns % 10**9)
            ids = {key.id for key in revoked}
            self._write([structs.replace(key, revoked=time) if key.id in ids else key for key in keys], now_ns)
        return revoked

    def _write(self, keys: list[ApiKey], now_ns: int) -> None:
        kept = [key for key in keys if key.revoked is None or now_ns - to_nanoseconds(key.revoked) < KEEP_REVOKED_NS]
        data = encode_keys(kept)
        decode_keys(data, str(self.path))  # never write what could not be read
        write_private(self.path, data)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        try:
            make_private_folder(self.path.parent)
            with locked(self.path):
                yield
        except OSError as cause:
            raise InvalidKeyFile(
                f"cannot write the key file {self.path}: {cause.strerror or cause}",
                hint=_FULL_HINT
                if cause.errno in _FULL
                else "Run the command as the user of the hub, or name a writable file with --keys.",
            ) from cause

    def read_used(self) -> dict[str, int]:
        """Return when each key was last used, in nanoseconds since 1970; empty if that is not known."""
        try:
            return msgspec.json.decode(read_private(self._used_path, _THING), type=dict[str, int])
        except (OSError, UnsafeFile, msgspec.MsgspecError):
            return {}

    def write_used(self, used: Mapping[str, int], keys: Iterable[ApiKey]) -> None:
        """Store when keys were last used, as well as possible: the file may be read-only."""
        known = {key.id for key in keys}
        merged = self.read_used()  # of other workers, too
        for id, at in used.items():
            merged[id] = max(at, merged.get(id, 0))
        with contextlib.suppress(OSError):
            write_private(self._used_path, msgspec.json.encode({id: at for id, at in merged.items() if id in known}))


def _add(
    keys: list[ApiKey], name: str, grants: tuple[str, ...], now_ns: int, expires_ns: int | None, another: bool
) -> tuple[ApiKey, str]:
    same = [key for key in keys if key.name == name and key.is_live(now_ns)]
    if same and not another:
        raise ConfigError(
            f"{name!r} has a key already ({same[-1].id})",
            option="name",
            hint=f"Revoke it with `tidings key revoke {same[-1].id}`, add a second one with --another, or choose "
            "another name.",
        )
    grants = grants or (same[-1].grants if same else ())
    if not grants:
        raise ConfigError(
            "a key without grants may do nothing",
            option="grant",
            hint="Pass --grant, such as --grant 'publish operations/acme.*'.",
        )
    key, text = generate_key(name, grants, now_ns=now_ns, expires_ns=expires_ns)
    keys.append(key)
    return key, text


class LoadedKeys:
    """The keys of a file in a running hub.

    Args:
        file: The file.
        authenticator: Accepts the keys of the file.
    """

    def __init__(self, file: KeyFile, authenticator: ApiKeyAuthenticator) -> None:
        self._file = file
        self._authenticator = authenticator
        self._stamp: FileStamp | None = None
        self._is_loaded = False
        self._keys: list[ApiKey] = []
        self._shared: list[ApiKey] = []

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def keys(self) -> tuple[ApiKey, ...]:
        """All keys of the file, revoked and expired ones included."""
        return tuple(self._keys)

    @property
    def path(self) -> Path:
        """The file."""
        return self._file.path

    @property
    def is_loaded(self) -> bool:
        """Whether the file was read, whole and once at least."""
        return self._is_loaded

    def has_changed(self) -> bool:
        """Return whether the file is another one than that which was last read, whole or not."""
        return file_stamp(self.path) != self._stamp

    def load(self) -> None:
        """Read the file, and accept its keys, those of other nodes, and no others from now on.

        Raises:
            UnsafeFile: Other users can read or write the file; the keys so far stay.
            InvalidKeyFile: It is damaged, or cannot be read; the keys so far stay.
        """
        self._stamp = file_stamp(self.path)  # before reading: a change in between is read again
        keys = self._file.read()
        self._authenticator.replace_keys(merge_keys(keys, self._shared))
        self._keys = keys
        self._is_loaded = True

    def replace_shared(self, keys: Iterable[ApiKey]) -> None:
        """Accept the keys of all nodes, besides those of the file; see `merge_keys`.

        Raises:
            InvalidKeyFile: A key has an invalid grant; the keys so far stay.
        """
        shared = list(keys)
        self._authenticator.replace_keys(merge_keys(self._keys, shared))
        self._shared = shared

    def save_used(self) -> None:
        """Store when keys were last used, as well as possible."""
        used = self._authenticator.take_used()
        if used:
            self._file.write_used(used, self._keys)
